"""Copies of documents, found by the vectors of their passages.

Two documents are copies if over half of the passages of the shorter one, and at least three, *match* passages of the
other in the same order. Two passages match if

- their cosine, after the mean of the bank is subtracted, is at least 0.75, and at least halfway between 1 and the
  cosine that a tenth of the passages reach in a typical other document (this matters for vectors of few dimensions);
- each is the other's nearest passage in the two documents;
- neither has a passage of its own document, with another text, as near as its match.

A passage that has a cosine of 0.75 with passages of more than ``most_holders`` documents is boilerplate, and counts
neither as a match nor as a passage.

Each document is compared with the ``NEAREST`` documents of the nearest means of passages (exact search, faiss). The
time of this search grows with the square of the number of documents, all other time with the number of passages.

Not found: copies that are cut into passages at other places, or in another order; copies of documents of which 20
others are nearer by their means; copies in corpora in which most passages have a cosine of 0.75 with many documents.
"""

from __future__ import annotations

from bisect import bisect_left

import faiss
import numpy as np
from jaxtyping import Bool, Float, Int

from segue.types import Bank

COPY_COSINE = 0.75
"""Smallest cosine of a passage and its copy, after the mean of the bank is subtracted."""
FEWEST_SHARED = 3
"""Smallest number of passages that make documents copies, unless these are over half of the longer one."""
NEAREST = 20
"""Number of documents that each is compared with: those with the nearest means."""

_MEANS_COSINE = 0.4  # smallest cosine of the means of documents that are compared
_TYPICAL_PAIRS = 100
_TYPICAL_SHARE = 0.9
_DOCUMENTS_COUNTED = 2000  # boilerplate is counted in at most so many documents
_ROWS_AT_ONCE = 4096
_TINY = 1e-12


