"""Types that flow between the packages, and the names of array axes.

Axis names used in every annotation:

``window``    one query: some context passages and the passage that followed
``context``   passages of one window, oldest first, padded at the front
``dim``       components of an embedding
``bank``      passages of a bank, by row number
``batch``     windows handled together
``k``         places of a ranking, best first

A *row* is the global, stable number of a passage in its bank; ``-1`` means "no passage".
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

Intent = Literal["candidate", "control", "projected", "context-left-in"]
"""Role of an option in a comparison: only a ``candidate`` can win; the others break a rule on purpose."""

Exclusion = Literal["context", "prefix", "none"]
"""Passages that are removed from the candidates: those of the context, all read so far, or none."""


@dataclass(frozen=True)
class Document:
    """One text with its paragraphs in reading order; with ``is_cut`` each of them is one passage, as it is.

    Title and paragraphs are in Unicode's composed form (NFC), whatever form they are given in.

    ``dropped`` names the markup inside its sentences whose text the reader does not know, once for each place.
    """

    id: str
    title: str
    paragraphs: tuple[str, ...]
    source: str = ""
    is_cut: bool = False
    dropped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        composed = tuple(unicodedata.normalize("NFC", paragraph) for paragraph in self.paragraphs)
        object.__setattr__(self, "title", unicodedata.normalize("NFC", self.title))
        object.__setattr__(self, "paragraphs", composed)


@dataclass(frozen=True)
class Skipped:
    """A document that a reader left out, and the reason, which is counted.

    ``unreadable`` tells a document that is damaged (not UTF-8, not HTML, no text) from one that is left out on purpose
    (a redirect, a hidden file, a short text).
    """

    id: str
    reason: str
    unreadable: bool = False


@dataclass(frozen=True)
class Passage:
    """A piece of one document; ``position`` counts from 0 in reading order."""

    document_id: str
    position: int
    text: str

    @property
    def id(self) -> str:
        """Name of the passage in run and qrels files.

        >>> Passage("Albedo", 3, "Snow reflects light.").id
        'Albedo#3'
        """
        return f"{self.document_id}#{self.position}"


@dataclass(frozen=True)
class Split:
    """Document numbers (positions in ``bank.documents``) of each part; the parts are disjoint.

    ``fold`` counts from 0; a single split is fold 0 of 1.
    """

    train: Int[np.ndarray, "train"]
    validation: Int[np.ndarray, "validation"]
    test: Int[np.ndarray, "test"]
    fold: int = 0


@dataclass(frozen=True)
class Windows:
    """Windows as row numbers: which passages were read, and which came next.

    Attributes:
        context: rows, oldest first, padded at the front with -1.
        target: the row that follows the last context row.
        dropped: number of windows left out, by reason.
    """

    context: Int[np.ndarray, "window context"]
    target: Int[np.ndarray, "window"]
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.target)

    @property
    def rows(self) -> Int[np.ndarray, "row"]:
        """Every row that is a context passage or a target, once for each window.

        >>> Windows(np.array([[-1, 1]]), np.array([2])).rows.tolist()
        [1, 2]
        """
        return np.concatenate([self.context[self.context >= 0], self.target])

    def take(self, which: Int[np.ndarray, "chosen"] | Bool[np.ndarray, "window"] | slice) -> Windows:
        """Return the chosen windows in the order of ``which``."""
        return Windows(self.context[which], self.target[which], self.dropped)

    def batches(self, size: int) -> Iterator[Windows]:
        """Yield the windows in their order, at most ``size`` at a time."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))


