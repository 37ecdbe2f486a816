"""Window → ranking: everything that is evaluated, compared and served.

Enters: ``Contexts``. Leaves: ``Rankings``, and for evaluation the exact rank of each target over the whole pool.
There are two kinds: a ``VectorRetriever`` makes one query vector per context (copying baselines, the linear map, the
encoder, every learned predictor), a ``DenseRetriever`` scores every row of the bank (words, chance).
"""

from segue.retrieval.retrievers.dense import DenseRetriever
from segue.retrieval.retrievers.interface import Lap, Retriever, Scores, no_lap
from segue.retrieval.retrievers.vector import Query, VectorRetriever

__all__ = ["DenseRetriever", "Lap", "Query", "Retriever", "Scores", "VectorRetriever", "no_lap"]
