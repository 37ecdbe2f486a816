"""Groups of near-duplicate documents, which must stay in the same part of every split.

*Boilerplate* is what more documents hold than ``most_holders`` returns: 20 documents or 5 % of them, the greater, but
at most half of them and at most 200. A licence, a footer and the text of a template say nothing about copying. Two
documents belong together by any of these rules:

1. **Words.** The Jaccard similarity of their word 5-grams, boilerplate left out, is at least the threshold (0.5 by
   default). If the shorter one has three passages' worth of such 5-grams, it is enough that

   - the longer one holds half of them (an excerpt), or
   - the similarity is at least 0.3 × the threshold (0.15 by default, and not below 0.15 unless the threshold is), and
     at least 80 % of the 5-grams of both are not boilerplate. With one word in ten changed, copies have a similarity
     of 0.42; with one in six, 0.25; unrelated articles of Wikipedia stay below 0.01.

   Documents of which less than 5 % is not boilerplate are compared on all 5-grams, from a similarity of 0.95 on.
2. **Passages word for word.** They share over half of the passages of the longer one; or, boilerplate left out, over
   half of those of the shorter one and at least three. Without texts, equal vectors stand for equal words.
3. **All passages.** They have the same set of passages, boilerplate or not.
4. **Vectors.** Most passages match in the same order; see ``segue.windows.vector_copies``.

Groups are the connected components. Pairs by rule 2, rule 4 or the lower thresholds of rule 1 do not count where they
connect more documents than ``most_holders``: these fill one template.

Not found: copies with more than about one word in six changed, translations and paraphrases, unless their vectors
match; excerpts with more than one word in eight changed, or of fewer than three passages; near-copies in more documents
than ``most_holders``. Wrongly found: reports that fill a template with so few values that they agree in half of them.

Shared 5-grams are counted exactly, with a sparse product. Only documents of boilerplate need MinHash with
locality-sensitive hashing (datasketch), which proposes pairs to confirm on the full sets. Resemblance and containment
of shingles: Broder, "On the resemblance and containment of documents", Compression and Complexity of Sequences, 1997.
Words are those of ``corpus/words.py``; in scripts without spaces, five of them are six characters. They are hashed with
BLAKE2, so nothing depends on Python's hash seed. Memory: about 24 bytes per word, 0.6 GB for 400,000 passages of 60
words; the time grows with the number of words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt64
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from segue.corpus.words import words
from segue.types import Bank, Progress, no_progress
from segue.windows.vector_copies import FEWEST_SHARED, most_holders, vector_pairs

LOWER = 0.3
"""Part of the threshold from which documents of some length belong together."""
LEAST = 0.15
"""Jaccard similarity below which the lower threshold does not go, unless the threshold does."""
PLAIN = 0.8
"""Share of 5-grams that are not boilerplate from which the lower threshold holds; fillings of a template may agree."""
CONTAINED = 0.5
"""Share of the shorter document's 5-grams in the longer one from which it is an excerpt."""
OWN = 0.05
"""Share of 5-grams that are not boilerplate, below which a document is compared on all of them."""
WHOLE = 0.95
"""Jaccard similarity of all 5-grams from which documents of boilerplate belong together.

At lower values, reports that fill one template would: 0.9 if they differ in one word in 100.
"""

_GRAM = 5
_PERMUTATIONS = 128
_SEED = 1
_ESTIMATE_ERROR = 0.2  # over 4 standard deviations of the estimate from 128 permutations
_ROWS_AT_ONCE = 4096
_DOCUMENTS_AT_ONCE = 512


def document_groups(bank: Bank, threshold: float, *, progress: Progress = no_progress) -> Int[np.ndarray, "document"]:
    """Return the group of each document, named by the smallest document number in it.

    Args:
        bank: the documents; without texts, they are compared by vectors only.
        threshold: Jaccard similarity of word 5-grams from which two documents belong together, above 0, at most 1.
        progress: called after every document.
    """
    total = len(bank.first_row)
    most = most_holders(total)
    sure, likely = [*_equal_pairs(bank)], [*_sharing_pairs(bank, most)]
    if bank.has_texts:
        grams = _read_grams(bank, progress)
        same, alike, bare = _similar_pairs(grams, threshold, most)
        sure += [*same, *_boilerplate_pairs(grams, bare, max(threshold, WHOLE))]
        likely += alike
    pairs = sure + _not_a_template(likely, sure, total, most)
    likely = vector_pairs(bank, _components(pairs, total), most)
    return _components(pairs + _not_a_template(likely, [], total, most), total)


