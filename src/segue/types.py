"""What flows between the rooms, and the vocabulary of array axes.

Axis names used in every annotation:

``window``    one question: some context passages and the passage that followed
``context``   the passages of one window, oldest first, padded at the front
``dim``       components of an embedding
``bank``      passages of a bank, by row number
``batch``     windows handled together
``k``         places of a ranking, best first

A *row* is the global, stable number of a passage in its bank; ``-1`` stands for "no passage".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

Intent = Literal["candidate", "control", "projected", "context-left-in"]
"""What a compared row stands for: only a ``candidate`` can win; the others break a rule on purpose."""

Exclusion = Literal["context", "prefix", "none"]
"""Which passages leave the candidates: those of the context, all read so far, or none."""


@dataclass(frozen=True)
class Document:
    """One text with its paragraphs in reading order."""

    id: str
    title: str
    paragraphs: tuple[str, ...]
    source: str = ""


@dataclass(frozen=True)
class Skipped:
    """A document that a reader left out, with the reason; reasons are counted, nothing is dropped silently."""

    id: str
    reason: str


@dataclass(frozen=True)
class Passage:
    """A piece of one document, ``position`` counted from 0 in reading order."""

    document_id: str
    position: int
    text: str

    @property
    def id(self) -> str:
        """The passage's name in run and qrels files.

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
    """Row numbers only: which passages were read, and which came next.

    Attributes:
        context: rows, oldest first, padded at the front with -1.
        target: the row that follows the last context row.
        dropped: how many windows were left out, by reason.
    """

    context: Int[np.ndarray, "window context"]
    target: Int[np.ndarray, "window"]
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.target)

    def take(self, which: Int[np.ndarray, "chosen"] | Bool[np.ndarray, "window"] | slice) -> Windows:
        """Return the chosen windows in the order of ``which``."""
        return Windows(self.context[which], self.target[which], self.dropped)


@dataclass(frozen=True)
class Contexts:
    """What retrievers read: a batch of contexts, from a bank's windows or from what a server was sent.

    Attributes:
        vectors: unit vectors, float32; zeros where ``mask`` is False.
        mask: True where there is a passage; padding stands at the front.
        rows: rows in the bank, -1 for padding and for passages the bank does not hold.
        exclude: rows that may not be answered, padded with -1 (their duplicates leave with them).
        texts: the passages' texts, one tuple per context without padding; None where only vectors are known.
    """

    vectors: Float[np.ndarray, "batch context dim"]
    mask: Bool[np.ndarray, "batch context"]
    rows: Int[np.ndarray, "batch context"]
    exclude: Int[np.ndarray, "batch excluded"]
    texts: Sequence[tuple[str, ...]] | None = None

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True)
class Rankings:
    """Answers, best first; places that stayed empty hold row -1 and score -inf."""

    rows: Int[np.ndarray, "batch k"]
    scores: Float[np.ndarray, "batch k"]


@dataclass(frozen=True)
class Interval:
    """A value with the two ends of its 95 % interval; ends are None where no interval is defined."""

    value: float
    low: float | None = None
    high: float | None = None


Progress = Callable[[int, int | None, str], None]
"""Called as ``progress(done, total or None, note)`` by everything that takes over a second."""


def no_progress(done: int, total: int | None, note: str) -> None:
    """Ignore progress."""
