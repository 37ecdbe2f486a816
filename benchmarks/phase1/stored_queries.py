"""Queries stored as vectors, apart from the bank that is searched: how phase 1 of the original work was evaluated.

Enters: a bank, and windows of documents that the searched bank (the index) does not hold. Leaves: context vectors,
document ids and target vectors without row numbers, joined to the index by keys (document number, position) alone.
A key that means nothing joins a query to a passage that has nothing to do with it, and no error is raised.

A joined query has a ``Windows`` row all the same, so that checks can ask about it: context rows are -1 (the index
does not hold those passages; the mask is True all the same) and the target is the row of its key. Keys are unique, so
the target's row says which query is meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.bank.copies import BankCopy
from segue.evaluation.evaluate import Evaluation, EvaluationSettings
from segue.ranking.exact import target_cosines
from segue.retrieval.retrievers import Retriever
from segue.types import Bank, Contexts, Exclusion, Windows
from segue.windows.windows import gather_contexts, target_vectors


@dataclass(frozen=True)
class StoredQueries:
    """What a file of queries holds.

    Attributes:
        contexts: unit vectors of what was read, oldest first.
        targets: unit vectors that are taken for the next passages.
        document_ids: which document each query is about.
        keys: document number and position under which each answer is said to stand in the index.
    """

    contexts: Float[np.ndarray, "window context dim"]
    targets: Float[np.ndarray, "window dim"]
    document_ids: tuple[str, ...]
    keys: Int[np.ndarray, "window 2"]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, which: Bool[np.ndarray, "window"]) -> StoredQueries:
        """Return the chosen queries."""
        names = tuple(name for name, chosen in zip(self.document_ids, which.tolist(), strict=True) if chosen)
        return StoredQueries(self.contexts[which], self.targets[which], names, self.keys[which])

    @property
    def groups(self) -> Int[np.ndarray, "window"]:
        """The document of each query as a number, the unit of statistics."""
        return np.unique(np.array(self.document_ids), return_inverse=True)[1].astype(np.int64)


def store_queries(bank: Bank, windows: Windows, *, keys_per_document: int = 100) -> StoredQueries:
    """Store windows with full contexts as vectors, under placeholder keys.

    Args:
        bank: that the windows are of.
        windows: the queries.
        keys_per_document: see ``placeholder_keys``.
    """
    contexts = gather_contexts(bank, windows, exclude="none").vectors
    names = tuple(bank.document_ids[number] for number in bank.document_of[windows.target].tolist())
    keys = placeholder_keys(len(windows), per_document=keys_per_document)
    return StoredQueries(contexts, target_vectors(bank, windows), names, keys)


def placeholder_keys(count: int, *, per_document: int = 100) -> Int[np.ndarray, "window 2"]:
    """Return (i // 100, i mod 100) for query i, which says nothing about where its answer stands.

    >>> placeholder_keys(3, per_document=2).tolist()
    [[0, 0], [0, 1], [1, 0]]
    """
    number = np.arange(count, dtype=np.int64)
    return np.stack([number // per_document, number % per_document], axis=1)


def rows_of_keys(index: Bank, keys: Int[np.ndarray, "window 2"]) -> Int[np.ndarray, "window"]:
    """Return the row of each key in the index, -1 where there is none."""
    document, position = keys[:, 0], keys[:, 1]
    known = document < len(index.document_ids)
    held = np.where(known, document, 0)
    known &= position < index.num_rows[held]
    return np.where(known, index.first_row[held] + position, -1).astype(np.int64)


def repair(queries: StoredQueries, index: Bank) -> StoredQueries:
    """Do what the repair tool did: drop unknown keys, overwrite the targets with the rows at the others.

    The contexts stay, so a query's two sides no longer have anything to do with each other.
    """
    kept = queries.take(rows_of_keys(index, queries.keys) >= 0)
    return replace(kept, targets=index.gather(rows_of_keys(index, kept.keys)))


def joined_windows(queries: StoredQueries, index: Bank) -> Windows:
    """Return the windows of repaired queries: unknown contexts, and the rows at their keys."""
    target = rows_of_keys(index, queries.keys)
    assert (target >= 0).all(), "the repair dropped unknown keys"
    return Windows(np.full(queries.contexts.shape[:2], -1, dtype=np.int64), target)


class QueryReader:
    """Reads stored queries beside ordinary windows of the index: a ``Gather`` and a ``Truth`` of a case.

    Args:
        queries: repaired.
        index: they are joined to.
    """

    def __init__(self, queries: StoredQueries, index: Bank) -> None:
        self.queries, self.index, self.windows = queries, index, joined_windows(queries, index)
        self._number = np.full(len(index), -1, dtype=np.int64)
        self._number[self.windows.target] = np.arange(len(queries))

    def gather(self, bank: Bank, windows: Windows, *, exclude: Exclusion = "context", texts: bool = False) -> Contexts:
        """Return contexts from the file for stored queries, from the bank for all other windows."""
        found = gather_contexts(bank, windows, exclude=exclude, texts=texts)
        stored, number = self._stored(bank, windows)
        vectors, mask = found.vectors.copy(), found.mask.copy()
        vectors[stored], mask[stored] = self.queries.contexts[number], True
        return replace(found, vectors=vectors, mask=mask)

    def truth(self, bank: Bank, windows: Windows) -> Float[np.ndarray, "window dim"]:
        """Return what is taken for the next passage: of stored queries the file's vectors."""
        vectors = np.array(target_vectors(bank, windows))
        stored, number = self._stored(bank, windows)
        vectors[stored] = self.queries.targets[number]
        return vectors

    def _stored(self, bank: Bank, windows: Windows) -> tuple[Bool[np.ndarray, "window"], Int[np.ndarray, "stored"]]:
        """Tell which windows are stored queries, and their numbers; copies of the index know where rows came from."""
        target = windows.target
        if isinstance(bank, BankCopy) and bank is not self.index:
            target = bank.source[target]
        number = self._number[target]
        stored = (windows.context < 0).all(axis=1) & (number >= 0)
        return stored, number[stored]


class TruthAsQuery:
    """The "AMN baseline" of the original report: it queried with the vectors that were taken for true.

    An unknown context is answered with its last passage.

    Args:
        known: files of queries whose answers it knows.
    """

    def __init__(self, known: Sequence[StoredQueries]) -> None:
        self._truth = {
            context.tobytes(): vector
            for queries in known
            for context, vector in zip(queries.contexts, queries.targets, strict=True)
        }

    def __call__(self, contexts: Contexts) -> Float[np.ndarray, "batch dim"]:
        """Return the true vectors."""
        answers = [self._truth.get(context.tobytes(), context[-1]) for context in contexts.vectors]
        return np.array(answers, dtype=np.float32).reshape(len(contexts), contexts.vectors.shape[2])


def evaluate_stored_queries(
    retriever: Retriever, index: Bank, reader: QueryReader, settings: EvaluationSettings
) -> Evaluation:
    """Rank the passage at each query's key among all of the index; nothing is excluded.

    Intervals resample the queried documents; there is no latency, which needs windows of the index.
    """
    windows = reader.windows
    contexts = reader.gather(index, windows, exclude="none")
    scores = retriever.score(contexts)
    queries = scores.queries
    assert queries is not None, "stored queries are vectors"
    return Evaluation(
        retriever.name,
        retriever.intent,
        "none",
        retriever.pool.size,
        targets=windows.target,
        documents=index.document_of[windows.target].astype(np.int64),
        groups=reader.queries.groups,
        ranks=scores.ranks(retriever.pool, windows.target, exclude=contexts.exclude),
        ranks_by_pool={},
        rankings=scores.top(retriever.pool, settings.run_depth, exclude=contexts.exclude).rows,
        cosine=target_cosines(queries, index, windows.target),
        resamples=settings.resamples,
        seed=settings.seed,
    )
