"""PassageBank: passages and their vectors on disk, read by row number.

Input: a folder that ``build_bank`` or ``import_vectors`` wrote. Output: vectors, texts and documents by row.
A row number is global and stable; documents are contiguous ranges of rows. Vectors stay on disk, memory-mapped shard by
shard; 17 bytes per row are in memory (document, position, duplicate group, alive).
"""

from __future__ import annotations

import functools
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from pydantic import BeforeValidator, Field

from segue.bank.arrays import bank_of_arrays
from segue.bank.manifest import (
    DOCUMENT_COLUMNS,
    DOCUMENTS,
    REMNANTS,
    SKIPPED,
    TOMBSTONES,
    Manifest,
    documents_sha256,
    read_manifest,
)
from segue.bank.shards import Storage, damaged, passages_path, read_rows, read_table, require_sha256, vectors_path
from segue.corpus.sources import readable
from segue.encoders.space import Space
from segue.errors import InputError
from segue.files import JsonObject, file_sha256, read_json, read_npy
from segue.settings import Settings
from segue.storage import fetch, is_absent, place_of, pull, size_bytes
from segue.types import BankCounts, Passage

TABLES_KEPT = 8
"""Number of shards whose texts stay in memory."""


class BankSettings(Settings):
    """Location and storage of the bank."""

    path: Annotated[str, BeforeValidator(readable)] = Field(
        "bank", min_length=1, description="folder of the bank; built there if absent"
    )
    shard_passages: int = Field(
        4096, ge=1, le=1_000_000, description="passages per shard; an interrupted build loses at most one shard"
    )
    storage: Storage = Field("float32", description="data type on disk; float16 halves the size and keeps 3 digits")


