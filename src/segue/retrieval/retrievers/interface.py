"""What every retriever can be asked.

A retriever is judged against several pools and exclusions at once, so it first turns contexts into ``Scores`` (the
costly part, done once), and these answer for any pool. Serving asks ``rank``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from segue.ranking.pool import Pool
from segue.types import Bank, Contexts, Intent, Rankings

Lap = Callable[[str], None]
"""Called with the name of a stage (``encode``, ``predict``, ``search``, ``rerank``) when that stage has ended."""


def no_lap(stage: str) -> None:
    """Take no time."""


@runtime_checkable
class Scores(Protocol):
    """A batch of contexts, turned into something that orders the candidates of any pool of the bank."""

    @property
    def queries(self) -> Float[np.ndarray, "batch dim"] | None:
        """The predicted unit vectors; None where nothing is predicted in the bank's space (words, chance)."""
        ...

    def ranks(
        self, pool: Pool, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return the place of each target among all candidates of ``pool``, counted from 1."""
        ...

    def ranks_under(
        self,
        pool: Pool,
        targets: Int[np.ndarray, "batch several"],
        *,
        excludes: Sequence[Int[np.ndarray, "batch _"]],
    ) -> list[Int[np.ndarray, "batch several"]]:
        """Return what ``ranks`` would for each exclusion and each target of a context, at less than their price.

        Args:
            pool: the candidates.
            targets: several rows for each context; -1 means that there is none, and gets the rank -1.
            excludes: what leaves the candidates, once for each answer.
        """
        ...

    def ranks_in_document(
        self, bank: Bank, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return the place of each target among the passages of its own document."""
        ...

    def top(self, pool: Pool, k: int, *, exclude: Int[np.ndarray, "batch excluded"]) -> Rankings:
        """Return the best ``k`` candidates of ``pool``."""
        ...

    def of_pairs(self, query: Int[np.ndarray, "pair"], rows: Int[np.ndarray, "pair"]) -> Float[np.ndarray, "pair"]:
        """Return the float64 score of each (context of the batch, row of the bank)."""
        ...


@runtime_checkable
class Retriever(Protocol):
    """What answers "which passage comes next?".

    ``segue.retrieval.retrievers.contract.check_retriever`` runs the rules that every retriever has to keep.
    """

    @property
    def name(self) -> str:
        """The row's name in tables and runs."""
        ...

    @property
    def intent(self) -> Intent:
        """What the row stands for; only a ``candidate`` can win."""
        ...

    @property
    def pool(self) -> Pool:
        """The candidates it answers from."""
        ...

    @property
    def batch_limit(self) -> int | None:
        """The most contexts that ``score`` should be given at once, where memory sets a limit."""
        ...

    @property
    def reads_text(self) -> bool:
        """Whether contexts must bring texts; gathering them for nothing would cost time."""
        ...

    @property
    def counts_bank(self) -> bool:
        """Whether answers rest on statistics of the whole bank, test passages included (words counted for BM25)."""
        ...

    def over(self, bank: Bank) -> Retriever:
        """Return the same retriever, with all that was fitted, over the whole of another bank of the same space."""
        ...

    def score(self, contexts: Contexts) -> Scores:
        """Do the work that does not depend on pool and exclusion."""
        ...

    def rank(self, contexts: Contexts, k: int, *, lap: Lap = no_lap) -> Rankings:
        """Return the best ``k`` passages for each context without ``contexts.exclude``, as served.

        Args:
            contexts: what was read.
            k: places; those that stay empty hold row -1.
            lap: called at the end of each stage, for latency.
        """
        ...

    def target_ranks(
        self, contexts: Contexts, targets: Int[np.ndarray, "batch"], *, pool: Pool | None = None
    ) -> Int[np.ndarray, "batch"]:
        """Return the exact rank of each target, counted from 1, without ``contexts.exclude``.

        Args:
            contexts: what was read.
            targets: the row that followed.
            pool: other candidates than the retriever's own.
        """
        ...
