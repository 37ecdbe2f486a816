"""Case: the object that checks examine. A bank, its windows as they are queried, and the entries of a comparison.

Everything that a fault can touch is a field of its own and can be replaced alone (``dataclasses.replace``). A check can
then compare what *is* with what *should be* instead of computing both the same way. A case may be partial: a bank alone
has no windows, a recipe no entries, a training no evaluations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Float, Int

from segue.comparison.trained_files import Trained
from segue.encoders import Encoder
from segue.errors import InputError
from segue.evaluation.experiment import Fold
from segue.evaluation.gates import GateSettings
from segue.evaluation.result import Evaluation
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import Retriever, VectorSearch
from segue.training.batches import Batches
from segue.types import Bank, Contexts, Exclusion, Intent, Windows
from segue.windows.windows import gather_contexts, target_vectors

Part = Literal["train", "validation", "test"]
"""A part of a fold's windows."""

SHOWN = ("copy-last", "ar-cosine", "infonce-projected", "infonce-ar", "infonce")
"""Entries shown with the subject in diagnosis tables: the baseline to beat and the usual losses."""

SHORTEST_RUN, RUNS = 6, 150
"""Passages in a row that a document needs for checks of neighbours, and documents that those look at."""

BATCH = 1024
"""Windows gathered at a time."""

Made = TypeVar("Made")

Gather = Callable[..., Contexts]
"""Function that turns windows into what retrievers read of them, with the signature of ``gather_contexts``."""

Truth = Callable[[Bank, Windows], Float[np.ndarray, "window dim"]]
"""Function that returns the vectors taken for the true next passages."""


@dataclass(frozen=True)
class Effort:
    """Limits of the work of a check; tests lower them.

    Attributes:
        windows: maximum number of windows that an entry is queried with again.
        steps: optimiser steps of a training that a check runs itself.
        batches: held-out batches of a gradient measurement.
        resamples: draws of a bootstrap.
    """

    windows: int = 1000
    steps: int = 120
    batches: int = 12
    resamples: int = 2000


