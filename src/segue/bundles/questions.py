"""A question becomes what retrievers read: unit vectors, rows of the bank, texts, and what may not be answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from segue.bank.shards import LENGTH_TOLERANCE
from segue.bundles.lookup import Lookup
from segue.bundles.open import Bundle
from segue.corpus.passages import PassageSettings, cut
from segue.errors import InputError, explain
from segue.types import Contexts, Document

WAYS = ("passages", "text", "vectors", "ids")


@dataclass(frozen=True)
class Question:
    """What was read, in one of four ways, and what is asked; see ``ReleasedRetriever.next``."""

    passages: Sequence[str] | None = None
    text: str | None = None
    vectors: Any = None
    ids: Sequence[str] | None = None
    k: int = 5
    exclude: Sequence[str] = ()
    documents: Sequence[str] | None = None


@dataclass(frozen=True)
class Asking:
    """A question, resolved.

    Attributes:
        read_vectors: unit vectors of the passages that are read, oldest first; at most the bundle's context.
        rows: their rows, -1 where the bank does not hold one.
        texts: their texts; None where one is not known.
        exclude: rows that may not be answered.
        k: passages to answer.
        documents: ids of the documents to answer from; None: all.
    """

    read_vectors: Float[np.ndarray, "read dim"]
    rows: Int[np.ndarray, "read"]
    texts: tuple[str, ...] | None
    exclude: Int[np.ndarray, "excluded"]
    k: int
    documents: tuple[str, ...] | None


@dataclass(frozen=True)
class Half:
    """A question, resolved but for the texts that have to be encoded.

    Attributes:
        asking: all but the vectors of those texts, which are zeros still.
        strange: places of ``asking.read_vectors`` that are to be filled, in order.
        texts: what has to be encoded for them.
    """

    asking: Asking
    strange: tuple[int, ...]
    texts: tuple[str, ...]

    def filled(self, vectors: Float[np.ndarray, "text dim"]) -> Asking:
        """Return the question with the vectors of its texts."""
        if self.strange:
            self.asking.read_vectors[list(self.strange)] = vectors
        return self.asking


def resolve(question: Question, bundle: Bundle, lookup: Lookup) -> Half:
    """Turn a question into vectors, rows and texts, but for what has to be encoded.

    Passages that the bank holds are not encoded again: their vectors stand there.

    Raises:
        InputError: it cannot be read.
    """
    given = [way for way in WAYS if getattr(question, way) is not None]
    if len(given) != 1:
        raise InputError(explain("a question says what was read in one way", got=" and ".join(given) or "nothing",
                                 expected=f"one of {', '.join(WAYS)}"))  # fmt: skip
    if question.k < 1:
        raise InputError(explain("k is out of range", got=question.k, expected="1 or more"))
    rows, texts, vectors = _read(question, bundle, lookup)
    if len(rows) == 0:
        raise InputError(explain("nothing was read", expected="one passage or more", fix="give the text so far"))
    last = slice(-bundle.context, None)
    more = [lookup.row(name) for name in question.exclude]
    found = [] if bundle.exclude == "none" else [row for row in rows if row >= 0]
    documents = None if question.documents is None else tuple(sorted(set(question.documents)))
    for name in documents or ():
        lookup.document(name)
    asking = Asking(
        _known_vectors(rows[last], None if vectors is None else vectors[last], bundle),
        np.array(rows[last], dtype=np.int64),
        _all_or_none(texts[last]),
        np.array(found + more, dtype=np.int64),
        question.k,
        documents,
    )
    strange = () if vectors is not None else tuple(place for place, row in enumerate(rows[last]) if row < 0)
    return Half(asking, strange, tuple(str(texts[last][place]) for place in strange))


def _all_or_none(texts: Sequence[str | None]) -> tuple[str, ...] | None:
    known = tuple(text for text in texts if text is not None)
    return known if len(known) == len(texts) else None


def _read(
    question: Question, bundle: Bundle, lookup: Lookup
) -> tuple[list[int], list[str | None], Float[np.ndarray, "read dim"] | None]:
    """Return rows, texts and vectors of all that was read, as far as they are known before anything is encoded."""
    if question.ids is not None:
        rows = [lookup.row(name) for name in question.ids]
        return rows, lookup.texts(np.array(rows, dtype=np.int64)), None
    if question.vectors is not None:
        vectors = unit_vectors(question.vectors, bundle.bank.dimension)
        rows = lookup.rows_of_vectors(vectors)
        known = iter(lookup.texts(np.array([row for row in rows if row >= 0], dtype=np.int64)))
        return rows, [next(known) if row >= 0 else None for row in rows], vectors
    passages = cut_text(question.text, bundle) if question.text is not None else list(question.passages or ())
    require_words(passages)
    return lookup.rows_of_texts(passages), list(passages), None


def cut_text(text: str, bundle: Bundle) -> list[str]:
    """Cut a text as the bank's documents were cut; a text too short for that is one passage."""
    settings = PassageSettings.model_validate(bundle.contract["passages"] or {})
    paragraphs = tuple(part for part in text.replace("\r\n", "\n").split("\n\n") if part.strip())
    passages = cut(Document("", "", paragraphs), settings.model_copy(update={"maximum_passages": None}))
    return [passage.text for passage in passages] or [" ".join(text.split())] * bool(text.strip())