class PassageBank:
    """Passages with vectors, numbered by row; open one with ``PassageBank.open``.

    Raises:
        InputError: at the first use of a table: it does not fit into memory.
        MissingExtraError: the bank is in object storage, and its client is not installed.
        StorageError: at the first use of a file: it is missing, damaged or changed, or cannot be fetched.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        rows = [shard.rows for shard in manifest.shards]
        self._starts: Int[np.ndarray, "shards"] = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        absent = [is_absent(vectors_path(path, number)) for number in range(len(rows))]
        self._shards = [None if absent[number] else self._map(number) for number in range(len(rows))]
        self._tables: dict[int, pa.Table] = {}
        self._verified: set[Path] = set()

    @classmethod
    def open(cls, path: Path | str, verify: bool = False) -> PassageBank:
        """Open a bank; with ``verify`` every file is hashed again.

        Raises:
            InputError: there is no bank, or it is not whole.
            StorageError: a file is missing, damaged or changed.
        """
        path = pull(path, whole=False)
        bank = cls(path, read_manifest(path))
        if verify:
            bank._verify()
        return bank

    @classmethod
    def from_arrays(
        cls,
        vectors: np.ndarray,
        document_ids: Sequence[object] | np.ndarray,
        texts: Sequence[str] | None = None,
        *,
        path: Path | str | None = None,
        name: str = "unknown",
    ) -> PassageBank:
        """Make a bank of vectors that were computed elsewhere; row i of everything describes one passage.

        Args:
            vectors: one vector of length 1 per passage, float16, float32 or float64 [passage, dim].
            document_ids: the document of each passage; a document's passages are in reading order.
            texts: the text of each passage; without them, options and checks that read words are left out.
            path: folder of the bank; None: a temporary one, which goes when the bank is no longer used.
            name: name of the encoder that made the vectors.

        Raises:
            InputError: lengths differ, vectors are not finite or not of length 1, an id is empty, a text is no text, or
                ``path`` holds another bank.
            StorageError: the folder cannot be written.

        >>> bank = PassageBank.from_arrays(np.eye(3), ["a", "a", "b"], ["One.", "Two.", "Three."])
        >>> len(bank), bank.document_ids, bank.texts(np.array([1]))
        (3, ['a', 'b'], ['Two.'])
        """
        try:
            matrix = np.asarray(vectors)
        except ValueError as error:
            raise InputError(
                "vectors are not a matrix of numbers", got=str(error), fix="np.stack the vectors"
            ) from error
        folder = Path(tempfile.mkdtemp(prefix="segue-bank-")) if path is None else Path(path)
        try:
            bank_of_arrays(folder, matrix, document_ids, texts, name=name,
                           shard_passages=BankSettings().shard_passages)  # fmt: skip
            bank = cls.open(folder)
        except BaseException:
            if path is None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        if path is None:
            weakref.finalize(bank, shutil.rmtree, folder, ignore_errors=True)
        return bank

    def __reduce__(self) -> tuple[Callable[[str, str], PassageBank], tuple[str, str]]:
        """Return how another process opens the same folder, or URL; vectors are mapped there, not sent."""
        return _open_unchanged, (place_of(self.path), self.hash)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __repr__(self) -> str:
        """Return where it is and how large, on one line."""
        return f"PassageBank({str(self.path)!r}: {len(self):,} passages, {self.dimension} dimensions)"

    def __getitem__(self, row: int) -> Passage:
        """Return a passage by its row, from the end where it is negative; its text is empty in a bank without texts.

        Raises:
            IndexError: there is no such row.
        """
        place = range(len(self))[row]
        rows = np.array([place])
        text = self.texts(rows)[0] if self.has_texts else ""
        return Passage(self.document_ids[self.document_of[place]], int(self.position[place]), text)

    @property
    def space(self) -> Space:
        """The embedding space of the vectors."""
        assert self.manifest.space is not None, "a bank is written after its encoder was loaded"
        return self.manifest.space

    @property
    def dimension(self) -> int:
        """Number of components of a vector."""
        return self.space.dimension

    @property
    def hash(self) -> str:
        """Hash of all passages, vectors and documents."""
        return self.manifest.hash

    @property
    def counts(self) -> BankCounts:
        """Size of the bank, and what was skipped when it was built."""
        return self.manifest.counts

    @property
    def language(self) -> str:
        """Language whose sentence rules cut the documents; English for imported vectors."""
        passages = self.manifest.passages
        return "en" if passages is None else passages.language

    @property
    def has_texts(self) -> bool:
        """Whether every passage has its text."""
        return self.manifest.has_texts

    @functools.cached_property
    def documents(self) -> pa.Table:
        """The table of documents: ``id``, ``title``, ``first_row``, ``num_rows``."""
        path, known = self.path / DOCUMENTS, self.manifest.documents_file_sha256
        table = read_table(path, columns=DOCUMENT_COLUMNS).slice(0, self.counts.documents)
        whole = known is not None and file_sha256(path) == known  # else of an older version, or of a begun change
        if not whole and documents_sha256(table) != self.manifest.documents_sha256:
            raise damaged(path, "documents that differ from the manifest")
        return table

    @functools.cached_property
    def document_ids(self) -> list[str]:
        """The id of each document, by document number."""
        return self.documents["id"].to_pylist()

    @functools.cached_property
    def document_titles(self) -> list[str]:
        """The title of each document, by document number."""
        return self.documents["title"].to_pylist()

    @functools.cached_property
    def first_row(self) -> Int[np.ndarray, "document"]:
        """The first row of each document."""
        return self.documents["first_row"].to_numpy()

    @functools.cached_property
    def num_rows(self) -> Int[np.ndarray, "document"]:
        """The number of rows of each document, deleted ones included."""
        return self.documents["num_rows"].to_numpy()

    @functools.cached_property
    def document_of(self) -> Int[np.ndarray, "bank"]:
        """The document number of each row, int32."""
        return np.repeat(np.arange(len(self.num_rows), dtype=np.int32), self.num_rows)

    @functools.cached_property
    def position(self) -> Int[np.ndarray, "bank"]:
        """The position of each row in its document, int32."""
        return self._column("position", np.int32)

    @functools.cached_property
    def duplicate_group(self) -> Int[np.ndarray, "bank"]:
        """The first live row with the same normalised text, int64; rows without text are their own group."""
        return _named_by_live_rows(self._column("duplicate_group", np.int64), self.alive)

    @functools.cached_property
    def alive(self) -> Bool[np.ndarray, "bank"]:
        """False where the passage's document was removed or replaced."""
        documents = np.ones(len(self.document_ids), dtype=bool)
        documents[list(self.removed)] = False
        return documents[self.document_of]

    @functools.cached_property
    def removed(self) -> frozenset[int]:
        """Numbers of the documents that were removed or replaced."""
        tombstones = self.path / TOMBSTONES  # of version 0.1, which knew no other change
        if not self.manifest.changes and tombstones.exists():
            dead = set(read_json(tombstones)["documents"])
            return frozenset(number for number, name in enumerate(self.document_ids) if name in dead)
        return frozenset(number for step in self.manifest.changes for number in step.removed)

    @functools.cached_property
    def live_documents(self) -> dict[str, int]:
        """The number of each document that was not removed, by id; a replaced document has the number of its last."""
        return {name: number for number, name in enumerate(self.document_ids) if number not in self.removed}

    def gather(self, rows: Int[np.ndarray, "rows"]) -> Float[np.ndarray, "rows dim"]:
        """Return the float32 vectors of ``rows`` (all ≥ 0), in that order.

        Vectors stored as float16 have length 1 to 1e-3, all others to 1e-6.

        Raises:
            InputError: the bank does not have all rows.
        """
        rows = self._known(rows)
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        for number, places in self._by_shard(rows):
            vectors[places] = self._vectors(number)[rows[places] - self._starts[number]]
        return vectors

    def blocks(self, rows_per_block: int = 8192) -> Iterator[tuple[int, Float[np.ndarray, "rows dim"]]]:
        """Yield (first row, float32 vectors) of contiguous blocks in order; each block is a new array.

        Blocks are independent of the shards, so that results do not depend on the size of a shard.

        Raises:
            InputError: a block has less than one row.
        """
        if rows_per_block < 1:
            raise InputError("rows_per_block is out of range", got=rows_per_block, expected="1 or more")
        for start in range(0, len(self), rows_per_block):
            stop = min(start + rows_per_block, len(self))
            vectors = np.empty((stop - start, self.dimension), dtype=np.float32)
            first, last = np.searchsorted(self._starts, [start, stop - 1], side="right") - 1
            for number in range(first, last + 1):
                low, high = max(start, self._starts[number]), min(stop, self._starts[number + 1])
                shard = self._vectors(number)[low - self._starts[number] : high - self._starts[number]]
                vectors[low - start : high - start] = shard
            yield start, vectors

    def search(
        self, vectors: Float[np.ndarray, "*query dim"], k: int = 5
    ) -> tuple[Float[np.ndarray, "*query k"], Int[np.ndarray, "*query k"]]:
        """Return the nearest passages of each vector, exactly; every vector of the bank is compared.

        Args:
            vectors: unit vectors of the bank's space; one, or several as rows.
            k: passages of each query, at most as many as are not deleted.

        Returns:
            Their cosines, highest first, and their rows, in the order in which FAISS returns them.

        Raises:
            InputError: the vectors are of another dimension or not finite, or ``k`` is out of range.

        >>> bank = PassageBank.from_arrays(np.eye(3), ["a", "a", "b"])
        >>> bank.search(np.array([0.0, 0.8, 0.6]), k=2)[1].tolist()
        [1, 2]
        """
        try:
            queries = np.asarray(vectors, dtype=np.float32)
        except (ValueError, TypeError) as error:
            raise InputError("the queries are not vectors", got=str(error)[:80], expected="numbers") from error
        if not np.isfinite(queries).all():
            raise InputError("the queries are not vectors", got="NaN or infinity", expected="finite numbers")
        if queries.ndim not in (1, 2) or queries.shape[-1] != self.dimension:
            raise InputError("the queries are not vectors of this bank", got=f"shape {queries.shape}",
                             expected=f"({self.dimension},) or (queries, {self.dimension})")  # fmt: skip
        if not 1 <= k <= self.alive.sum():
            raise InputError("k is out of range", got=k, expected=f"1 to {self.alive.sum()}")
        rows = np.empty((len(np.atleast_2d(queries)), 0), dtype=np.int64)
        cosines = np.empty(rows.shape, dtype=np.float32)
        for start, block in self.blocks():
            alive = np.flatnonzero(self.alive[start : start + len(block)])
            rows = np.concatenate([rows, np.broadcast_to(start + alive, (len(rows), len(alive)))], axis=1)
            cosines = np.concatenate([cosines, np.atleast_2d(queries) @ block[alive].T], axis=1)
            best = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
            rows, cosines = np.take_along_axis(rows, best, axis=1), np.take_along_axis(cosines, best, axis=1)
        return cosines.reshape(*queries.shape[:-1], k), rows.reshape(*queries.shape[:-1], k)

    def texts(self, rows: Int[np.ndarray, "rows"]) -> list[str]:
        """Return the texts of ``rows``.

        Raises:
            InputError: the bank has vectors only, or not all rows.
        """
        if not self.has_texts:
            raise InputError(f"{self.path} holds vectors only", fix="import them with a column `text`")
        rows = self._known(rows)
        texts = np.empty(len(rows), dtype=object)
        for number, places in self._by_shard(rows):
            column = self._table(number)["text"]
            texts[places] = column.take(pa.array(rows[places] - self._starts[number])).to_pylist()
        return texts.tolist()

    def passage_ids(self, rows: Int[np.ndarray, "rows"]) -> list[str]:
        """Return the names of ``rows`` in run and qrels files, ``document#position``.

        Raises:
            InputError: the bank does not have all rows.
        """
        return [f"{self.document_ids[self.document_of[row]]}#{self.position[row]}" for row in self._known(rows)]

    def _known(self, rows: Int[np.ndarray, "rows"]) -> Int[np.ndarray, "rows"]:
        """Return rows as an array, if the bank has them all."""
        rows = np.asarray(rows)
        if rows.size and (rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= len(self)):
            got, expected = repr(rows.tolist())[:60], f"whole numbers, 0 to {len(self) - 1}"
            raise InputError("a row is not in the bank", got=got, expected=expected)
        return rows

    def _by_shard(self, rows: Int[np.ndarray, "rows"]) -> Iterator[tuple[int, Int[np.ndarray, "places"]]]:
        """Yield each shard that holds some of ``rows``, with their places in ``rows``."""
        shard_of = np.searchsorted(self._starts, rows, side="right") - 1
        order = np.argsort(shard_of, kind="stable")
        count = np.bincount(shard_of)
        ends = np.cumsum(count)
        for number in np.flatnonzero(count).tolist():
            yield number, order[ends[number] - count[number] : ends[number]]

    def _column(self, name: str, dtype: type[np.signedinteger[Any]]) -> Int[np.ndarray, "bank"]:
        values = np.empty(len(self), dtype=dtype)
        for number, start in enumerate(self._starts[:-1]):
            table = self._read_table(number, name)
            values[start : self._starts[number + 1]] = table[name].to_numpy()
        return values

    def _table(self, number: int) -> pa.Table:
        if number not in self._tables:
            while len(self._tables) >= TABLES_KEPT:
                self._tables.pop(next(iter(self._tables)))
            self._tables[number] = self._read_table(number, "text")
        return self._tables[number]

    def _read_table(self, number: int, column: str) -> pa.Table:
        path = passages_path(self.path, number)
        self._verify_once(fetch(path), self.manifest.shards[number].passages_sha256)
        return read_table(path, columns=[column])

    def _vectors(self, number: int) -> np.ndarray:
        """Return a shard's vectors, which are fetched and mapped when they are first read where a bucket holds them."""
        found = self._shards[number]
        if found is None:
            found = self._shards[number] = self._map(number)
        self._verify_once(vectors_path(self.path, number), self.manifest.shards[number].vectors_sha256)
        return found

    def _verify_once(self, path: Path, sha256: str | None) -> None:
        """Compare a file with the manifest when it is first read: a flipped bit would be another vector."""
        if path not in self._verified:
            require_sha256(path, sha256)
            self._verified.add(path)

    def _map(self, number: int) -> np.ndarray:
        """Map a shard's vectors into memory, read-only; a plain view, since ``np.memmap`` is slow to index."""
        shard = self.manifest.shards[number]
        path = fetch(vectors_path(self.path, number), shard.vectors_sha256)
        try:
            vectors = np.asarray(read_npy(path, mapped=True))
        except InputError as error:
            raise damaged(path, str(error).rstrip(".")) from error
        expected = (shard.rows, self.dimension)
        if vectors.shape != expected:
            raise damaged(path, f"shape {vectors.shape}, expected {expected}")
        return vectors

    def _verify(self) -> None:
        """Hash every file again and compare with the manifest."""
        for number, shard in enumerate(self.manifest.shards):
            if file_sha256(fetch(vectors_path(self.path, number))) != shard.vectors_sha256:
                raise damaged(vectors_path(self.path, number), "a sha256 that differs from the manifest")
            if read_rows(self.path, number).text_sha256() != shard.text_sha256:
                raise damaged(passages_path(self.path, number), "passages that differ from the manifest")
        if documents_sha256(self.documents) != self.manifest.documents_sha256:
            raise damaged(self.path / DOCUMENTS, "documents that differ from the manifest")


