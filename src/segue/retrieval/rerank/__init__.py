"""Candidates → their order: what looks again at the few passages that a first stage found.

Enters: ``Candidates``, a list of rows for each context, drawn by retrievers. Leaves: one score per candidate. A
reranker never sees where a passage stands (id, row number, position) and knows no retriever; ``cascade.py`` puts the
two together.
"""

from segue.retrieval.rerank.interface import Candidates, Reranker

__all__ = ["Candidates", "Reranker"]
