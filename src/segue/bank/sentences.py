"""Vectors of the sentences of passages: what a passage says first and last, beside what it says as a whole.

Enters: a bank's texts, cut into sentences as its documents were, and its encoder. Leaves: at most six unit vectors for
each row, in reading order, kept as float16 and mapped from disk (``sentences_build`` writes them).

A piece too short to mean anything joins its neighbour, a sentence of many clauses is divided, and of a passage with
more than six sentences the middle ones are read as one: how a passage begins and ends says most about its neighbours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import sentencex
import torch
from jaxtyping import Bool, Float16, Float32, Int, UInt8

from segue.corpus.passages import divide
from segue.encoders import Encoder
from segue.encoders.space import require_same
from segue.errors import InputError
from segue.types import Bank, Progress, no_progress

MOST = 6
"""Sentences of a passage, at most."""
BEGINNING, END = 3, 2
"""Sentences that are kept from its beginning and its end where there are more; what is between them becomes one."""
SHORTEST = 30
"""A piece of fewer characters joins the one before it."""
LONGEST = 200
"""A sentence of more characters is divided: one vector would blur what it says."""
TEXTS_AT_ONCE = 4096
NONE: Mapping[int, str] = MappingProxyType({})

Packed = tuple[Float16[np.ndarray, "piece dim"], UInt8[np.ndarray, "text"]]
"""The vectors of the sentences of some texts, one text after the other, and how many each has."""


def split_sentences(text: str, language: str = "en") -> list[str]:
    """Cut a passage into at most six sentences, in order; a text without a word gives none.

    >>> split_sentences("Snow reflects most of the light. Why? Its crystals scatter it in all directions.")
    ['Snow reflects most of the light. Why?', 'Its crystals scatter it in all directions.']
    """
    pieces: list[str] = []
    for sentence in sentencex.segment(language, " ".join(text.split())):
        for piece in divide(sentence, LONGEST // 2):
            _add(pieces, piece.strip())
    if len(pieces) > MOST:
        pieces[BEGINNING:-END] = [" ".join(pieces[BEGINNING:-END])]
    return pieces


def _add(pieces: list[str], piece: str) -> None:
    """Put a piece behind the others, or into the last one where either is too short to stand alone."""
    if pieces and min(len(piece), len(pieces[-1])) < SHORTEST:
        pieces[-1] = f"{pieces[-1]} {piece}".rstrip()
    elif piece:
        pieces.append(piece)


def language_of(bank: Bank) -> str:
    """Return the language whose rules cut the bank's documents; English where nobody said."""
    passages = bank.manifest.get("passages") or {}
    return str(passages.get("language", "en"))