@dataclass(frozen=True)
class Contexts:
    """Input of retrievers: a batch of contexts, from windows of a bank or from the requests of a server.

    Attributes:
        vectors: unit vectors, float32; zeros where ``mask`` is False.
        mask: True where there is a passage; padding is at the front.
        rows: rows in the bank, -1 for padding and for passages the bank does not hold.
        exclude: rows that are excluded together with their duplicates; padded with -1.
        texts: texts of the passages, one tuple per context without padding; None where only vectors are known.
    """

    vectors: Float[np.ndarray, "batch context dim"]
    mask: Bool[np.ndarray, "batch context"]
    rows: Int[np.ndarray, "batch context"]
    exclude: Int[np.ndarray, "batch excluded"]
    texts: Sequence[tuple[str, ...]] | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, which: Int[np.ndarray, "chosen"] | Bool[np.ndarray, "batch"] | slice) -> Contexts:
        """Return the chosen contexts in the order of ``which``."""
        texts = self.texts
        if texts is not None:
            texts = [texts[number] for number in np.arange(len(self))[which]]
        return Contexts(self.vectors[which], self.mask[which], self.rows[which], self.exclude[which], texts)


@dataclass(frozen=True)
class Rankings:
    """The best candidates of each query, best first; empty places hold row -1 and score -inf."""

    rows: Int[np.ndarray, "batch k"]
    scores: Float[np.ndarray, "batch k"]


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval; the ends are None where no interval is defined."""

    value: float
    low: float | None = None
    high: float | None = None


Progress = Callable[[int, int | None, str], None]
"""Callback of long-running functions: ``progress(done, total, note)``; ``total`` is None where it is unknown."""


def no_progress(done: int, total: int | None, note: str) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class BankCounts:
    """Size of a bank, deleted documents included, and the number of documents that were skipped, by reason."""

    documents: int
    passages: int
    characters: int
    skipped: Mapping[str, int]


@runtime_checkable
class Bank(Protocol):
    """Passages by row number; documents are contiguous ranges of rows, in order.

    ``segue.bank.bank.PassageBank`` is a bank on disk.
    """

    def __len__(self) -> int:
        """Count the rows, deleted ones included."""

    @property
    def dimension(self) -> int:
        """Number of components of a vector."""

    @property
    def space(self) -> Any:
        """The embedding space (``segue.encoders.space.Space``)."""

    @property
    def hash(self) -> str | None:
        """Hash of all passages, vectors and documents; None where nothing may be cached for this bank."""

    @property
    def counts(self) -> BankCounts:
        """Size of the bank, and what was skipped when it was built."""

    @property
    def language(self) -> str:
        """ISO 639 code of the language whose sentence rules cut the documents."""

    @property
    def document_ids(self) -> list[str]:
        """The id of each document, by document number."""

    @property
    def document_titles(self) -> list[str]:
        """The title of each document, by document number."""

    @property
    def document_of(self) -> Int[np.ndarray, "bank"]:
        """The document number of each row."""

    @property
    def position(self) -> Int[np.ndarray, "bank"]:
        """The position of each row in its document, counted from 0."""

    @property
    def duplicate_group(self) -> Int[np.ndarray, "bank"]:
        """The smallest row with the same normalised text; rows without text are their own group."""

    @property
    def alive(self) -> Bool[np.ndarray, "bank"]:
        """False where the passage was deleted."""

    @property
    def first_row(self) -> Int[np.ndarray, "document"]:
        """The first row of each document."""

    @property
    def num_rows(self) -> Int[np.ndarray, "document"]:
        """The number of rows of each document, deleted ones included."""

    @property
    def has_texts(self) -> bool:
        """Whether passages have texts, or vectors only."""

    def gather(self, rows: Int[np.ndarray, "rows"]) -> Float[np.ndarray, "rows dim"]:
        """Return the float32 unit vectors of ``rows`` (all ≥ 0), in that order."""

    def blocks(self, rows_per_block: int = ...) -> Iterator[tuple[int, Float[np.ndarray, "rows dim"]]]:
        """Yield (first row, float32 vectors) of contiguous blocks in order, one in memory at a time."""

    def texts(self, rows: Int[np.ndarray, "rows"]) -> list[str]:
        """Return the texts of ``rows``."""

    def passage_ids(self, rows: Int[np.ndarray, "rows"]) -> list[str]:
        """Return the names of ``rows`` in run and qrels files."""
