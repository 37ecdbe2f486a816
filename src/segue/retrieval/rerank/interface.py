"""What every reranker is given, and what it can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.types import Bank, Contexts


@dataclass(frozen=True)
class Candidates:
    """The passages to be ordered, a list for each context; the order within a list carries no meaning.

    Attributes:
        rows: rows of the bank, one of each duplicate group; -1 pads stand at the end, and a list may hold nothing else.
        first: the first stage's score of each candidate; -inf at the pads.
        queries: the first stage's predicted unit vectors; None where it makes none (words).
        sources: the score that each source gave to what it drew, the first stage before the others; -inf for what only
            other sources drew. None where nobody asked.
    """

    rows: Int[np.ndarray, "batch candidate"]
    first: Float[np.ndarray, "batch candidate"]
    queries: Float[np.ndarray, "batch dim"] | None = None
    sources: Float[np.ndarray, "batch source candidate"] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: Int[np.ndarray, "chosen"] | slice) -> Candidates:
        """Return the chosen lists in the order of ``which``."""
        some = (None if values is None else values[which] for values in (self.queries, self.sources))
        return Candidates(self.rows[which], self.first[which], *some)

    @property
    def there(self) -> Bool[np.ndarray, "batch candidate"]:
        """False at the pads."""
        return self.rows >= 0


@runtime_checkable
class Reranker(Protocol):
    """Orders the candidates of a context.

    A candidate's score may depend on the other candidates of its list. It may not depend on the pads, on how the list
    is sorted, on row numbers, or on the other contexts of the batch.
    """

    @property
    def name(self) -> str:
        """What tables and errors call it."""
        ...

    @property
    def reads_text(self) -> bool:
        """Whether contexts must bring texts."""
        ...

    @property
    def counts_bank(self) -> bool:
        """Whether scores rest on statistics of the whole bank, test passages included (idf, density)."""
        ...

    def over(self, bank: Bank) -> Reranker:
        """Return the same reranker, with all that was fitted, over another bank of the same space."""
        ...

    def scores(self, contexts: Contexts, candidates: Candidates) -> Float[np.ndarray, "batch candidate"]:
        """Return a score for each candidate, higher is better, -inf at the pads."""
        ...