@dataclass(frozen=True)
class CaseEntry:
    """One compared option on one fold.

    Attributes:
        name: the option's.
        intent: what the entry declares to be; only undeclared breaches count.
        fold: the number of its fold.
        family: ``control``, ``baseline``, ``loss`` or ``architecture``.
        load: makes the retriever; called at most once.
        evaluation: its results on test windows, or None.
        validation: its scores on validation, or None.
        trained: files of its training, or None for an entry without weights.
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

    @property
    def vector_search(self) -> VectorSearch | None:
        """The search whose queries are made of context vectors alone; None for words, texts and reranked lists."""
        retriever = self.retriever
        if retriever.reads_text or retriever.first_stage() is not retriever:
            return None
        return retriever.searcher()

    @property
    def training(self) -> Trained:
        """Files of the training; only for entries that were trained."""
        assert self.trained is not None, f"{self.name} was not trained"
        return self.trained

    @property
    def quick_to_train(self) -> bool:
        """Whether a short training of its configuration takes seconds or minutes; of one that reads tokens, hours."""
        return self.trained is not None and self.trained.config.model.name != "tokens"

    def as_searched(self, vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
        """Return vectors of the bank as this entry should search them: encoded by its document tower, if it has one."""
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
        query_documents: id of the document that each test window is from, by fold, where the windows' rows do not hold
            it (queries that were stored as vectors); None: the documents of the targets.
        entries: what is compared, fold by fold.
        encoder: loads the bank's encoder; None where there is none.
        gates: gates that the winner has to pass.
        subject: name of the entry that diagnosis is about.
        effort: limits of the work of checks.
        seed: seed of everything that checks draw.
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
    query_documents: Mapping[int, Sequence[str]] | None = None
    entries: tuple[CaseEntry, ...] = ()
    encoder: Callable[[], Encoder] | None = None
    gates: tuple[GateSettings, ...] = ()
    subject: str | None = None
    effort: Effort = field(default_factory=Effort)
    seed: int = 1
    _cache: dict[Hashable, object] = field(default_factory=dict, compare=False, repr=False)

    def cached(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what ``make`` made for this key the first time."""
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]  # type: ignore[return-value]  # of one key there is one type

    def fold_of(self, entry: CaseEntry) -> Fold:
        """Return the fold an entry belongs to."""
        return next(fold for fold in self.folds if fold.number == entry.fold)

    def entries_named(self, name: str | None) -> tuple[CaseEntry, ...]:
        """Return an option's entries, one per fold."""
        return tuple(entry for entry in self.entries if entry.name == name)

    @property
    def first_entries(self) -> tuple[CaseEntry, ...]:
        """Each option once, on the first fold."""
        return tuple(entry for entry in self.entries if entry.fold == self.folds[0].number)

    @property
    def non_controls(self) -> tuple[CaseEntry, ...]:
        """The entries of the first fold, without those declared as controls."""
        return tuple(entry for entry in self.first_entries if entry.intent != "control")

    def about_all(self, text: str) -> dict[str, str]:
        """Return one caveat for every entry that is not a control."""
        return {entry.name: text for entry in self.non_controls}

    @property
    def trained_entries(self) -> tuple[CaseEntry, ...]:
        """The entries with weights, of all folds."""
        return tuple(entry for entry in self.entries if entry.trained is not None)

    @property
    def subject_entries(self) -> tuple[CaseEntry, ...]:
        """The entries of the option that diagnosis is about, one per fold; empty where there is none."""
        return self.entries_named(self.subject)

    @property
    def shown(self) -> tuple[CaseEntry, ...]:
        """The entries of the first fold that diagnosis tables show: the subject, and what it is compared with."""
        return tuple(entry for entry in self.first_entries if entry.name in {self.subject, *SHOWN})

    @property
    def explained(self) -> tuple[CaseEntry, ...]:
        """The trained ones of ``shown``; the subject is among them where it was trained on another fold only."""
        entries = {entry.name: entry for entry in (*self.subject_entries[:1], *self.shown)}
        return tuple(entry for entry in entries.values() if entry.trained is not None)

    def sample(self, fold: Fold, part: Part = "test", *, most: int | None = None) -> Windows:
        """Return at most ``most`` (default: the effort's) windows of a part, evenly spread."""
        windows: Windows = getattr(fold, part)
        limit = self.effort.windows if most is None else most
        return windows if len(windows) <= limit else windows.take(spread(len(windows), limit))

    def passage_runs(self, passages: int = 48) -> list[Int[np.ndarray, "_"]]:
        """Return the first rows, 6 to ``passages`` without a gap, of up to 150 documents spread over the bank."""

        def find() -> list[Int[np.ndarray, "_"]]:
            bank, runs = self.bank, []
            for first, count in zip(bank.first_row.tolist(), bank.num_rows.tolist(), strict=True):
                place = np.arange(min(passages, count))
                rows = first + place
                follows = bank.alive[rows] & (bank.position[rows] - bank.position[rows[:1]] == place)
                runs.append(rows[np.logical_and.accumulate(follows)])
            found = [rows for rows in runs if len(rows) >= SHORTEST_RUN]
            return [found[number] for number in spread(len(found), RUNS)]

        return self.cached(("passage runs", passages), find)

    def directions(self, rows: Int[np.ndarray, "row"]) -> Float[np.ndarray, "row dim"]:
        """Return the vectors of rows at length 1; those that are zero or not finite (SG106) become zero."""
        return directions(self.bank.gather(rows))

    def answerable(self, windows: Windows) -> Windows:
        """Return the windows whose target is among the candidates."""
        return windows.take(self.pool.candidates_of(windows.target) >= 0)

    def read(self, windows: Windows, *, texts: bool = False) -> Contexts:
        """Return the vectors that windows read, without exclusions, and their texts on request."""
        return self.gather(self.bank, windows, exclude="none", texts=texts)

    def contexts(self, entry: CaseEntry, windows: Windows) -> Contexts:
        """Return what an entry reads of some windows."""
        return self.gather(self.bank, windows, exclude=self.exclude, texts=entry.retriever.reads_text)

    def queries(self, entry: CaseEntry, part: Part = "test") -> Float[np.ndarray, "window dim"] | None:
        """Return an entry's query vectors on ``sample(fold, part)``, in the bank's space; None where it has none."""
        if not entry.retriever.predicts:
            return None
        key = ("queries", entry.name, entry.fold, part)
        return self.cached(key, lambda: self.queries_of(entry, self.sample(self.fold_of(entry), part)))

    def queries_of(self, entry: CaseEntry, windows: Windows) -> Float[np.ndarray, "window dim"] | None:
        """Return an entry's query vectors on any windows, in the space of ``entry.as_searched``; None without any."""
        retriever = entry.retriever.searcher()
        if retriever is None:
            return None
        batches = windows.batches(entry.retriever.batch_limit or BATCH)
        parts = [retriever.score(self.contexts(entry, batch)).queries for batch in batches]
        return np.concatenate([part for part in parts if part is not None])

    def ranks(self, entry: CaseEntry, part: Part = "test") -> Int[np.ndarray, "window"]:
        """Return the exact ranks of the targets of ``sample(fold, part)`` over the entry's pool; computed once."""
        key = ("ranks", entry.name, entry.fold, part)
        return self.cached(key, lambda: self.ranks_of(entry, self.sample(self.fold_of(entry), part)))

    def ranks_of(self, entry: CaseEntry, windows: Windows) -> Int[np.ndarray, "window"]:
        """Return the exact ranks of any windows over the entry's pool, under the case's exclusion.

        Raises:
            InputError: there is no window, or a target is not among the entry's candidates.
        """
        if len(windows) == 0:
            raise InputError("no window has its target among the candidates", fix="see SG101")
        retriever = entry.retriever
        parts = [retriever.target_ranks(self.contexts(entry, batch), batch.target)
                 for batch in windows.batches(retriever.batch_limit or BATCH)]  # fmt: skip
        return np.concatenate(parts)

    def documents(self, windows: Windows) -> Int[np.ndarray, "window"]:
        """Return the document number of each window's target."""
        return self.bank.document_of[windows.target].astype(np.int64)

    def other_documents(self, known: Int[np.ndarray, "known"], passages: int, purpose: str) -> Int[np.ndarray, "drawn"]:
        """Return other documents at random, as many as have at most ``passages`` rows together."""
        others = np.setdiff1d(np.arange(len(self.bank.num_rows)), known)
        drawn = self.generator(purpose).permutation(others)
        return drawn[np.cumsum(self.bank.num_rows[drawn]) <= passages]

    @property
    def document_groups(self) -> Int[np.ndarray, "document"]:
        """The near-duplicate group of each document; every document is its own where none were found."""
        return np.arange(len(self.bank.first_row)) if self.groups is None else self.groups

    def groups_of(self, windows: Windows) -> Int[np.ndarray, "window"]:
        """Return the near-duplicate group of each window's document."""
        return self.document_groups[self.documents(windows)]

    def generator(self, purpose: str) -> np.random.Generator:
        """Return a generator for one purpose, the same in every run."""
        return np.random.default_rng([self.seed, *purpose.encode()])


def directions(vectors: Float[np.ndarray, "row dim"]) -> Float[np.ndarray, "row dim"]:
    """Return vectors at length 1, in float64; those that are zero or not finite become zero."""
    finite = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0.0).astype(np.float64)
    return finite / np.maximum(np.linalg.norm(finite, axis=1, keepdims=True), 1e-12)


def pair_cosines(one: Float[np.ndarray, "pair dim"], other: Float[np.ndarray, "pair dim"]) -> Float[np.ndarray, "pair"]:
    """Return the cosine of each unit vector with its partner."""
    found: Float[np.ndarray, "pair"] = np.einsum("pd,pd->p", one, other)
    return found


def spread(count: int, most: int) -> Int[np.ndarray, "chosen"]:
    """Choose at most ``most`` of the numbers from 0 to ``count`` − 1, evenly spread.

    >>> spread(7, 3).tolist(), spread(2, 3).tolist()
    ([0, 3, 6], [0, 1])
    """
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(np.int64)
