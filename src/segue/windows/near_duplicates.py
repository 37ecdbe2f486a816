"""Groups of near-duplicate documents, which must stay in the same part of every split.

Two documents belong together if their sets of word 5-grams have a Jaccard similarity of at least the threshold, or if
they share most of their passages word for word: over half of those of the longer one, or over half of those of the
shorter one and at least three (so that one boilerplate passage does not connect all documents that hold it). Groups are
the connected components.

MinHash with locality-sensitive hashing (datasketch; Broder 1997) proposes pairs, and each is confirmed on the full
sets. So no wrong pair is added; at the default threshold fewer than 1 pair in 200 just at the threshold is missed.
Words are hashed with BLAKE2, so nothing depends on Python's hash seed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import numpy as np
from datasketch import MinHash, MinHashLSH
from jaxtyping import Int, UInt64
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from segue.types import Bank, Progress, no_progress

_WORDS = re.compile(r"\w+")
_GRAM = 5
_PERMUTATIONS = 128
_SEED = 1
_ESTIMATE_ERROR = 0.2  # over 4 standard deviations of the estimate from 128 permutations
_ROWS_AT_ONCE = 4096
_BOILERPLATE = 200  # a text in more documents than this connects none of them
_MINIMUM_SHARED = 3


def document_groups(bank: Bank, threshold: float, *, progress: Progress = no_progress) -> Int[np.ndarray, "document"]:
    """Return the group of each document, named by the smallest document number in it.

    Args:
        bank: the documents; without texts, every document is its own group.
        threshold: Jaccard similarity of word 5-grams from which two documents belong together, above 0, at most 1.
        progress: called after every document.
    """
    total = len(bank.first_row)
    if not bank.has_texts:
        return np.arange(total, dtype=np.int64)
    pairs = [*_similar_pairs(bank, threshold, progress), *_sharing_pairs(bank)]
    left, right = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    graph = sparse.coo_matrix((np.ones(len(left)), (left, right)), shape=(total, total))
    _, component = connected_components(graph, directed=False)
    return np.unique(component, return_index=True)[1][component].astype(np.int64)


def _similar_pairs(bank: Bank, threshold: float, progress: Progress) -> Iterator[tuple[int, int]]:
    """Yield pairs of documents with similar 5-grams: enough to connect each group, not every pair."""
    # These weights propose too many pairs rather than miss one: at the threshold nearly all are proposed.
    index = MinHashLSH(threshold=0.7 * threshold, num_perm=_PERMUTATIONS, weights=(0.2, 0.8))
    total = len(bank.first_row)
    grams: dict[int, UInt64[np.ndarray, "gram"]] = {}
    signatures: dict[int, MinHash] = {}
    for document, words in enumerate(_document_words(bank)):
        progress(document + 1, total, "near-duplicate documents")
        own = word_grams(words)
        if len(own) == 0:
            continue
        signature = _signature(own)
        grams[document], signatures[document] = own, signature
        for other in sorted(index.query(signature)):
            if signature.jaccard(signatures[other]) < threshold - _ESTIMATE_ERROR:
                continue
            if jaccard(own, grams[other]) >= threshold:
                yield other, document
        index.insert(document, signature)


def _document_words(bank: Bank) -> Iterator[UInt64[np.ndarray, "word"]]:
    """Yield the hashed words of each document's live passages in order, reading texts many at a time."""
    known: dict[str, int] = {}
    for first, last in _document_batches(bank):
        begin, end = bank.first_row[first], bank.first_row[last - 1] + bank.num_rows[last - 1]
        rows = np.arange(begin, end)
        rows = rows[bank.alive[rows]]
        words: list[list[int]] = [[] for _ in range(first, last)]
        for document, text in zip(bank.document_of[rows], bank.texts(rows), strict=True):
            for word in _WORDS.findall(text.casefold()):
                if word not in known:
                    known[word] = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
                words[document - first].append(known[word])
        yield from (np.array(numbers, dtype=np.uint64) for numbers in words)


def _document_batches(bank: Bank) -> Iterator[tuple[int, int]]:
    """Yield (first, last) document numbers, last excluded, of at most about ``_ROWS_AT_ONCE`` rows together."""
    first = 0
    while first < len(bank.first_row):
        limit = bank.first_row[first] + _ROWS_AT_ONCE
        last = max(first + 1, int(np.searchsorted(bank.first_row + bank.num_rows, limit, side="right")))
        yield first, last
        first = last


def word_grams(words: UInt64[np.ndarray, "word"]) -> UInt64[np.ndarray, "gram"]:
    """Return the distinct runs of five words as hashes, ascending; a shorter text is one run."""
    size = min(_GRAM, len(words))
    if size == 0:
        return np.empty(0, dtype=np.uint64)
    grams = np.zeros(len(words) - size + 1, dtype=np.uint64)
    for place in range(size):
        grams *= np.uint64(0x9E3779B97F4A7C15)  # odd: no information is lost; wraps around on purpose
        grams += words[place : place + len(grams)]
        grams ^= grams >> np.uint64(29)
    return np.unique(grams)


def jaccard(left: UInt64[np.ndarray, "left"], right: UInt64[np.ndarray, "right"]) -> float:
    """Return the size of the intersection over that of the union, of two arrays of distinct numbers.

    >>> jaccard(np.array([1, 2, 3], dtype=np.uint64), np.array([2, 3, 4], dtype=np.uint64))
    0.5
    """
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / (len(left) + len(right) - shared)


def _signature(grams: UInt64[np.ndarray, "gram"]) -> MinHash:
    """Return the MinHash of grams; they are hashes already, and datasketch gets the upper 32 bits."""
    signature = MinHash(num_perm=_PERMUTATIONS, seed=_SEED, hashfunc=int)
    signature.update_batch((grams >> np.uint64(32)).tolist())
    return signature


def _sharing_pairs(bank: Bank) -> Iterator[tuple[int, int]]:
    """Yield pairs of documents that share most of their passages word for word."""
    rows = np.flatnonzero(bank.alive)
    document, group = bank.document_of[rows].astype(np.int64), bank.duplicate_group[rows]
    document, group = np.unique(np.stack([document, group]), axis=1)  # each text once per document
    texts = np.bincount(document, minlength=len(bank.first_row))
    _, column, spread = np.unique(group, return_inverse=True, return_counts=True)
    kept = (spread[column] > 1) & (spread[column] <= _BOILERPLATE)
    holds = sparse.csr_matrix((np.ones(kept.sum()), (document[kept], column[kept])), shape=(len(texts), len(spread)))
    shared = sparse.triu(holds @ holds.T, k=1).tocoo()
    shorter, longer = np.sort([texts[shared.row], texts[shared.col]], axis=0)
    together = (2 * shared.data > longer) | ((2 * shared.data > shorter) & (shared.data >= _MINIMUM_SHARED))
    yield from zip(shared.row[together].tolist(), shared.col[together].tolist(), strict=True)