def _open_unchanged(path: str, known: str) -> PassageBank:
    bank = PassageBank.open(path)
    if bank.hash != known:
        raise InputError(f"{path} has changed while it was in use", got=f"hash {bank.hash[:12]}…",
                         expected=f"{known[:12]}…", fix="run the command again in a new folder")  # fmt: skip
    return bank


def _named_by_live_rows(groups: Int[np.ndarray, "bank"], alive: Bool[np.ndarray, "bank"]) -> Int[np.ndarray, "bank"]:
    """Name each group by its first live row; a group without one keeps its name.

    >>> _named_by_live_rows(np.array([0, 1, 0, 0]), np.array([False, True, True, True])).tolist()
    [2, 1, 2, 2]
    """
    names = np.arange(len(groups), dtype=np.int64)
    rows = np.flatnonzero(alive)[::-1]
    names[groups[rows]] = rows  # where an index recurs, the last value stays: the first row
    return names[groups]


def bank_info(bank: PassageBank) -> JsonObject:
    """Describe a bank for ``segue bank info``; sizes in bytes, lengths in characters."""
    manifest = bank.manifest.to_json()
    space = bank.space.to_json()
    space["fingerprint"] = None if bank.space.fingerprint is None else f"{len(bank.space.fingerprint)} probes"
    rows = bank.num_rows[list(bank.live_documents.values())]
    passages, alive = len(bank), int(bank.alive.sum())
    return {
        "path": place_of(bank.path),
        "documents": len(rows),
        "passages": passages,
        "deleted_passages": passages - alive,
        "duplicate_passages": alive - len(np.unique(bank.duplicate_group[bank.alive])),
        "passages_per_document": {"min": int(rows.min()), "median": float(np.median(rows)), "max": int(rows.max())},
        "characters": bank.counts.characters,
        "mean_passage_characters": round(bank.counts.characters / passages, 1),
        "skipped": bank.counts.skipped,
        "skipped_listed_in": str(bank.path / SKIPPED) if (bank.path / SKIPPED).exists() else None,
        **_markup(bank),
        "has_texts": bank.has_texts,
        "text_statistics": manifest["text_statistics"],
        "warnings": bank.manifest.text_statistics.warnings(bank.language) if bank.manifest.text_statistics else [],
        "space": space,
        "storage": manifest["storage"],
        "changes": len(bank.manifest.changes),
        "shards": len(bank.manifest.shards),
        "size_bytes": size_bytes(bank.path),
        "passage_settings": manifest["passages"],
        "source": manifest["source"],
        "versions": manifest["versions"],
    }


def _markup(bank: PassageBank) -> JsonObject:
    """Return the rate of what looks like markup in the texts, and the markup whose text was not known, by name."""
    found = Counter(bank.manifest.markup or {})
    remnants = found.pop(REMNANTS, None)
    rate = None if remnants is None else round(1e6 * remnants / max(1, bank.counts.characters), 1)
    return {"markup_remnants_per_million_characters": rate, "dropped_inside_sentences": dict(found.most_common())}
