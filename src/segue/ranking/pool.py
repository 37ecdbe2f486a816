"""The candidates of a ranking: which passages may be answers, and which of them count as one.

A *candidate* is a duplicate group: passages with the same normalised text are one candidate, whose score is the best of
its members. Deleted passages are never candidates. Candidates with one row come first, ascending by row, then those
with several, each with its members side by side.

The error of a float32 product of a query and a row is at most ``rounding_bound``; ``exact_scores`` are float64. Float32
decides almost all candidates, and float64 those within the bound. So ranks do not depend on the block size, the number
of threads or the order of the rows.
"""

from __future__ import annotations

import copy

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.errors import InputError
from segue.types import Bank

TIE = 1e-6
"""Scores that differ by less are ties."""

_PAIRS_AT_ONCE = 1 << 9  # the float64 vectors of these pairs fit into the processor's cache
_UNIT_SLACK = 1.01  # upper bound of the length of a row, float16 storage included


Pairs = tuple[Int[np.ndarray, "pair"], Int[np.ndarray, "pair"]]
"""Query numbers and candidate numbers of some pairs."""


class Pool:
    """The live passages of a bank, or of some of its documents, one candidate per duplicate group.

    Args:
        bank: the passages and their vectors.
        documents: document numbers; None means all.

    Attributes:
        documents: the chosen ones, as given.
        size: number of candidates.
        num_single: candidates below this number have one row each, ascending.
        members: rows of the candidates, those of one candidate side by side, ascending.
        start: place in ``members`` at which each candidate begins.
        count: number of members of each candidate.
        mask: True for every row of a candidate.

    Raises:
        InputError: no live passage is left.
    """

    def __init__(self, bank: Bank, documents: Int[np.ndarray, "chosen"] | None = None) -> None:
        self.bank, self.documents = bank, documents
        self.mask = np.array(bank.alive)
        if documents is not None:
            chosen = np.zeros(len(bank.first_row), dtype=bool)
            chosen[documents] = True
            self.mask &= chosen[bank.document_of]
        rows = np.flatnonzero(self.mask)
        if len(rows) == 0:
            raise InputError("no passage is left as a candidate", expected="live passages", fix="check the bank")
        groups, inverse, size_of_group = np.unique(bank.duplicate_group[rows], return_inverse=True, return_counts=True)
        shared = size_of_group > 1
        single_rows = rows[~shared[inverse]]
        shared_rows = rows[shared[inverse]]
        order = np.argsort(bank.duplicate_group[shared_rows], kind="stable")
        self.num_single = len(single_rows)
        self.size = len(groups)
        self.members = np.concatenate([single_rows, shared_rows[order]])
        self.count = np.concatenate([np.ones(self.num_single, dtype=np.int64), size_of_group[shared]])
        self.start = np.cumsum(self.count) - self.count
        self._candidate_of_group = np.full(len(bank), -1, dtype=np.int64)
        self._candidate_of_group[bank.duplicate_group[self.members[self.start]]] = np.arange(self.size)

    def part(self, first: int, end: int) -> Pool:
        """Return the candidates whose first row is in [first, end); other members of theirs may lie anywhere.

        So parts that cover the bank share no candidate, and what they count adds up to what the whole counts.
        """
        chosen = np.flatnonzero((self.members[self.start] >= first) & (self.members[self.start] < end))
        other = copy.copy(self)
        other.num_single = int(np.searchsorted(chosen, self.num_single))
        other.size, other.count = len(chosen), self.count[chosen]
        other.members = self.expand(chosen)[1]
        other.start = np.cumsum(other.count) - other.count
        other.mask = np.zeros_like(self.mask)
        other.mask[other.members] = True
        other._candidate_of_group = np.full(len(self.bank), -1, dtype=np.int64)
        other._candidate_of_group[self.bank.duplicate_group[other.members[other.start]]] = np.arange(other.size)
        return other

    def candidates_of(self, rows: Int[np.ndarray, "*any"]) -> Int[np.ndarray, "*any"]:
        """Return the candidate with the text of each row; -1 for padding and for texts outside the pool.

        Raises:
            InputError: a row is not in the bank.
        """
        _require_rows(rows, len(self.bank))
        candidates = self._candidate_of_group[self.bank.duplicate_group[rows]]
        return np.where(rows >= 0, candidates, -1)

    def removed_pairs(self, exclude: Int[np.ndarray, "batch excluded"]) -> Pairs:
        """Return (query, candidate) for every candidate to exclude, each pair once, ordered by query."""
        if exclude.size == 0:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        candidates = self.candidates_of(exclude)
        query, place = np.nonzero(candidates >= 0)
        key = np.unique(query * self.size + candidates[query, place])
        return key // self.size, key % self.size

    def on(self, bank: Bank) -> Pool:
        """Return the same candidates with the vectors of another bank of the same passages (a re-encoded one)."""
        assert len(bank) == len(self.bank), "the bank has other passages"
        other = copy.copy(self)
        other.bank = bank
        return other

    @property
    def single_rows(self) -> Int[np.ndarray, "single"]:
        """The rows of the candidates with one row, ascending."""
        return self.members[: self.num_single]

    @property
    def shared_rows(self) -> Int[np.ndarray, "shared"]:
        """The rows of the candidates with several, side by side."""
        return self.members[self.num_single :]

    def expand(
        self, candidates: Int[np.ndarray, "pair"]
    ) -> tuple[Int[np.ndarray, "member"], Int[np.ndarray, "member"]]:
        """Return (place in ``candidates``, row) for every member row of every candidate."""
        count = self.count[candidates]
        place = np.repeat(np.arange(len(candidates)), count)
        within = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
        return place, self.members[self.start[candidates][place] + within]