def _components(pairs: Iterable[tuple[int, int]], total: int) -> Int[np.ndarray, "document"]:
    """Return the smallest document that each document is connected with."""
    left, right = np.array(list(pairs), dtype=np.int64).reshape(-1, 2).T
    graph = sparse.coo_matrix((np.ones(len(left)), (left, right)), shape=(total, total))
    _, component = connected_components(graph, directed=False)
    return np.unique(component, return_index=True)[1][component].astype(np.int64)


def _not_a_template(
    likely: list[tuple[int, int]], sure: list[tuple[int, int]], total: int, most: int
) -> list[tuple[int, int]]:
    """Return the likely pairs but for those that, with the sure ones, tie more than ``most`` documents together."""
    group = _components([*likely, *sure], total)
    size = np.bincount(group, minlength=total)
    return [(one, other) for one, other in likely if size[group[one]] <= most]


@dataclass(frozen=True)
class _Grams:
    """Distinct word 5-grams of all documents.

    Attributes:
        values: 5-grams as hashes, ascending in each document, one document after the other.
        start: place in ``values`` where each document begins; the last entry is its length.
        passage: mean number of words of a passage.
    """

    values: UInt64[np.ndarray, "gram"]
    start: Int[np.ndarray, "document_plus_one"]
    passage: float

    def of(self, document: int) -> UInt64[np.ndarray, "gram"]:
        """Return the 5-grams of one document."""
        return self.values[self.start[document] : self.start[document + 1]]


def _read_grams(bank: Bank, progress: Progress) -> _Grams:
    """Read the word 5-grams of all documents."""
    total = len(bank.first_row)
    grams: list[UInt64[np.ndarray, "gram"]] = []
    words = 0
    for document, own in enumerate(_document_words(bank)):
        progress(document + 1, total, "near-duplicate documents")
        grams.append(word_grams(own))
        words += len(own)
    start = np.cumsum([0, *map(len, grams)])
    values = np.concatenate(grams) if grams else np.empty(0, dtype=np.uint64)
    return _Grams(values, start, words / max(1, int(bank.alive.sum())))


def _similar_pairs(
    grams: _Grams, threshold: float, most: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]], Int[np.ndarray, "bare"]]:
    """Return the pairs at the threshold, those at the lower ones only, and the documents of boilerplate."""
    holds, own = _rare_grams(grams, most)
    share = own / np.maximum(1, np.diff(grams.start))
    enough = FEWEST_SHARED * grams.passage - _GRAM + 1  # 5-grams of three passages
    lower = min(threshold, max(LEAST, LOWER * threshold))
    others = holds.T.tocsr()
    sure: list[tuple[int, int]] = []
    likely: list[tuple[int, int]] = []
    for first in range(0, len(own), _DOCUMENTS_AT_ONCE):
        shared = (holds[first : first + _DOCUMENTS_AT_ONCE] @ others).tocoo()
        kept = (shared.row + first < shared.col) & (np.minimum(share[shared.row + first], share[shared.col]) >= OWN)
        one, other, count = shared.row[kept] + first, shared.col[kept], shared.data[kept]
        shorter = np.minimum(own[one], own[other])
        jaccards = count / (own[one] + own[other] - count)
        same = jaccards >= threshold
        alike = (jaccards >= lower) & (np.minimum(share[one], share[other]) >= PLAIN)
        alike = (alike | (count >= CONTAINED * shorter)) & (shorter >= enough) & ~same
        sure += zip(one[same].tolist(), other[same].tolist(), strict=True)
        likely += zip(one[alike].tolist(), other[alike].tolist(), strict=True)
    return sure, likely, np.flatnonzero((share < OWN) & (np.diff(grams.start) > 0))  # removed ones have no 5-grams


def _rare_grams(grams: _Grams, most: int) -> tuple[sparse.csr_matrix, Int[np.ndarray, "document"]]:
    """Return which document holds which 5-gram of 2 to ``most`` documents, and each one's number without boilerplate.

    The 5-grams are counted in parts by their highest bits, so that little beside them is in memory.
    """
    total = len(grams.start) - 1
    owner = np.repeat(np.arange(total, dtype=np.int32), np.diff(grams.start))
    own = np.zeros(total, dtype=np.int64)
    documents, columns, used = [], [], 0
    for part in range(16):
        chosen = np.flatnonzero(grams.values >> np.uint64(60) == np.uint64(part))
        _, column, count = np.unique(grams.values[chosen], return_inverse=True, return_counts=True)
        holders = owner[chosen]
        own += np.bincount(holders[count[column] <= most], minlength=total)
        shared = (count > 1) & (count <= most)
        name = np.cumsum(shared) - 1 + used
        used += int(shared.sum())
        documents.append(holders[shared[column]])
        columns.append(name[column[shared[column]]].astype(np.int32))
    document, gram = np.concatenate(documents), np.concatenate(columns)
    ones = np.ones(len(document), dtype=np.int32)
    return sparse.csr_matrix((ones, (document, gram)), shape=(total, max(1, used))), own


