"""Every kind of saved part, by the name that its description has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from segue.retrieval.rerank.cosine import ByCosine
from segue.retrieval.rerank.cross_encoder import CrossEncoderReranker
from segue.retrieval.rerank.fusion import Diversified, Fusion, Mixture
from segue.retrieval.rerank.lambdamart import LambdaMart
from segue.retrieval.rerank.listwise import Listwise
from segue.retrieval.rerank.own import OwnReranker
from segue.retrieval.rerank.two_steps import TwoSteps
from segue.retrieval.retrievers import Retriever, VectorRetriever
from segue.retrieval.retrievers.baselines import CopyLast, ExponentialMean, Mean, Ridge
from segue.retrieval.retrievers.bm25 import Bm25
from segue.retrieval.retrievers.cascade import Cascade
from segue.retrieval.retrievers.own import OwnQuery, OwnScores
from segue.retrieval.retrievers.predictor import PredictorQuery, load_predictor_retriever
from segue.retrieval.retrievers.text_encoder import EncoderOnContext, load_dual_encoder_retriever
from segue.retrieval.saving import Description, PartReader


def _load_vector_retriever(about: Description, reader: PartReader) -> Retriever:
    """Read a retriever with query vectors; predictors and fine-tuned encoders may search a bank of their own."""
    makers = {"predictor": load_predictor_retriever, "text-encoder": load_dual_encoder_retriever}
    return makers.get(about["query"]["kind"], VectorRetriever.load_part)(about, reader)


KINDS: Mapping[str, Callable[[Description, PartReader], Any]] = {
    "vector": _load_vector_retriever,
    "words": Bm25.load_part,
    "cascade": Cascade.load_part,
    "copy-last": CopyLast.load_part,
    "mean": Mean.load_part,
    "exp-mean": ExponentialMean.load_part,
    "ridge": Ridge.load_part,
    "encoder": EncoderOnContext.load_part,
    "predictor": PredictorQuery.load_part,
    "cosine": ByCosine.load_part,
    "cross-encoder": CrossEncoderReranker.load_part,
    "lambdamart": LambdaMart.load_part,
    "listwise": Listwise.load_part,
    "mixture": Mixture.load_part,
    "two-steps": TwoSteps.load_part,
    "fusion": Fusion.load_part,
    "diversified": Diversified.load_part,
    "own-query": OwnQuery.load_part,
    "own-scores": OwnScores.load_part,
    "own-reranker": OwnReranker.load_part,
}