def require_words(passages: Sequence[str]) -> None:
    """Refuse empty passages, and text that is no Unicode.

    Raises:
        InputError: naming the first.
    """
    for number, passage in enumerate(passages):
        if not passage.strip():
            raise InputError(explain(f"passage {number} is empty", expected="text", fix="leave it out"))
        if any("\ud800" <= letter <= "\udfff" for letter in passage):
            raise InputError(explain(f"passage {number} is no Unicode text", got="half of a surrogate pair"))


def unit_vectors(values: Any, dimension: int) -> Float[np.ndarray, "read dim"]:
    """Return vectors as unit float32.

    Raises:
        InputError: they have another dimension, hold NaN or infinity, or are not of length 1.
    """
    try:
        vectors = np.asarray(values, dtype=np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(explain("vectors are rows of numbers", got=str(error)[:80])) from error
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        got = f"shape {list(vectors.shape)}"
        raise InputError(explain("vectors are of another dimension than the bundle", got=got,
                                 expected=f"[passages, {dimension}]", fix="use the bundle's encoder"))  # fmt: skip
    if not np.isfinite(vectors).all():
        raise InputError(explain("vectors must be numbers", got="NaN or infinity", expected="finite numbers"))
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if len(lengths) and not np.abs(lengths - 1).max() <= LENGTH_TOLERANCE:
        raise InputError(explain("vectors must have length 1", got=f"{lengths.min():.4g} to {lengths.max():.4g}",
                                 expected=f"1 ± {LENGTH_TOLERANCE:g}", fix="divide each by its length"))  # fmt: skip
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


def as_contexts(asked: Sequence[Asking], bundle: Bundle) -> Contexts:
    """Put resolved questions together as one batch, padded in front."""
    count, context = len(asked), bundle.context
    vectors = np.zeros((count, context, bundle.bank.dimension), dtype=np.float32)
    mask, rows = np.zeros((count, context), dtype=bool), np.full((count, context), -1, dtype=np.int64)
    exclude = np.full((count, max((len(asking.exclude) for asking in asked), default=0)), -1, dtype=np.int64)
    for place, asking in enumerate(asked):
        read = len(asking.rows)
        vectors[place, context - read :] = asking.read_vectors
        mask[place, context - read :] = True
        rows[place, context - read :] = asking.rows
        exclude[place, : len(asking.exclude)] = asking.exclude
    texts = [asking.texts for asking in asked if asking.texts is not None]
    return Contexts(vectors, mask, rows, exclude, texts if len(texts) == count else None)
