"""Queries, and what retrievers read of them: unit vectors, rows of the bank, texts, and excluded rows.

What was read may not be answered, so passages given as texts or vectors are looked up in the bank. Texts are compared
in normalised form; vectors by their projections on a few random directions, which leave few rows, and then by cosine.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from segue.bank.shards import LENGTH_TOLERANCE
from segue.bundles.open import Bundle
from segue.corpus.passages import PassageSettings, cut
from segue.corpus.words import normalise_text, visible
from segue.errors import InputError
from segue.types import Bank, Contexts, Document

ROWS_AT_ONCE = 8192
SAME_VECTOR = 1e-6
"""Maximum 1 − cosine of two vectors of one passage; the rounding of a float16 bank is smaller."""
REACH = float(np.sqrt(2 * SAME_VECTOR))
"""Maximum distance of two such vectors, and so of their projections: |a − b| = √(2 (1 − cosine))."""
DIRECTIONS = 8


class Lookup:
    """Finds passages of a bank; keeps all texts in memory as an Arrow array."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._documents = {name: number for number, name in enumerate(bank.document_ids)}
        self._alike = {visible(name): number for name, number in self._documents.items()}
        directions = np.random.default_rng(0).standard_normal((bank.dimension, DIRECTIONS))
        self._directions = (directions / np.linalg.norm(directions, axis=0)).astype(np.float32)
        self._places = np.concatenate([_unit(block) @ self._directions for _, block in bank.blocks(ROWS_AT_ONCE)])
        self._by_place = np.argsort(self._places[:, 0], kind="stable")
        self._first_places = self._places[self._by_place, 0]
        self._read_texts()

    def _read_texts(self) -> None:
        """Read all texts, and sort the first bytes of their hashes."""
        self._texts: pa.Array | None = None
        if not self._bank.has_texts:
            return
        chunks, hashes = [], []
        for start in range(0, len(self._bank), ROWS_AT_ONCE):
            texts = self._bank.texts(np.arange(start, min(start + ROWS_AT_ONCE, len(self._bank))))
            chunks.append(pa.array(texts, type=pa.large_string()))
            hashes.append(_hashes(texts))
        self._texts = pa.concat_arrays(chunks)  # in one piece: taking from several would join them every time
        every = np.concatenate(hashes)
        self._by_hash = np.argsort(every, kind="stable")  # the first row of a text comes first
        self._hashes = every[self._by_hash]

    def texts(self, rows: Int[np.ndarray, "rows"]) -> list[str | None]:
        """Return the texts of rows; None where the bank has none."""
        if self._texts is None:
            return [None] * len(rows)
        return [self._texts[row].as_py() for row in rows.tolist()]  # up to ten, ``take`` would cost more

    def row(self, name: str) -> int:
        """Return the row of a passage id, ``document#position``.

        Raises:
            InputError: there is no such passage, or it was deleted.
        """
        document, _, position = str(name).rpartition("#")
        number = self._number(document)
        if number is not None and position.isdecimal() and position.isascii() and len(position) < 10:
            first = int(self._bank.first_row[number])
            inside = self._bank.position[first : first + int(self._bank.num_rows[number])]
            place = int(np.searchsorted(inside, int(position)))
            if place < len(inside) and inside[place] == int(position) and self._bank.alive[first + place]:
                return first + place
        raise InputError("the bundle does not have this passage", got=repr(name)[:80],
                         expected="document#position, as in its answers")  # fmt: skip

    def document(self, name: str) -> int:
        """Return the number of a document.

        Raises:
            InputError: no document has this id, or it was deleted.
        """
        number = self._number(name)
        if number is not None:
            first, count = int(self._bank.first_row[number]), int(self._bank.num_rows[number])
            if self._bank.alive[first : first + count].any():
                return number
        raise InputError("the bundle does not have this document", got=repr(name[:80]),
                         expected="a document's id, as in its answers")  # fmt: skip

    def _number(self, name: str) -> int | None:
        """Return the number of the document of this id, or of one that looks the same; None where there is none."""
        return self._documents.get(name, self._alike.get(visible(name)))

    def rows_of_texts(self, texts: Sequence[str]) -> list[int]:
        """Return the first row that has each text in its normalised form, -1 where none does."""
        if self._texts is None or not texts:
            return [-1] * len(texts)
        places = np.searchsorted(self._hashes, _hashes(texts))
        rows = self._by_hash[np.minimum(places, len(self._by_hash) - 1)]
        found = self.texts(rows)
        pairs = zip(rows.tolist(), found, texts, strict=True)
        return [row if normalise_text(str(there)) == normalise_text(text) else -1 for row, there, text in pairs]

    def rows_of_vectors(self, vectors: Float[np.ndarray, "some dim"]) -> list[int]:
        """Return the row that has each unit vector, -1 where none does."""
        vectors = _unit(vectors)
        places = vectors @ self._directions
        low, high = np.searchsorted(self._first_places, [places[:, 0] - REACH, places[:, 0] + REACH])
        near = [self._by_place[begin:end] for begin, end in zip(low, high, strict=True)]
        return [self._row_of_vector(*one) for one in zip(vectors, places, near, strict=True)]

    def _row_of_vector(
        self, vector: Float[np.ndarray, "dim"], place: Float[np.ndarray, "direction"], near: Int[np.ndarray, "row"]
    ) -> int:
        """Return the row among those near on the first direction that has the vector, -1 where none does."""
        near = np.sort(near[(np.abs(self._places[near] - place) <= REACH).all(axis=1)])
        if len(near) == 0:
            return -1
        cosines = _unit(self._bank.gather(near)) @ vector
        best = int(np.argmax(cosines))
        return int(near[best]) if cosines[best] >= 1 - SAME_VECTOR else -1