class SentenceVectors:
    """The vectors of the sentences of a bank's passages; open them with ``sentences_build.build_sentences``.

    Args:
        bank: the passages, with texts.
        blocks: float16 unit vectors of all sentences, row by row, cut anywhere.
        counts: sentences of each row.
        load_encoder: gives the bank's encoder, when a text is asked for that the bank does not hold.
    """

    def __init__(
        self,
        bank: Bank,
        blocks: Sequence[Float16[np.ndarray, "_ dim"]],
        counts: UInt8[np.ndarray, "bank"],
        load_encoder: Callable[[], Encoder],
    ) -> None:
        sizes = np.array([len(block) for block in blocks], dtype=np.int64)
        assert len(counts) == len(bank), "a count for each row"
        assert sizes.sum() == counts.sum(dtype=np.int64), "a vector for each sentence"
        self.bank = bank
        self._blocks = list(blocks)
        self._block_starts = np.cumsum(sizes) - sizes
        self._counts, self._starts = counts, np.cumsum(counts, dtype=np.int64) - counts
        self._load_encoder = load_encoder

    def gather(
        self, rows: Int[np.ndarray, "rows"]
    ) -> tuple[Float32[np.ndarray, "rows sentence dim"], Bool[np.ndarray, "rows sentence"]]:
        """Return the unit vectors (to 1e-3) of the sentences of ``rows``, in order, and where there are any.

        Zeros stand where there is no sentence; row -1 has none.
        """
        return _padded(*self.packed(rows))

    def packed(self, rows: Int[np.ndarray, "rows"], strangers: Mapping[int, str] = NONE) -> Packed:
        """Return the same without padding, in the precision they are stored in.

        Args:
            rows: of the bank; -1 has no sentence.
            strangers: texts that stand at some places of ``rows`` where there is -1; they are encoded.
        """
        rows = np.asarray(rows)
        counts = np.where(rows >= 0, self._counts[rows], 0).astype(np.uint8)
        vectors = self._take((self._starts[rows][:, None] + np.arange(MOST))[sentence_mask(counts)])
        if not strangers:
            return vectors, counts
        more, counts[list(strangers)] = self._encode(list(strangers.values()))
        strange = np.isin(np.arange(len(rows)), list(strangers)).repeat(counts)
        joined = np.empty((len(strange), self.bank.dimension), dtype=np.float16)
        joined[strange], joined[~strange] = more, vectors
        return joined, counts

    def _take(self, numbers: Int[np.ndarray, "piece"]) -> Float16[np.ndarray, "piece dim"]:
        """Return vectors by their number in the bank, whichever block they are in."""
        vectors = np.empty((len(numbers), self.bank.dimension), dtype=np.float16)
        block_of = np.searchsorted(self._block_starts, numbers, side="right") - 1
        for block in np.unique(block_of):
            places = np.flatnonzero(block_of == block)
            vectors[places] = self._blocks[block][numbers[places] - self._block_starts[block]]
        return vectors

    def encode(
        self, texts: Sequence[str]
    ) -> tuple[Float32[np.ndarray, "text sentence dim"], Bool[np.ndarray, "text sentence"]]:
        """Return what ``gather`` would if the bank held ``texts``.

        Raises:
            SpaceError: the encoder is not the bank's.
        """
        return _padded(*self._encode(texts))

    def _encode(self, texts: Sequence[str]) -> Packed:
        pieces = [split_sentences(text, language_of(self.bank)) for text in texts]
        return encode_sentences(pieces, encoder_of_sentences(self.bank, self._load_encoder))

    def over(self, bank: Bank) -> SentenceVectors:
        """Return the vectors of another bank's passages: those of texts known here as they are, others encoded.

        Raises:
            InputError: the bank has no texts.
            SpaceError: it lives in another space.
        """
        require_texts(bank)
        require_same(self.bank.space, bank.space, "the sentences' vectors and the other bank")
        blocks, counts = [], []
        for start in range(0, len(bank), TEXTS_AT_ONCE):
            vectors, count = self._of_texts(bank.texts(np.arange(start, min(start + TEXTS_AT_ONCE, len(bank)))))
            blocks.append(vectors)
            counts.append(count)
        return SentenceVectors(bank, blocks, np.concatenate(counts), self._load_encoder)

    def _of_texts(self, texts: list[str]) -> Packed:
        rows = np.array([self._row_of.get(text, -1) for text in texts], dtype=np.int64)
        return self.packed(rows, {place: texts[place] for place in np.flatnonzero(rows < 0).tolist()})

    @functools.cached_property
    def _row_of(self) -> dict[str, int]:
        """The row of each text."""
        found: dict[str, int] = {}
        for start in range(0, len(self.bank), TEXTS_AT_ONCE):
            rows = np.arange(start, min(start + TEXTS_AT_ONCE, len(self.bank)))
            found.update(zip(self.bank.texts(rows), rows.tolist(), strict=True))
        return found


def encode_sentences(pieces: Sequence[Sequence[str]], encoder: Encoder, progress: Progress = no_progress) -> Packed:
    """Encode the sentences of some texts."""
    vectors = encoder.encode([sentence for sentences in pieces for sentence in sentences], progress=progress)
    return vectors.astype(np.float16), np.array([len(sentences) for sentences in pieces], dtype=np.uint8)


def encoder_of_sentences(bank: Bank, load_encoder: Callable[[], Encoder]) -> Encoder:
    """Return the encoder, once it is known to be the bank's.

    Raises:
        SpaceError: it is not.
    """
    encoder = load_encoder()
    require_same(bank.space, encoder.space, "the bank and the encoder of its sentences")
    return encoder


def require_texts(bank: Bank) -> None:
    """Refuse a bank of vectors only.

    Raises:
        InputError: it has no texts.
    """
    if not bank.has_texts:
        fix = "give the texts beside the vectors, or leave the feature group 'sentences' out"
        raise InputError("a bank without texts has no sentences", got="vectors only", fix=fix)


def sentence_mask(counts: UInt8[np.ndarray, "text"]) -> Bool[np.ndarray, "text sentence"]:
    """Tell where texts have sentences.

    >>> sentence_mask(np.array([2], dtype=np.uint8)).tolist()
    [[True, True, False, False, False, False]]
    """
    return np.arange(MOST) < counts[:, None]


def widened(vectors: Float16[np.ndarray, "piece dim"], dtype: Any) -> np.ndarray:
    """Return float16 vectors in a wider type; PyTorch's conversion is 20 times as fast as NumPy's."""
    return torch.from_numpy(vectors).float().to(dtype).numpy()


def _padded(
    vectors: Float16[np.ndarray, "piece dim"], counts: UInt8[np.ndarray, "text"]
) -> tuple[Float32[np.ndarray, "text sentence dim"], Bool[np.ndarray, "text sentence"]]:
    mask = sentence_mask(counts)
    padded = np.zeros((*mask.shape, vectors.shape[1]), dtype=np.float32)
    padded[mask] = widened(vectors, torch.float32)
    return padded, mask