def most_holders(documents: int) -> int:
    """Return the largest number of documents that copied text may be in; what more of them hold is boilerplate.

    >>> [most_holders(documents) for documents in (4, 30, 100, 1000, 100_000)]
    [3, 15, 20, 50, 200]
    """
    return max(3, min(max(20, documents // 20), documents // 2, 200))


def vector_pairs(bank: Bank, groups: Int[np.ndarray, "document"], most: int) -> list[tuple[int, int]]:
    """Return pairs of documents that are copies by their vectors.

    Args:
        bank: the documents.
        groups: group of each document that is known already; two documents of one group are not compared.
        most: largest number of documents that a copied passage may be in.
    """
    documents = _Documents(bank)
    if len(documents.long) < 2:
        return []
    cosine = max(COPY_COSINE, (1.0 + documents.typical_cosine(most)) / 2)
    matches: dict[tuple[int, int], Int[np.ndarray, "match two"]] = {}
    for one, other in documents.nearest_pairs():
        if groups[one] != groups[other]:
            found = _match(documents.vectors(one), documents.vectors(other), cosine)
            if _in_order(found) >= FEWEST_SHARED:
                matches[one, other] = found
    if not matches:
        return []
    held = {pair: documents.rows[pair[0]][found[:, 0]] for pair, found in matches.items()}
    boilerplate = np.zeros(len(bank), dtype=bool)
    rows = np.unique(np.concatenate(list(held.values())))
    boilerplate[rows] = documents.are_common(rows, most)
    pairs = []
    for (one, other), found in matches.items():
        common = boilerplate[held[one, other]]
        shorter = min(len(documents.rows[one]), len(documents.rows[other])) - int(common.sum())
        shared = _in_order(found[~common])
        if shared >= FEWEST_SHARED and 2 * shared > shorter:
            pairs.append((one, other))
    return pairs


def _match(
    one: Float[np.ndarray, "one dim"], other: Float[np.ndarray, "other dim"], cosine: float
) -> Int[np.ndarray, "match two"]:
    """Return the places of matching passages in both documents, ascending in the first."""
    alike = one @ other.T
    place, partner = np.arange(len(one)), alike.argmax(axis=1)
    best = alike[place, partner]
    kept = (best >= cosine) & (alike.argmax(axis=0)[partner] == place)
    if kept.sum() >= FEWEST_SHARED:
        kept &= (best > _nearest_in(one)) & (best > _nearest_in(other)[partner])
    return np.stack([place[kept], partner[kept]], axis=1)


def _nearest_in(vectors: Float[np.ndarray, "passage dim"]) -> Float[np.ndarray, "passage"]:
    """Return each passage's highest cosine with another passage of its document."""
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -1.0)
    return alike.max(axis=1)


def _in_order(matches: Int[np.ndarray, "match two"]) -> int:
    """Return the largest number of matches that are in the same order in both documents.

    >>> _in_order(np.array([[0, 4], [1, 1], [2, 2], [5, 3]]))
    3
    """
    ends: list[int] = []  # ends[n] is the smallest place at which a run of n + 1 matches can end
    for partner in matches[:, 1].tolist():
        place = bisect_left(ends, partner)
        ends[place : place + 1] = [partner]
    return len(ends)


class _Documents:
    """The passages of each document as centred unit vectors; each text once in a document."""

    def __init__(self, bank: Bank) -> None:
        alive = np.flatnonzero(bank.alive)
        texts = np.stack([bank.document_of[alive].astype(np.int64), bank.duplicate_group[alive]])
        rows = np.sort(alive[np.unique(texts, axis=1, return_index=True)[1]])
        total = len(bank.first_row)
        self.rows = np.split(rows, np.cumsum(np.bincount(bank.document_of[rows], minlength=total))[:-1])
        """Rows of each document."""
        self.long = np.flatnonzero([len(own) >= FEWEST_SHARED for own in self.rows])
        """Documents that can be copies."""
        self._bank = bank
        means = np.zeros((total, bank.dimension), dtype=np.float32)
        for document in np.flatnonzero([len(own) > 0 for own in self.rows]):
            means[document] = _finite(bank.gather(self.rows[document])).mean(axis=0)
        share = np.array([len(own) for own in self.rows]) / max(1, len(rows))
        self._centre = (share @ means).astype(np.float32)
        self._means = _directions(means[self.long] - self._centre)

    def vectors(self, document: int) -> Float[np.ndarray, "passage dim"]:
        """Return the vectors of a document."""
        return _directions(_finite(self._bank.gather(self.rows[document])) - self._centre)

    def typical_cosine(self, most: int) -> float:
        """Return the cosine that a tenth of a document's passages reach in a typical other one, boilerplate left out.

        1 where all is boilerplate. Up to ``_TYPICAL_PAIRS`` pairs of documents are drawn, always the same.
        """
        drawn = np.random.default_rng(0).integers(len(self.long), size=(_TYPICAL_PAIRS, 2))
        pairs = self.long[drawn[drawn[:, 0] != drawn[:, 1]]]
        drawn_rows = np.concatenate([self.rows[one] for one in np.unique(pairs[:, 0])])
        own = np.zeros(len(self._bank), dtype=bool)
        own[drawn_rows] = ~self.are_common(drawn_rows, most)
        reached = [
            (self.vectors(one)[own[self.rows[one]]] @ self.vectors(other).T).max(axis=1)
            for one, other in pairs.tolist()
        ]
        return float(np.median([np.quantile(one, _TYPICAL_SHARE) for one in reached if len(one)] or [1.0]))

    def nearest_pairs(self) -> list[tuple[int, int]]:
        """Return pairs of documents with near means, the smaller number first."""
        near, which = faiss.knn(self._means, self._means, min(NEAREST + 1, len(self.long)), faiss.METRIC_INNER_PRODUCT)
        one, place = np.nonzero(near >= _MEANS_COSINE)
        pairs = np.sort(np.stack([self.long[one], self.long[which[one, place]]], axis=1), axis=1)
        pairs = np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)
        return [(one, other) for one, other in pairs.tolist()]

    def are_common(self, rows: Int[np.ndarray, "rows"], most: int) -> Bool[np.ndarray, "rows"]:
        """Return which rows have a cosine of a copy with more than ``most`` documents, their own included.

        Of many documents, evenly spread ones are counted, and their number is scaled.
        """
        total = len(self.rows)
        chosen = np.unique(np.linspace(0, total - 1, min(total, _DOCUMENTS_COUNTED)).round().astype(np.int64))
        chosen = chosen[[len(self.rows[document]) > 0 for document in chosen]]
        queries = _directions(_finite(self._bank.gather(rows)) - self._centre)
        count = np.zeros(len(rows), dtype=np.int64)
        for document in chosen.tolist():
            own = self.vectors(document)
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                part = slice(start, start + _ROWS_AT_ONCE)
                count[part] += (queries[part] @ own.T >= COPY_COSINE).any(axis=1)
        return count * total > most * min(total, _DOCUMENTS_COUNTED)


def _finite(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
    """Return the vectors, with zeros for those that are not finite (SG106 reports them)."""
    return np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, np.float32(0.0))


def _directions(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
    """Return the vectors at length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(_TINY))