def _unit(vectors: Float[np.ndarray, "some dim"]) -> Float[np.ndarray, "some dim"]:
    """Return vectors at length 1: half precision leaves them a little longer or shorter."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _hashes(texts: Sequence[str]) -> Int[np.ndarray, "text"]:
    """Return the first eight bytes of the sha256 of each normalised text."""
    digests = b"".join(hashlib.sha256(normalise_text(text).encode()).digest()[:8] for text in texts)
    return np.frombuffer(digests, dtype=np.int64)


WAYS = ("passages", "text", "vectors", "ids")


@dataclass(frozen=True)
class Query:
    """Passages read, given in one of four ways, and what to answer; see ``ReleasedRetriever.next``."""

    passages: Sequence[str] | None = None
    text: str | None = None
    vectors: Any = None
    ids: Sequence[str] | None = None
    k: int = 5
    exclude: Sequence[str] = ()
    documents: Sequence[str] | None = None


@dataclass(frozen=True)
class ResolvedQuery:
    """Query whose passages are known by vectors and rows.

    Attributes:
        read_vectors: unit vectors of the passages read, oldest first; at most the bundle's context.
        rows: their rows, -1 where the bank does not hold one.
        texts: their texts; None where one is not known.
        exclude: rows to leave out of the answer.
        k: passages in the answer.
        documents: ids of the documents to answer from; None: all.
    """

    read_vectors: Float[np.ndarray, "read dim"]
    rows: Int[np.ndarray, "read"]
    texts: tuple[str, ...] | None
    exclude: Int[np.ndarray, "excluded"]
    k: int
    documents: tuple[str, ...] | None


@dataclass(frozen=True)
class PendingQuery:
    """Query some of whose texts have to be encoded first.

    Attributes:
        resolved: the query; the vectors of those texts are still zeros.
        places: where in ``resolved.read_vectors`` the vectors belong, in order.
        texts: to be encoded.
    """

    resolved: ResolvedQuery
    places: tuple[int, ...]
    texts: tuple[str, ...]

    def filled(self, vectors: Float[np.ndarray, "text dim"]) -> ResolvedQuery:
        """Return the query with the vectors of its texts."""
        if self.places:
            self.resolved.read_vectors[list(self.places)] = vectors
        return self.resolved


def resolve(query: Query, bundle: Bundle, lookup: Lookup) -> PendingQuery:
    """Look up the passages of a query; those that the bank holds are not encoded again.

    Raises:
        InputError: it cannot be read.
    """
    if not isinstance(query, Query):
        raise InputError("this is no query", got=type(query).__name__, expected="a segue.bundles.queries.Query")
    given = [way for way in WAYS if getattr(query, way) is not None]
    if len(given) != 1:
        raise InputError("a query gives the passages read in exactly one way", got=" and ".join(given) or "nothing",
                         expected=f"one of {', '.join(WAYS)}")  # fmt: skip
    require_k(query.k)
    if query.text is not None and not isinstance(query.text, str):
        raise InputError("text is no text", got=type(query.text).__name__, expected="the beginning of a document")
    for what in ("passages", "ids", "exclude", "documents"):
        require_strings(getattr(query, what), what)
    rows, texts, vectors = _read(query, bundle, lookup)
    if len(rows) == 0:
        raise InputError(
            "the query has no passages", expected="one passage or more", fix="give the text of the document so far"
        )
    last = slice(-bundle.context, None)
    known = [text for text in texts[last] if text is not None]
    more = [lookup.row(name) for name in query.exclude]
    found = [] if bundle.exclude == "none" else [row for row in rows if row >= 0]
    documents = None
    if query.documents is not None:
        documents = tuple(sorted({bundle.bank.document_ids[lookup.document(name)] for name in query.documents}))
    resolved = ResolvedQuery(
        _known_vectors(rows[last], None if vectors is None else vectors[last], bundle),
        np.array(rows[last], dtype=np.int64),
        tuple(known) if len(known) == len(texts[last]) else None,
        np.array(found + more, dtype=np.int64),
        query.k,
        documents,
    )
    places = () if vectors is not None else tuple(place for place, row in enumerate(rows[last]) if row < 0)
    return PendingQuery(resolved, places, tuple(str(texts[last][place]) for place in places))


def _read(
    query: Query, bundle: Bundle, lookup: Lookup
) -> tuple[list[int], list[str | None], Float[np.ndarray, "read dim"] | None]:
    """Return rows, texts and vectors of all that was read, as far as known before anything is encoded."""
    if query.ids is not None:
        rows = [lookup.row(name) for name in query.ids]
        return rows, lookup.texts(np.array(rows, dtype=np.int64)), None
    if query.vectors is not None:
        vectors = unit_vectors(query.vectors, bundle.bank.dimension)
        rows = lookup.rows_of_vectors(vectors)
        known = iter(lookup.texts(np.array([row for row in rows if row >= 0], dtype=np.int64)))
        return rows, [next(known) if row >= 0 else None for row in rows], vectors
    passages = cut_text(query.text, bundle) if query.text is not None else list(query.passages or ())
    require_words(passages)
    passages = [unicodedata.normalize("NFC", passage) for passage in passages]
    return lookup.rows_of_texts(passages), list(passages), None


def require_k(k: object) -> None:
    """Refuse what is no number of answers.

    Raises:
        InputError: it is no integer, or below 1.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InputError("k is out of range", got=repr(k), expected="1 or more")


