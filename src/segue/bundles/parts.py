"""A retriever becomes files, and files become the retriever again.

Enters: the live retriever of a triage's winner, whatever it is: a copying baseline, words, a linear map, the encoder, a
predictor with or without a document tower, a cascade with its reranker. Leaves: a description (JSON values) and, in the
bundle's folder, what the description needs besides the bank. ``bundle_assembly.py`` reads it back.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.numpy import load_file

from segue.bank.bank import PassageBank
from segue.bank.sentences import build_sentences
from segue.encoders import Encoder, EncoderSettings
from segue.encoders.space import Space, require_same
from segue.errors import InputError, explain
from segue.models import Predictor, load_predictor
from segue.models.tensors import save_tensors
from segue.ranking.pool import Pool
from segue.retrieval.index import Index
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.index.store import KINDS, load_index
from segue.retrieval.rerank import Reranker
from segue.retrieval.rerank.cosine import ByCosine
from segue.retrieval.rerank.cross_encoder import CrossEncoderReranker
from segue.retrieval.rerank.features import Features
from segue.retrieval.rerank.fusion import Diversified, Fusion
from segue.retrieval.rerank.lambdamart import LambdaMart, load_lambdamart
from segue.retrieval.rerank.listwise import Listwise, load_listwise
from segue.retrieval.rerank.mixture import Mixture
from segue.retrieval.retrievers import Query, Retriever, VectorRetriever
from segue.retrieval.retrievers.baselines import EncoderOnContext, ExponentialMean, Ridge, copy_last, mean
from segue.retrieval.retrievers.bm25 import Bm25
from segue.retrieval.retrievers.cascade import Cascade
from segue.retrieval.retrievers.predictor import PredictorQuery, predictor_retriever
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
                                 fix="build the bundle without an index"))  # fmt: skip
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
                              fix="name another row with --option"))  # fmt: skip


class Assembly:
    """Puts a bundle's retriever together.

    Args:
        folder: of the bundle, verified.
        bank: of the bundle.
        load_encoder: gives the bank's encoder; called where a part encodes text.
        encoder: its settings, for parts that read text with an encoder of their own.
        index: what the bundle's index is.
        device: where nets run.
    """

    def __init__(
        self,
        folder: Path,
        bank: PassageBank,
        *,
        load_encoder: Callable[[], Encoder],
        encoder: EncoderSettings,
        index: Description,
        device: str | torch.device,
    ) -> None:
        self.folder, self.bank, self.pool = folder, bank, Pool(bank)
        self._load_encoder, self._encoder, self._device = load_encoder, encoder, device
        self._index = index
        self._known: dict[tuple[str, ...], Features] = {}

    @functools.cached_property
    def index(self) -> Index:
        """The index over the whole bank.

        Raises:
            InputError: this version does not know such an index.
        """
        kind = self._index.get("kind")
        if kind == "exact":
            return ExactIndex(self.pool)
        if kind not in KINDS:
            raise InputError(explain("the bundle has an index that this version does not know", got=kind,
                                     expected=" or ".join(("exact", *KINDS)),
                                     fix="use the version that wrote it, or build the bundle again"))  # fmt: skip
        return load_index(self.folder / INDEX, self.pool)

    def retriever(self, about: Description) -> Retriever:
        """Return the retriever of a description."""
        if about["kind"] == "cascade":
            return self._cascade(about)
        if about["kind"] == "words":
            return self.words.asking("last" if about["name"] == "bm25" else "context")
        if about["query"]["kind"] == "text-encoder":
            return self._text_encoder(about)
        if about.get("documents") is not None:
            return predictor_retriever(about["name"], "candidate", self.predictor, pool=self.pool,
                                       index=ExactIndex(self.pool), device=self._device)  # fmt: skip
        stage: Literal["encode", "predict"] = "encode" if about["query"]["kind"] == "encoder" else "predict"
        return VectorRetriever(
            about["name"], "candidate", self._query(about["query"]), self.pool, self.index, stage=stage
        )

    @functools.cached_property
    def words(self) -> Bm25:
        """The counted words of the bank."""
        return Bm25(self.bank, self.pool)

    @functools.cached_property
    def predictor(self) -> Predictor:
        """The predictor, its golden pair and its space checked.

        Raises:
            InputError: it does not compute what it computed when it was saved.
            SpaceError: it reads another space than the bank's.
        """
        predictor, config = load_predictor(self.folder / PREDICTOR)
        if config.space is not None:
            require_same(Space.from_json(config.space), self.bank.space, "the bundle's predictor and its bank")
        return predictor

    def _query(self, about: Description) -> Query:
        kind = about["kind"]
        makers: dict[str, Callable[[], Query]] = {
            "predictor": lambda: PredictorQuery(self.predictor, self._device),
            "copy-last": lambda: copy_last,
            "mean": lambda: mean,
            "exp-mean": lambda: ExponentialMean(float(about["decay"])),
            "ridge": lambda: Ridge(load_file(self.folder / RIDGE)["weights"], float(about["alpha"])),
            "encoder": lambda: EncoderOnContext(
                self._load_encoder(), self.bank, maximum_tokens=about["maximum_tokens"]
            ),
        }
        return makers[kind]()

    def _text_encoder(self, about: Description) -> Retriever:
        """Return the fine-tuned encoder; the bank as it encoded it lies in the bundle too."""
        from segue.retrieval.retrievers.dual_encoder import dual_encoder_retriever
        from segue.text_models.dual_encoder import load_dual_encoder

        model = self.folder / TEXT_MODEL
        documents: Any = "trained" if about.get("documents") else "frozen"
        encoder = load_dual_encoder(model, self._encoder)
        found = dual_encoder_retriever(encoder, self.pool, name=about["name"], documents=documents,
                                       folder=model / "encoded")  # fmt: skip
        return replace(found, index=self.index) if isinstance(found, VectorRetriever) else found.indexed()

    def _cascade(self, about: Description) -> Cascade:
        sources = tuple((self.retriever(entry["retriever"]), int(entry["count"])) for entry in about["sources"])
        first, reranker = self.retriever(about["first"]), self._reranker(about["reranker"])
        return Cascade(about["name"], "candidate", first, int(about["depth"]), reranker, sources)

    def _reranker(self, about: Description) -> Reranker:
        kind = about["kind"]
        makers: dict[str, Callable[[], Reranker]] = {
            "lambdamart": lambda: load_lambdamart(self.folder / RERANKER, self._features(about["features"])),
            "listwise": lambda: load_listwise(self.folder / RERANKER, self._features(about["features"])),
            "mixture": lambda: Mixture(tuple(self._reranker(member) for member in about["members"])),
            "diversified": lambda: Diversified(self._reranker(about["reranker"]), self.bank, about["trade_off"]),
            "fusion": lambda: Fusion(about["weights"] and tuple(about["weights"]), about["by"]),
            "cosine": lambda: ByCosine(self._query(about["query"]), self.bank, name=about["name"]),
            "cross-encoder": self._cross_encoder,
        }
        return makers[kind]()

    def _cross_encoder(self) -> CrossEncoderReranker:
        from segue.text_models.cross_encoder import load_cross_encoder

        return CrossEncoderReranker(load_cross_encoder(self.folder / TEXT_MODEL), self.bank)

    def _features(self, about: Description) -> Features:
        """Return what rerankers read; the members of a mixture share it."""
        key = tuple(about["groups"])
        if key not in self._known:
            self._known[key] = self._make_features(about)
        return self._known[key]

    def _make_features(self, about: Description) -> Features:
        groups = about["groups"]
        density = np.load(self.folder / DENSITY, allow_pickle=False) if "density" in groups else None
        sentences = None
        if "sentences" in groups:
            sentences = build_sentences(self.bank, self._load_encoder, self.bank.path / "sentences")
        words = self.words.words if self.bank.has_texts else None
        return Features(self.bank, self.pool, context=int(about["context"]), groups=groups, words=words,
                        density=density, sentences=sentences)  # fmt: skip