def _boilerplate_pairs(
    grams: _Grams, documents: Int[np.ndarray, "chosen"], threshold: float
) -> Iterator[tuple[int, int]]:
    """Yield a similar earlier document, if there is one, for each of ``documents``, on all their 5-grams."""
    from datasketch import MinHash, MinHashLSH  # takes a third of a second: imported where it is needed

    # These weights propose too many pairs rather than miss one: at the threshold nearly all are proposed.
    index = MinHashLSH(threshold=0.7 * threshold, num_perm=_PERMUTATIONS, weights=(0.2, 0.8))
    signatures: dict[int, MinHash] = {}
    for document in documents.tolist():
        signature = MinHash(num_perm=_PERMUTATIONS, seed=_SEED, hashfunc=int)  # grams are hashes already
        signature.update_batch((grams.of(document) >> np.uint64(32)).tolist())  # datasketch gets the upper 32 bits
        likely = (other for other in sorted(index.query(signature))
                  if signature.jaccard(signatures[other]) >= threshold - _ESTIMATE_ERROR)  # fmt: skip
        for other in likely:
            if jaccard(grams.of(document), grams.of(other)) >= threshold:
                yield other, document
                break
        else:  # documents like an earlier one are not kept, so that thousands of copies take no quadratic time
            index.insert(document, signature)
            signatures[document] = signature


def _equal_pairs(bank: Bank) -> Iterator[tuple[int, int]]:
    """Yield pairs of documents with the same set of passages."""
    first: dict[bytes, int] = {}
    rows = np.flatnonzero(bank.alive)
    ends = np.cumsum(np.bincount(bank.document_of[rows], minlength=len(bank.first_row)))
    for document, texts in enumerate(np.split(bank.duplicate_group[rows], ends[:-1])):
        if len(texts):
            yield first.setdefault(np.unique(texts).tobytes(), document), document


def _sharing_pairs(bank: Bank, most: int) -> Iterator[tuple[int, int]]:
    """Yield pairs of documents that share most of their passages, without those in more than ``most`` documents."""
    rows = np.flatnonzero(bank.alive)
    document, group = bank.document_of[rows].astype(np.int64), bank.duplicate_group[rows]
    document, group = np.unique(np.stack([document, group]), axis=1)  # each text once per document
    _, column, spread = np.unique(group, return_inverse=True, return_counts=True)
    texts = np.bincount(document, minlength=len(bank.first_row))
    rare = texts - np.bincount(document[spread[column] > most], minlength=len(texts))
    kept = (spread[column] > 1) & (spread[column] <= most)
    holds = sparse.csr_matrix((np.ones(kept.sum()), (document[kept], column[kept])), shape=(len(texts), len(spread)))
    shared = sparse.triu(holds @ holds.T, k=1).tocoo()
    longer = np.maximum(texts[shared.row], texts[shared.col])
    shorter = np.minimum(rare[shared.row], rare[shared.col])
    together = (2 * shared.data > longer) | ((2 * shared.data > shorter) & (shared.data >= FEWEST_SHARED))
    yield from zip(shared.row[together].tolist(), shared.col[together].tolist(), strict=True)


def _document_words(bank: Bank) -> Iterator[UInt64[np.ndarray, "word"]]:
    """Yield the hashed words of each document's live passages in order, reading texts many at a time."""
    known: dict[str, int] = {}
    for first, last in _document_batches(bank):
        begin, end = bank.first_row[first], bank.first_row[last - 1] + bank.num_rows[last - 1]
        rows = np.arange(begin, end)
        rows = rows[bank.alive[rows]]
        numbers: list[list[int]] = [[] for _ in range(first, last)]
        for document, text in zip(bank.document_of[rows], bank.texts(rows), strict=True):
            for word in words(text):
                if word not in known:
                    known[word] = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
                numbers[document - first].append(known[word])
        yield from (np.array(own, dtype=np.uint64) for own in numbers)


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
