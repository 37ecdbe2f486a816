"""The files of a bundle become the retriever that was taken apart (``bundle_parts.py``).

What is the same for all parts is made once: the index over the whole bank, the counted words, the predictor, the
features. Nothing is fitted and nothing is written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.numpy import load_file

from segue.data.bank import PassageBank
from segue.data.encoders import Encoder, EncoderSettings
from segue.data.encoders.space import Space, require_same
from segue.data.pool import Pool
from segue.data.sentences_build import build_sentences
from segue.errors import InputError, explain
from segue.learning.models import Predictor, load_predictor
from segue.release.bundle_parts import DENSITY, INDEX, PREDICTOR, RERANKER, RIDGE, TEXT_MODEL, Description
from segue.retrieval.index import Index
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.index.store import KINDS, load_index
from segue.retrieval.rerank import Reranker
from segue.retrieval.rerank.cosine import ByCosine
from segue.retrieval.rerank.cross_encoder import CrossEncoderReranker
from segue.retrieval.rerank.features import Features
from segue.retrieval.rerank.fusion import Diversified, Fusion
from segue.retrieval.rerank.lambdamart import load_lambdamart
from segue.retrieval.rerank.listwise import load_listwise
from segue.retrieval.rerank.mixture import Mixture
from segue.retrieval.retrievers import Query, Retriever, VectorRetriever
from segue.retrieval.retrievers.baselines import EncoderOnContext, ExponentialMean, Ridge, copy_last, mean
from segue.retrieval.retrievers.bm25 import Bm25
from segue.retrieval.retrievers.cascade import Cascade
from segue.retrieval.retrievers.predictor import PredictorQuery, predictor_retriever


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
                                     mend="use the version that wrote it, or build the bundle again"))  # fmt: skip
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
        if config["space"] is not None:
            require_same(Space.from_json(config["space"]), self.bank.space, "the bundle's predictor and its bank")
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
        from segue.learning.text.dual_encoder import load_dual_encoder
        from segue.retrieval.retrievers.dual_encoder import dual_encoder_retriever

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
        from segue.learning.text.cross_encoder import load_cross_encoder

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
