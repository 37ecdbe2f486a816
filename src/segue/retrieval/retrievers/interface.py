"""Interface of retrievers.

A retriever is evaluated against several pools and exclusions at once, so it first turns contexts into ``Scores`` (the
expensive part, done once), and these rank any pool. Serving calls ``rank``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from segue.encoders.space import Space
from segue.errors import InputError
from segue.ranking.pool import Pool
from segue.retrieval.index import Index
from segue.retrieval.query_function import QueryFunction
from segue.retrieval.saving import Description, PartWriter, cannot_save
from segue.types import Bank, Contexts, Intent, Rankings

Stage = Literal["encode", "predict", "search"]
"""Name of the first stage in latency tables: the query is encoded from text, predicted, or there is none."""

Lap = Callable[[str], None]
"""Called with the name of a stage when it has ended: ``encode``, ``predict``, ``search``, ``rerank``, ``read``."""


def no_lap(stage: str) -> None:
    """Take no time."""


@runtime_checkable
class Scores(Protocol):
    """A batch of contexts, turned into something that orders the candidates of any pool of the bank."""

    @property
    def queries(self) -> Float[np.ndarray, "batch dim"] | None:
        """Predicted unit vectors; None where nothing is predicted in the bank's space (words, chance)."""
        ...

    @property
    def values(self) -> Float[np.ndarray, "batch bank"] | None:
        """Score of every row of the bank; None where these are not computed."""
        ...

    def ranks(
        self, pool: Pool, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return the exact rank of each target among all candidates of ``pool``, counted from 1."""
        ...

    def ranks_under(
        self,
        pool: Pool,
        targets: Int[np.ndarray, "batch several"],
        *,
        excludes: Sequence[Int[np.ndarray, "batch _"]],
    ) -> list[Int[np.ndarray, "batch several"]]:
        """Return what ``ranks`` would for each exclusion and each target of a context, at a lower cost.

        Args:
            pool: the candidates.
            targets: several rows for each context; -1 means that there is none, and gets the rank -1.
            excludes: what leaves the candidates; one array for each result.
        """
        ...

    def ranks_in_document(
        self, bank: Bank, targets: Int[np.ndarray, "batch"], *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch"]:
        """Return the exact rank of each target among the passages of its own document."""
        ...

    def top(self, pool: Pool, k: int, *, exclude: Int[np.ndarray, "batch excluded"], lap: Lap = no_lap) -> Rankings:
        """Return the best ``k`` candidates of ``pool``; ``lap`` is called at the end of each stage."""
        ...

    def reranked(
        self, pool: Pool, *, exclude: Int[np.ndarray, "batch excluded"]
    ) -> Int[np.ndarray, "batch candidate"] | None:
        """Return the rows that a reranker orders, padded with -1; None without a reranker."""
        ...

    def of_pairs(self, query: Int[np.ndarray, "pair"], rows: Int[np.ndarray, "pair"]) -> Float[np.ndarray, "pair"]:
        """Return the float64 score of each (context of the batch, row of the bank)."""
        ...


@runtime_checkable
class Retriever(Protocol):
    """Answers "which passage comes next?".

    ``segue.retrieval.retrievers.conformance.check_retriever`` runs the rules that every retriever has to keep.
    ``SingleStage`` answers, for retrievers without a reranker, all that does not depend on the kind.
    """

    @property
    def name(self) -> str:
        """Name of the entry in tables and runs."""
        ...

    @property
    def intent(self) -> Intent:
        """Purpose of the entry; only a ``candidate`` can win."""
        ...

    @property
    def pool(self) -> Pool:
        """Candidates that are ranked."""
        ...

    @property
    def batch_limit(self) -> int | None:
        """Maximum number of contexts for one call of ``score``; None where memory sets no limit."""
        ...

    @property
    def stage(self) -> Stage:
        """Name of ``score`` in latency tables."""
        ...

    @property
    def reads_text(self) -> bool:
        """Whether contexts must bring texts, which take time to gather."""
        ...

    @property
    def counts_bank(self) -> bool:
        """Whether scores rest on statistics of the whole bank, test passages included (words counted for BM25)."""
        ...

    @property
    def reads_bank(self) -> bool:
        """Whether scores may depend on other passages of the bank than those read and the one that is scored."""
        ...

    def first_stage(self) -> Retriever:
        """Return the retriever that draws the candidates of a reranker; itself without a reranker."""
        ...

    def searcher(self) -> VectorSearch | None:
        """Return the retriever that makes query vectors and searches with them; None where there are none."""
        ...

    @property
    def predicts(self) -> bool:
        """Whether scores bring query vectors of the bank's own space."""
        ...

    def over(self, bank: Bank) -> Retriever:
        """Return the same retriever, with all that was fitted, over all of another bank of the same space."""
        ...

    def counting(self, documents: Int[np.ndarray, "counted"]) -> Retriever | None:
        """Return the same retriever with its statistics over some documents only; None where it has none."""
        ...

    def without_texts(self) -> Retriever | None:
        """Return what answers where only vectors were read, without the sources that read words; None: nothing does."""
        ...

    def searched_with(self, index: Index) -> Retriever:
        """Return the same retriever with an index over the bank in place of exact search.

        Raises:
            InputError: it does not search the bank's vectors.
        """
        ...

    def score(self, contexts: Contexts) -> Scores:
        """Compute everything that does not depend on pool and exclusion."""
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

    def save_part(self, writer: PartWriter) -> Description:
        """Write what the retriever is made of, and return its description.

        Raises:
            InputError: it is a control, or of a kind that a bundle cannot hold.
        """
        ...


@runtime_checkable
class VectorSearch(Retriever, Protocol):
    """Retriever whose scores are cosines with one query vector per context."""

    @property
    def query(self) -> QueryFunction:
        """Function that makes the query vectors."""
        ...

    @property
    def index(self) -> Index | None:
        """Index that ``rank`` searches; None where the bank is searched exactly."""
        ...

    @property
    def query_space(self) -> Space | None:
        """Space of the query vectors, where an encoder makes them; None otherwise."""
        ...


def batches_of(contexts: Contexts, limit: int | None) -> Iterator[tuple[slice, Contexts]]:
    """Yield the contexts in batches of at most ``limit``, each with its places; an empty batch where there are none."""
    size = limit or max(1, len(contexts))
    for start in range(0, max(1, len(contexts)), size):
        part = slice(start, start + size)
        yield part, contexts.take(part)


def join_rankings(parts: Sequence[Rankings]) -> Rankings:
    """Put the rankings of batches one after the other."""
    return Rankings(np.concatenate([part.rows for part in parts]), np.concatenate([part.scores for part in parts]))


def refuse_index(name: str) -> InputError:
    """Return the error of a retriever that an index cannot serve."""
    return InputError(f"{name} does not search the bank's vectors, so it cannot use an index",
                      fix="build the bundle without an index")  # fmt: skip


class Ranks:
    """Exact ranks by scoring a batch at a time; a base class of retrievers."""

    def target_ranks(
        self: Retriever, contexts: Contexts, targets: Int[np.ndarray, "batch"], *, pool: Pool | None = None
    ) -> Int[np.ndarray, "batch"]:
        """Return the exact rank of each target, counted from 1, without ``contexts.exclude``."""
        batches = batches_of(contexts, self.batch_limit)
        return np.concatenate(
            [
                self.score(batch).ranks(pool or self.pool, targets[places], exclude=batch.exclude)
                for places, batch in batches
            ]
        )


class SingleStage(Ranks):
    """Answers of a retriever without a reranker that makes no query vectors; a base class of retrievers."""

    @property
    def stage(self) -> Stage:
        """``search``: scoring is searching."""
        return "search"

    @property
    def reads_bank(self) -> bool:
        """True: the safe assumption."""
        return True

    def first_stage(self: Retriever) -> Retriever:
        """Return itself."""
        return self

    def searcher(self) -> VectorSearch | None:
        """Return None: there are no query vectors."""
        return None

    @property
    def predicts(self) -> bool:
        """False: there are no query vectors."""
        return False

    def counting(self, documents: Int[np.ndarray, "counted"]) -> Retriever | None:
        """Return None: no statistics are known."""
        return None

    def without_texts(self: Retriever) -> Retriever | None:
        """Return itself where it reads no texts, None otherwise."""
        return None if self.reads_text else self

    def searched_with(self: Retriever, index: Index) -> Retriever:
        """Refuse the index.

        Raises:
            InputError: always.
        """
        raise refuse_index(self.name)

    def save_part(self: Retriever, writer: PartWriter) -> Description:
        """Refuse to be saved.

        Raises:
            InputError: always.
        """
        raise cannot_save("retriever", self.name)
