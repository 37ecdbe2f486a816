"""What checks examine: a bank, its windows as they are really asked, and the rows of a comparison.

Everything that a fault could touch is a field of its own and can be replaced alone (``dataclasses.replace``), so that
a check compares what *is* with what *should be* instead of computing both the same way. A case may be partial: a bank
alone has no windows, a recipe no rows, a training no evaluations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from safetensors.torch import load_file

from segue.encoders import Encoder
from segue.errors import InputError, explain
from segue.evaluation.experiment import Fold
from segue.evaluation.gates import GateSettings
from segue.evaluation.result import Evaluation
from segue.files import read_json
from segue.models import Predictor, load_predictor, read_config
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import Retriever, VectorRetriever
from segue.retrieval.retrievers.cascade import Cascade
from segue.retrieval.retrievers.predictor import PredictorDocuments
from segue.retrieval.retrievers.reencoded import ReencodedRetriever
from segue.training.batches import Batches
from segue.training.losses.loss import Loss, LossSettings, build_loss
from segue.training.settings import TrainingSettings
from segue.training.state import LOSS_FILE
from segue.types import Bank, Contexts, Exclusion, Intent, Windows
from segue.windows.windows import gather_contexts, target_vectors

Which = Literal["train", "validation", "test"]


@runtime_checkable
class Gather(Protocol):
    """Turns windows into what retrievers read of them."""

    def __call__(self, bank: Bank, windows: Windows, *, exclude: Exclusion = ..., texts: bool = ...) -> Contexts:
        """Return the contexts."""
        ...


SHOWN = ("copy-last", "ar-cosine", "infonce-projected", "infonce-ar", "infonce")
"""Rows beside the subject in diagnosis tables: the baseline to beat, the report's two models, and their fixes."""

Truth = Callable[[Bank, Windows], Float[np.ndarray, "window dim"]]
"""Gives the vectors that are taken for the true next passages."""


@dataclass(frozen=True)
class Effort:
    """How much a check may do; tests lower it.

    Attributes:
        windows: most windows that a row is asked about again.
        steps: optimiser steps of a training that a check needs for itself.
        batches: held-out batches of a gradient measurement.
        resamples: draws of a bootstrap.
    """

    windows: int = 1000
    steps: int = 120
    batches: int = 12
    resamples: int = 2000


@dataclass(frozen=True)
class Trained:
    """What training left of a row: weights, their loss, the record, the settings.

    Attributes:
        folder: of the option on its fold; ``checkpoint/``, ``training/`` and ``training.json`` are in it.
        loss_settings: of the loss as it was trained.
        settings: of the training as it was run, steps and seed included.
    """

    folder: Path
    loss_settings: LossSettings
    settings: TrainingSettings

    @functools.cached_property
    def _loaded(self) -> tuple[Predictor, dict[str, Any]]:
        return load_predictor(self.folder / "checkpoint")

    @property
    def predictor(self) -> Predictor:
        """The predictor with its best weights, on the CPU.

        Raises:
            InputError: the checkpoint is broken, or computes something else than when it was saved.
        """
        return self._loaded[0]

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """The checkpoint's ``config.json``, with ``training_documents``; read without the weights."""
        return read_config(self.folder / "checkpoint")

    @property
    def encoder(self) -> PredictorDocuments | None:
        """What its document tower makes of a bank; None where the bank is searched as it is."""
        learnt = self.config["model"].get("documents", "identity") != "identity"
        return PredictorDocuments(self.predictor) if learnt else None

    @functools.cached_property
    def record(self) -> dict[str, Any]:
        """``training.json``: model, loss, steps, curve, batch size, compatibility."""
        return read_json(self.folder / "training.json")

    @functools.cached_property
    def loss(self) -> Loss:
        """The loss with what it learnt (projection head, temperatures).

        Raises:
            InputError: it learnt something, and the file is gone.
        """
        loss = build_loss(self.loss_settings, self.predictor.dimension, seed=self.settings.seed)
        path = self.folder / "training" / LOSS_FILE
        if loss.state_dict():
            if not path.exists():
                raise InputError(explain(f"{path} is not there, so the projection head or temperature is unknown",
                                         fix="keep that file, or train the option again"))  # fmt: skip
            loss.load_state_dict(load_file(path))
        return loss.eval()