def require_strings(values: object, what: str) -> None:
    """Refuse what is no list of strings; None stands for no list.

    Raises:
        InputError: it is one string, or holds something else.
    """
    if isinstance(values, str):
        raise InputError(f"{what} is one text", got=repr(values[:40]), expected=f"a list of {what}",
                         fix="put it into a list; the beginning of a document is given as text=...")  # fmt: skip
    if values is not None and not isinstance(values, Sequence | np.ndarray):
        raise InputError(f"{what} is no list", got=type(values).__name__, expected=f"a list of {what}")
    if wrong := [value for value in values or () if not isinstance(value, str)]:
        raise InputError(f"{what} holds something else than text", got=repr(wrong[0])[:40], expected="strings")


def cut_text(text: str, bundle: Bundle) -> list[str]:
    """Cut a text into passages as the bank's documents were; a text too short for that is one passage."""
    settings = PassageSettings.model_validate(bundle.contract["passages"] or {})
    paragraphs = tuple(part for part in text.replace("\r\n", "\n").split("\n\n") if part.strip())
    passages = cut(Document("", "", paragraphs), settings.model_copy(update={"maximum_passages": None}))
    return [passage.text for passage in passages] or [" ".join(text.split())] * bool(text.strip())


def require_words(passages: Sequence[str]) -> None:
    """Refuse empty passages and invalid Unicode.

    Raises:
        InputError: names the first.
    """
    for number, passage in enumerate(passages):
        if not passage.strip():
            raise InputError(f"passage {number} is empty", expected="text", fix="leave it out")
        if any("\ud800" <= letter <= "\udfff" for letter in passage):
            raise InputError(f"passage {number} is not valid Unicode", got="half of a surrogate pair")


def unit_vectors(values: Any, dimension: int) -> Float[np.ndarray, "read dim"]:
    """Return vectors as unit float32.

    Raises:
        InputError: they have another dimension, hold NaN or infinity, or are not of length 1.
    """
    try:
        vectors = np.asarray(values, dtype=np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError("vectors are rows of numbers", got=str(error)[:80]) from error
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        got = f"shape {list(vectors.shape)}"
        raise InputError("vectors are of another dimension than the bundle", got=got,
                         expected=f"[passages, {dimension}]", fix="use the bundle's encoder")  # fmt: skip
    if not np.isfinite(vectors).all():
        raise InputError("vectors must be numbers", got="NaN or infinity", expected="finite numbers")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if len(lengths) and not np.abs(lengths - 1).max() <= LENGTH_TOLERANCE:
        raise InputError("vectors must have length 1", got=f"{lengths.min():.4g} to {lengths.max():.4g}",
                         expected=f"1 ± {LENGTH_TOLERANCE:g}", fix="divide each by its length")  # fmt: skip
    return vectors


def _known_vectors(
    rows: Sequence[int], given: Float[np.ndarray, "read dim"] | None, bundle: Bundle
) -> Float[np.ndarray, "read dim"]:
    """Return what was given, or gather what the bank holds and leave the rest zero."""
    if given is not None:
        return given
    vectors = np.zeros((len(rows), bundle.bank.dimension), dtype=np.float32)
    held = np.array(rows, dtype=np.int64) >= 0
    vectors[held] = bundle.bank.gather(np.array(rows, dtype=np.int64)[held])
    return vectors


def as_contexts(queries: Sequence[ResolvedQuery], bundle: Bundle) -> Contexts:
    """Put resolved queries into one batch, padded at the front."""
    count, context = len(queries), bundle.context
    vectors = np.zeros((count, context, bundle.bank.dimension), dtype=np.float32)
    mask, rows = np.zeros((count, context), dtype=bool), np.full((count, context), -1, dtype=np.int64)
    exclude = np.full((count, max((len(query.exclude) for query in queries), default=0)), -1, dtype=np.int64)
    for place, query in enumerate(queries):
        read = len(query.rows)
        vectors[place, context - read :] = query.read_vectors
        mask[place, context - read :] = True
        rows[place, context - read :] = query.rows
        exclude[place, : len(query.exclude)] = query.exclude
    texts = [query.texts for query in queries if query.texts is not None]
    return Contexts(vectors, mask, rows, exclude, texts if len(texts) == count else None)
