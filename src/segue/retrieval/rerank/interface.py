"""Interface of rerankers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.retrieval.saving import Description, PartWriter, cannot_save
from segue.types import Bank, Contexts


@dataclass(frozen=True)
class CandidateLists:
    """Passages to be ordered, a list for each context; the order within a list has no meaning.

    Attributes:
        rows: rows of the bank, one of each duplicate group, -1 pads at the end; a list may be empty.
        first: the first stage's score of each candidate; -inf at the pads.
        queries: the first stage's predicted unit vectors; None where it makes none (words).
        sources: score by each source, the first stage before the others; -inf where a source did not draw the
            candidate. None where they are not known.
    """

    rows: Int[np.ndarray, "batch candidate"]
    first: Float[np.ndarray, "batch candidate"]
    queries: Float[np.ndarray, "batch dim"] | None = None
    sources: Float[np.ndarray, "batch source candidate"] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: Int[np.ndarray, "chosen"] | slice) -> CandidateLists:
        """Return the chosen lists in the order of ``which``."""
        some = (None if values is None else values[which] for values in (self.queries, self.sources))
        return CandidateLists(self.rows[which], self.first[which], *some)

    @property
    def there(self) -> Bool[np.ndarray, "batch candidate"]:
        """False at the pads."""
        return self.rows >= 0


@runtime_checkable
class Reranker(Protocol):
    """Orders the candidates of a context.

    A candidate's score may depend on the other candidates of its list. It may not depend on pads, the order of the
    list, row numbers, or the other contexts of the batch.
    """

    @property
    def name(self) -> str:
        """Name in tables and errors."""
        ...

    @property
    def reads_text(self) -> bool:
        """Whether contexts must bring texts."""
        ...

    @property
    def counts_bank(self) -> bool:
        """Whether scores rest on statistics of the whole bank, test passages included (idf, density)."""
        ...

    @property
    def requires_text(self) -> bool:
        """Whether nothing can be scored without texts."""
        ...

    def over(self, bank: Bank) -> Reranker:
        """Return the same reranker, with all that was fitted, over another bank of the same space."""
        ...

    def counting(self, documents: Int[np.ndarray, "counted"]) -> Reranker:
        """Return the same reranker, statistics of the bank counted over some documents only."""
        ...

    def save_part(self, writer: PartWriter) -> Description:
        """Write what the reranker is made of, and return its description.

        Raises:
            InputError: it is of a kind that a bundle cannot hold.
        """
        ...

    def scores(self, contexts: Contexts, candidates: CandidateLists) -> Float[np.ndarray, "batch candidate"]:
        """Return a score for each candidate, higher is better, -inf at the pads."""
        ...


class UncountedReranker:
    """Answers of a reranker that reads no texts and counts nothing; a base class, to be overridden."""

    reads_text = False
    counts_bank = False
    requires_text = False

    def counting(self: Reranker, documents: Int[np.ndarray, "counted"]) -> Reranker:
        """Return itself: nothing is counted."""
        return self

    def save_part(self: Reranker, writer: PartWriter) -> Description:
        """Refuse to be saved.

        Raises:
            InputError: always.
        """
        raise cannot_save("reranker", self.name)
