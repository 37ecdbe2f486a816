"""Small copies of a bank, in memory, to be changed: what would a retriever answer if the bank were another one?

A copy holds some documents only, so that building a retriever over it again is cheap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.types import Bank, BankCounts, Windows


@dataclass(frozen=True)
class BankCopy:
    """A bank in memory; see ``segue.types.Bank`` for its members.

    Attributes:
        hash: None, so that no file on disk is taken for a cache of this bank.
        source: the row of the original bank that each row was copied from, ascending before any permutation.
    """

    vectors: Float[np.ndarray, "bank dim"]
    passage_texts: list[str] | None
    document_ids: list[str]
    document_titles: list[str]
    document_of: Int[np.ndarray, "bank"]
    position: Int[np.ndarray, "bank"]
    duplicate_group: Int[np.ndarray, "bank"]
    alive: Bool[np.ndarray, "bank"]
    first_row: Int[np.ndarray, "document"]
    num_rows: Int[np.ndarray, "document"]
    space: Any
    counts: BankCounts
    language: str
    source: Int[np.ndarray, "bank"]
    hash: str | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dimension(self) -> int:
        """Components of a vector."""
        return int(self.vectors.shape[1])

    @property
    def has_texts(self) -> bool:
        """Whether passages have texts."""
        return self.passage_texts is not None

    def gather(self, rows: Int[np.ndarray, "rows"]) -> Float[np.ndarray, "rows dim"]:
        """Return the vectors of ``rows`` (all ≥ 0), in that order."""
        return self.vectors[np.asarray(rows)]

    def blocks(self, rows_per_block: int = 8192) -> Iterator[tuple[int, Float[np.ndarray, "rows dim"]]]:
        """Yield (first row, vectors) of contiguous blocks in order."""
        for start in range(0, len(self), rows_per_block):
            yield start, self.vectors[start : start + rows_per_block]

    def texts(self, rows: Int[np.ndarray, "rows"]) -> list[str]:
        """Return the texts of ``rows``."""
        assert self.passage_texts is not None, "this bank has vectors only"
        return [self.passage_texts[row] for row in rows]

    def passage_ids(self, rows: Int[np.ndarray, "rows"]) -> list[str]:
        """Return the names of ``rows`` in run and qrels files."""
        return [f"{self.document_ids[self.document_of[row]]}#{self.position[row]}" for row in rows]


def copy_documents(bank: Bank, documents: Sequence[int] | Int[np.ndarray, "chosen"]) -> BankCopy:
    """Copy the passages of some documents, in the bank's order."""
    chosen = np.unique(np.asarray(documents, dtype=np.int64))
    length = bank.num_rows[chosen].astype(np.int64)
    source = np.concatenate([np.arange(bank.first_row[n], bank.first_row[n] + bank.num_rows[n]) for n in chosen])
    return BankCopy(
        vectors=bank.gather(source),
        passage_texts=bank.texts(source) if bank.has_texts else None,
        document_ids=[bank.document_ids[n] for n in chosen],
        document_titles=[bank.document_titles[n] for n in chosen],
        document_of=np.repeat(np.arange(len(chosen), dtype=np.int32), length),
        position=bank.position[source],
        duplicate_group=_first_of_group(bank.duplicate_group[source]),
        alive=np.array(bank.alive[source]),
        first_row=np.cumsum(length) - length,
        num_rows=length,
        space=bank.space,
        counts=bank.counts,
        language=bank.language,
        source=source,
    )


def documents_of(bank: Bank, windows: Windows) -> Int[np.ndarray, "chosen"]:
    """Return the documents of the contexts and targets of windows, ascending."""
    return np.unique(bank.document_of[windows.rows]).astype(np.int64)


def windows_in(copy: BankCopy, windows: Windows) -> Windows:
    """Return the windows whose documents were copied, in the copy's row numbers; the copy is not permuted."""
    place = np.searchsorted(copy.source, windows.target)
    inside = copy.source[np.minimum(place, len(copy.source) - 1)] == windows.target
    kept = windows.take(inside)
    context = np.where(kept.context >= 0, np.searchsorted(copy.source, kept.context), -1)
    return Windows(context, place[inside].astype(np.int64))


def with_rows(
    copy: BankCopy,
    rows: Int[np.ndarray, "changed"],
    vectors: Float[np.ndarray, "changed dim"],
    texts: Sequence[str] | None = None,
) -> BankCopy:
    """Return the copy with other vectors, and where given other texts, in some rows; duplicate groups stay."""
    changed = copy.vectors.copy()
    changed[rows] = vectors
    words = copy.passage_texts
    if texts is not None and words is not None:
        words = list(words)
        for row, text in zip(rows.tolist(), texts, strict=True):
            words[row] = text
    return replace(copy, vectors=changed, passage_texts=words)


def permuted(copy: BankCopy, generator: np.random.Generator) -> tuple[BankCopy, Int[np.ndarray, "bank"]]:
    """Return the copy with its rows in random order, without ids and positions, and each row's new place.

    Every passage becomes a document of its own with a meaningless name: vectors, texts and duplicates remain.
    """
    order = generator.permutation(len(copy))  # new row → old row
    place = np.empty(len(copy), dtype=np.int64)  # old row → new row
    place[order] = np.arange(len(copy))
    names = [f"document-{number}" for number in generator.permutation(len(copy))]
    rows = np.arange(len(copy), dtype=np.int64)
    shuffled = replace(
        copy,
        vectors=copy.vectors[order],
        passage_texts=None if copy.passage_texts is None else [copy.passage_texts[row] for row in order],
        document_ids=names,
        document_titles=names,
        document_of=np.arange(len(copy), dtype=np.int32),
        position=np.zeros(len(copy), dtype=np.int32),
        duplicate_group=_first_of_group(copy.duplicate_group[order]),
        alive=copy.alive[order],
        first_row=rows,
        num_rows=np.ones_like(rows),
        source=copy.source[order],
    )
    return shuffled, place


def _first_of_group(labels: Int[np.ndarray, "bank"]) -> Int[np.ndarray, "bank"]:
    """Name each group by its first row in the present order.

    >>> _first_of_group(np.array([7, 3, 7])).tolist()
    [0, 1, 0]
    """
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)


def renumbered(windows: Windows, place: Int[np.ndarray, "bank"]) -> Windows:
    """Return windows in the row numbers of a permuted copy."""
    context = np.where(windows.context >= 0, place[windows.context], -1)
    return Windows(context, place[windows.target])
