"""A retriever becomes files, and files become the retriever again.

Enters: the live retriever of a triage's winner, whatever it is: a copying baseline, words, a linear map, the encoder, a
predictor with or without a document tower, a cascade with its reranker. Leaves: a description (JSON values) and, in the
bundle's folder, what the description needs besides the bank. ``bundle_assembly.py`` reads it back.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segue.errors import InputError, explain
from segue.learning.training_state import save_tensors
from segue.retrieval.index import Index
from segue.retrieval.rerank import Reranker
from segue.retrieval.rerank.cosine import ByCosine
from segue.retrieval.rerank.cross_encoder import CrossEncoderReranker
from segue.retrieval.rerank.features import Features
from segue.retrieval.rerank.fusion import Diversified, Fusion
from segue.retrieval.rerank.lambdamart import LambdaMart
from segue.retrieval.rerank.listwise import Listwise
from segue.retrieval.rerank.mixture import Mixture
from segue.retrieval.retrievers import Query, Retriever, VectorRetriever
from segue.retrieval.retrievers.baselines import EncoderOnContext, ExponentialMean, Ridge, copy_last, mean
from segue.retrieval.retrievers.bm25 import Bm25
from segue.retrieval.retrievers.cascade import Cascade
from segue.retrieval.retrievers.predictor import PredictorQuery
from segue.retrieval.retrievers.reencoded import ReencodedRetriever

INDEX, PREDICTOR, RERANKER, RIDGE, DENSITY, TEXT_MODEL = (
    "index",
    "predictor",
    "reranker",
    "ridge.safetensors",
    "density.npy",
    "text-model",
)
"""Places inside a bundle."""

Description = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """Where the run keeps what a live retriever was read from.

    Attributes:
        checkpoint: of the predictor, where there is one.
        text_model: folder of the fine-tuned text encoder, where there is one, and of the bank as it encoded it.
        density: gives the cosines of each passage's neighbours.
        context_tokens: how much of a context's end the encoder reads.
    """

    checkpoint: Path | None
    text_model: Path | None
    density: Callable[[], np.ndarray]
    context_tokens: int | None


def take_apart(retriever: Retriever, folder: Path, origin: Origin) -> Description:
    """Write what a retriever is made of into ``folder`` and return its description.

    Raises:
        InputError: it is a control, or of a kind that a bundle does not know.
    """
    if isinstance(retriever, Cascade):
        return _cascade(retriever, folder, origin)
    if isinstance(retriever, ReencodedRetriever):
        return _vector(retriever.searching, folder, origin) | {"documents": "encoded anew"}
    if isinstance(retriever, VectorRetriever):
        return _vector(retriever, folder, origin)
    if isinstance(retriever, Bm25):
        return {"kind": "words", "name": retriever.name}
    raise _unknown("retriever", retriever.name)


def searching(retriever: Retriever, index: Index) -> Retriever:
    """Return the retriever with an index over the bank in place of exact search, wherever it searches the bank.

    Raises:
        InputError: it searches other vectors than the bank's.
    """
    if isinstance(retriever, Cascade):
        first = searching(retriever.first, index)
        sources = tuple((_with(source, index), count) for source, count in retriever.sources)
        return replace(retriever, first=first, sources=sources)
    if not isinstance(retriever, VectorRetriever):
        raise InputError(explain(f"{retriever.name} does not search the bank's vectors, so an index is of no use to it",
                                 mend="build the bundle without an index"))  # fmt: skip
    return _with(retriever, index)


def _with(retriever: Retriever, index: Index) -> Retriever:
    return replace(retriever, index=index) if isinstance(retriever, VectorRetriever) else retriever


def _vector(retriever: VectorRetriever, folder: Path, origin: Origin) -> Description:
    return {"kind": "vector", "name": retriever.name, "query": _query(retriever.query, folder, origin)}


def _query(query: Query, folder: Path, origin: Origin) -> Description:
    if isinstance(query, PredictorQuery):
        assert origin.checkpoint is not None, "a predictor was read from its checkpoint"
        _copy(origin.checkpoint, folder / PREDICTOR)
        return {"kind": "predictor"}
    if isinstance(query, ExponentialMean):
        return {"kind": "exp-mean", "decay": query.decay}
    if isinstance(query, Ridge):
        save_tensors(folder / RIDGE, {"weights": torch.from_numpy(query.weights)})
        return {"kind": "ridge", "alpha": query.alpha}
    if isinstance(query, EncoderOnContext):
        if origin.text_model is not None:
            _copy(origin.text_model, folder / TEXT_MODEL)
        kind = "encoder" if origin.text_model is None else "text-encoder"
        return {"kind": kind, "maximum_tokens": origin.context_tokens}
    for simple, name in ((copy_last, "copy-last"), (mean, "mean")):
        if query is simple:
            return {"kind": name}
    raise _unknown("query", type(query).__name__)


def _cascade(cascade: Cascade, folder: Path, origin: Origin) -> Description:
    sources = [{"retriever": take_apart(source, folder, origin), "count": count} for source, count in cascade.sources]
    return {
        "kind": "cascade",
        "name": cascade.name,
        "first": take_apart(cascade.first, folder, origin),
        "depth": cascade.depth,
        "sources": sources,
        "reranker": _reranker(cascade.reranker, folder, origin),
    }


def _reranker(reranker: Reranker, folder: Path, origin: Origin) -> Description:
    if isinstance(reranker, LambdaMart | Listwise):
        reranker.save(folder / RERANKER)
        kind = "lambdamart" if isinstance(reranker, LambdaMart) else "listwise"
        return {"kind": kind, "features": _features(reranker.features, folder, origin)}
    if isinstance(reranker, Mixture):
        return {"kind": "mixture", "members": [_reranker(member, folder, origin) for member in reranker.members]}
    if isinstance(reranker, Diversified):
        inner = _reranker(reranker.reranker, folder, origin)
        return {"kind": "diversified", "reranker": inner, "trade_off": reranker.trade_off}
    if isinstance(reranker, Fusion):
        return {"kind": "fusion", "weights": reranker.weights, "by": reranker.by}
    if isinstance(reranker, ByCosine):
        return {"kind": "cosine", "query": _query(reranker.query, folder, origin), "name": reranker.name}
    if isinstance(reranker, CrossEncoderReranker):
        reranker.model.save(folder / TEXT_MODEL)
        return {"kind": "cross-encoder"}
    raise _unknown("reranker", reranker.name)


def _features(features: Features, folder: Path, origin: Origin) -> Description:
    """Write the neighbours, which take long to look for; words are counted again from the texts."""
    if "density" in features.groups and not (folder / DENSITY).exists():
        np.save(folder / DENSITY, origin.density().astype(np.float32), allow_pickle=False)
    return {"groups": list(features.groups), "context": features.context}


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*", "state.safetensors", "queries.npz"))


def _unknown(what: str, got: str) -> InputError:
    return InputError(explain(f"a bundle cannot hold this {what}", got=got,
                              expected="what may win a triage: a candidate, no control",
                              mend="name another row with --option"))  # fmt: skip