def among_pairs(candidates: Int[np.ndarray, "batch several"], pairs: Pairs) -> Bool[np.ndarray, "batch several"]:
    """Return which of each query's candidates (-1 = none) are among the (query, candidate) pairs.

    >>> among_pairs(np.array([[4, -1], [4, 7]]), (np.array([0, 1]), np.array([4, 7]))).tolist()
    [[True, False], [False, True]]
    """
    size = 1 + max(int(candidates.max(initial=0)), int(pairs[1].max(initial=0)))
    found = np.isin(np.arange(len(candidates))[:, None] * size + candidates, pairs[0] * size + pairs[1])
    return found & (candidates >= 0)


def _require_rows(rows: Int[np.ndarray, "*any"], total: int) -> None:
    if rows.size and not (rows.min() >= -1 and rows.max() < total):
        raise InputError(
            "a row is not in the bank",
            got=f"{rows.min()} to {rows.max()}",
            expected=f"0 to {total - 1}, or -1 for none",
            fix="make the windows from this bank",
        )


def require_queries(queries: Float[np.ndarray, "batch dim"], bank: Bank) -> None:
    """Check that queries have the bank's dimension and finite components.

    Raises:
        InputError: names the dimension, or the first query that is not finite.
    """
    if queries.shape[1] != bank.dimension:
        raise InputError(
            "queries and bank differ in dimension",
            got=queries.shape[1],
            expected=bank.dimension,
            fix="use the bank that the model was trained on",
        )
    broken = np.flatnonzero(~np.isfinite(queries).all(axis=1))
    if len(broken):
        raise InputError(
            f"query {broken[0]} has components that are not finite",
            got=f"{len(broken)} of {len(queries)} queries",
            expected="finite numbers",
            fix="look for a diverged model (a lower learning rate) or a broken vector file",
        )


def require_targets(targets: Int[np.ndarray, "batch"], candidates: Bool[np.ndarray, "bank"]) -> None:
    """Check that all targets are among the candidates.

    Raises:
        InputError: names the first that is not, and how many are not.
    """
    _require_rows(targets, len(candidates))
    outside = np.flatnonzero((targets < 0) | ~candidates[targets])
    if len(outside):
        raise InputError(
            f"target {targets[outside[0]]} is not among the candidates",
            got=f"{len(outside)} of {len(targets)} targets",
            expected="every target among the searched passages",
            fix="search a bank that holds the evaluated documents",
        )


def rounding_bound(queries: Float[np.ndarray, "batch dim"]) -> Float[np.ndarray, "batch"]:
    """Return an error bound of the float32 inner product of each query with a unit row, for any order of summation.

    |fl(x·y) - x·y| ≤ n·u / (1 - n·u) · ‖x‖·‖y‖ with u = 2⁻²⁴ (Higham, Accuracy and Stability of Numerical
    Algorithms, section 3.1); n is the dimension plus 8, for rounding the query and the threshold to float32.
    """
    steps = (queries.shape[1] + 8) * 2.0**-24
    return steps / (1 - steps) * _UNIT_SLACK * np.maximum(np.linalg.norm(queries.astype(np.float64), axis=1), 1.0)


def exact_scores(
    queries: Float[np.ndarray, "batch dim"],
    bank: Bank,
    *,
    query: Int[np.ndarray, "pair"],
    rows: Int[np.ndarray, "pair"],
) -> Float[np.ndarray, "pair"]:
    """Return the float64 inner product of ``queries[query[i]]`` and the vector of ``rows[i]``, for every pair i."""
    scores = np.empty(len(rows), dtype=np.float64)
    for begin in range(0, len(rows), _PAIRS_AT_ONCE):
        pairs = slice(begin, begin + _PAIRS_AT_ONCE)
        left, right = queries[query[pairs]].astype(np.float64), bank.gather(rows[pairs]).astype(np.float64)
        scores[pairs] = (left[:, None, :] @ right[:, :, None])[:, 0, 0]
    return scores


def exact_candidate_scores(
    queries: Float[np.ndarray, "batch dim"],
    pool: Pool,
    *,
    query: Int[np.ndarray, "pair"],
    candidates: Int[np.ndarray, "pair"],
) -> Float[np.ndarray, "pair"]:
    """Return the float64 score of each (query, candidate): the best of the candidate's members."""
    place, rows = pool.expand(candidates)
    return best_of_runs(exact_scores(queries, pool.bank, query=query[place], rows=rows), pool.count[candidates])


def best_of_runs(
    values: Float[np.ndarray, "member *rest"], count: Int[np.ndarray, "run"]
) -> Float[np.ndarray, "run *rest"]:
    """Return the maximum of each run of consecutive members; ``count`` holds the lengths of the runs, at least 1.

    Compares the first members of all runs, then the second ones …, which is faster than ``np.maximum.reduceat`` for
    short runs.

    >>> best_of_runs(np.array([1.0, 5.0, 2.0, 3.0]), np.array([1, 2, 1]))
    array([1., 5., 3.])
    """
    start = np.cumsum(count) - count
    best = values[start]
    for place in range(1, count.max(initial=0)):
        longer = np.flatnonzero(count > place)
        best[longer] = np.maximum(best[longer], values[start[longer] + place])
    return best