@dataclass(frozen=True)
class Row:
    """One retriever on one fold.

    Attributes:
        name: the option's.
        intent: what the row declares to be; only undeclared breaches count.
        fold: the number of its fold.
        family: ``control``, ``baseline``, ``loss`` or ``architecture``.
        load: makes the retriever; called at most once.
        evaluation: what it measured on test, or None.
        validation: its scores on validation, or None.
        trained: what training left, or None for a row without weights.
        declares: other deliberate departures, by name: ``{"bank statistics": "IDF over the whole bank"}``.
    """

    name: str
    intent: Intent
    fold: int
    family: str
    load: Callable[[], Retriever]
    evaluation: Evaluation | None = None
    validation: Mapping[str, float] | None = None
    trained: Trained | None = None
    declares: Mapping[str, str] = field(default_factory=dict)

    @functools.cached_property
    def retriever(self) -> Retriever:
        """The retriever as it was evaluated."""
        return self.load()

    def as_searched(self, vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
        """Return vectors of the bank as this row should search them: through its document tower, where it has one."""
        encoder = None if self.trained is None else self.trained.encoder
        return vectors if encoder is None else encoder.encode(vectors)


@dataclass(frozen=True)
class Case:
    """An experiment under examination.

    Attributes:
        bank: the passages.
        pool: the candidates that should be searched.
        folds: windows by part.
        groups: near-duplicate group of each document, the unit of statistics.
        context: passages read before each prediction.
        exclude: which passages should leave the candidates.
        gather: how windows become what retrievers and training batches read.
        truth: how windows become the vectors taken for true.
        batches: makes training batches of a bank and windows.
        asked_documents: id of the document that each test window is from, by fold, where the windows' rows do not say
            it (questions that were stored as vectors); None: the documents of the targets.
        rows: what is compared, fold by fold.
        encoder: loads the bank's encoder, or None where there is none to ask.
        gates: that the winner has to pass.
        subject: name of the row that diagnosis is about.
        effort: how much checks may do.
        seed: of everything that checks draw.
    """

    bank: Bank
    pool: Pool
    folds: tuple[Fold, ...] = ()
    groups: Int[np.ndarray, "document"] | None = None
    context: int | None = None
    exclude: Exclusion = "context"
    gather: Gather = gather_contexts
    truth: Truth = target_vectors
    batches: Callable[..., Batches] = Batches
    asked_documents: Mapping[int, Sequence[str]] | None = None
    rows: tuple[Row, ...] = ()
    encoder: Callable[[], Encoder] | None = None
    gates: tuple[GateSettings, ...] = ()
    subject: str | None = None
    effort: Effort = field(default_factory=Effort)
    seed: int = 1
    _remembered: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def fold_of(self, row: Row) -> Fold:
        """Return the fold a row belongs to."""
        return next(fold for fold in self.folds if fold.number == row.fold)

    def rows_named(self, name: str) -> tuple[Row, ...]:
        """Return an option's rows, one per fold."""
        return tuple(row for row in self.rows if row.name == name)

    @property
    def first_rows(self) -> tuple[Row, ...]:
        """Each option once, on the first fold."""
        return tuple(row for row in self.rows if row.fold == self.folds[0].number)

    @property
    def candidates(self) -> tuple[Row, ...]:
        """The rows of the first fold that claim to predict: all but controls."""
        return tuple(row for row in self.first_rows if row.intent != "control")

    @property
    def subject_rows(self) -> tuple[Row, ...]:
        """The rows of the option that diagnosis is about, one per fold; empty where there is none."""
        return self.rows_named(self.subject) if self.subject else ()

    @property
    def shown(self) -> tuple[Row, ...]:
        """The rows of the first fold that diagnosis tables show: the subject, and what it is compared with."""
        wanted = {self.subject, *SHOWN}
        return tuple(row for row in self.first_rows if row.name in wanted)

    def sample(self, fold: Fold, which: Which = "test", *, most: int | None = None) -> Windows:
        """Return at most ``most`` (default: the effort's) windows of a part, evenly spread."""
        windows: Windows = getattr(fold, which)
        limit = self.effort.windows if most is None else most
        if len(windows) <= limit:
            return windows
        return windows.take(np.linspace(0, len(windows) - 1, limit).round().astype(np.int64))

    def answerable(self, windows: Windows) -> Windows:
        """Return the windows whose target is among the candidates."""
        return windows.take(self.pool.candidates_of(windows.target) >= 0)

    def queries(self, row: Row, which: Which = "test") -> Float[np.ndarray, "window dim"] | None:
        """Return the query vectors of a row on ``sample(fold, which)``, in the bank's space; None for a row without.

        Made once, whichever check asks first.
        """
        key = (row.name, row.fold, which)
        if key not in self._remembered:
            self._remembered[key] = self._ask(row, self.sample(self.fold_of(row), which))
        return self._remembered[key]

    def queries_of(self, row: Row, windows: Windows) -> Float[np.ndarray, "window dim"] | None:
        """Return the query vectors of a row on any windows, in the space of ``row.as_searched``; None without any."""
        return self._ask(row, windows, searching=True)

    def ranks(self, row: Row, which: Which = "test") -> Int[np.ndarray, "window"]:
        """Return the exact ranks of the targets of ``sample(fold, which)`` over the row's pool; made once."""
        key = ("ranks", row.name, row.fold, which)
        if key not in self._remembered:
            self._remembered[key] = self.ranks_of(row, self.sample(self.fold_of(row), which))
        return self._remembered[key]

    def ranks_of(self, row: Row, windows: Windows) -> Int[np.ndarray, "window"]:
        """Return the exact ranks of any windows over the row's pool, under the case's exclusion.

        Raises:
            InputError: there is no window, or a target is not among the row's candidates.
        """
        if len(windows) == 0:
            raise InputError(explain("no window has its target among the candidates", fix="see SG101"))
        found = [
            row.retriever.target_ranks(self.contexts(row, batch), batch.target) for batch in self._batches(row, windows)
        ]
        return np.concatenate(found)

    def contexts(self, row: Row, windows: Windows) -> Contexts:
        """Return what a row reads of some windows."""
        return self.gather(self.bank, windows, exclude=self.exclude, texts=row.retriever.reads_text)

    def _ask(self, row: Row, windows: Windows, *, searching: bool = False) -> Float[np.ndarray, "window dim"] | None:
        retriever = row.retriever.first if isinstance(row.retriever, Cascade) else row.retriever
        if searching and isinstance(retriever, ReencodedRetriever):
            retriever = retriever.searching
        if not isinstance(retriever, VectorRetriever):
            return None
        parts = [retriever.score(self.contexts(row, batch)).queries for batch in self._batches(row, windows)]
        return np.concatenate(parts)

    def _batches(self, row: Row, windows: Windows) -> list[Windows]:
        size = row.retriever.batch_limit or 1024
        return [windows.take(slice(start, start + size)) for start in range(0, len(windows), size)]

    def documents(self, windows: Windows) -> Int[np.ndarray, "window"]:
        """Return the document number of each window's target."""
        return self.bank.document_of[windows.target].astype(np.int64)

    def groups_of(self, windows: Windows) -> Int[np.ndarray, "window"]:
        """Return the near-duplicate group of each window's document."""
        documents = self.documents(windows)
        return documents if self.groups is None else self.groups[documents]

    def generator(self, purpose: str) -> np.random.Generator:
        """Return a generator for one purpose, the same in every run."""
        return np.random.default_rng([self.seed, *purpose.encode()])
