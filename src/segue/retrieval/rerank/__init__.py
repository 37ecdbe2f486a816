"""Rerankers: put the candidates that a first stage found in order.

Input: ``CandidateLists``, a list of rows for each context, drawn by retrievers. Output: one score per candidate. A
reranker never uses ids, row numbers or positions, and knows no retriever; ``retrievers/cascade.py`` combines them.
"""

from segue.retrieval.rerank.interface import CandidateLists, Reranker

__all__ = ["CandidateLists", "Reranker"]
