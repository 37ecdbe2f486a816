"""Retrievers: what is evaluated, compared and served.

Input: ``Contexts``. Output: ``Rankings``, and for evaluation the exact rank of each target over the whole pool.
A ``VectorRetriever`` makes one query vector per context (copying baselines, the linear map, the encoder, every learned
predictor), a ``DenseRetriever`` scores every row of the bank (words, chance), a ``Cascade`` reranks what others drew.
"""

from segue.retrieval.query_function import QueryFunction
from segue.retrieval.retrievers.dense import DenseRetriever
from segue.retrieval.retrievers.interface import Lap, Retriever, Scores, SingleStage, VectorSearch, no_lap
from segue.retrieval.retrievers.vector import VectorRetriever

__all__ = [
    "DenseRetriever",
    "Lap",
    "QueryFunction",
    "Retriever",
    "Scores",
    "SingleStage",
    "VectorRetriever",
    "VectorSearch",
    "no_lap",
]
