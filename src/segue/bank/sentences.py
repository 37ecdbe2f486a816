"""Vectors of the sentences of a bank's passages.

Input: the texts of a bank, which are cut by the rules that cut its documents, and its encoder. Output: at most six
unit vectors per row, in reading order, stored as float16 and mapped from disk.

A short piece joins its neighbour, a long sentence is divided, and of a passage with more than six sentences the middle
ones are read as one, since the beginning and the end of a passage are most similar to its neighbours.

``build_sentences`` encodes block by block; an interrupted build continues where it stopped. A block is the vectors of
some rows and their counts, in files named after its sentences and the encoder, so it is reused after a kill and after
documents were appended to the bank. ``sentences.json`` is written last and lists the bank's blocks in order.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import sentencex
import torch
from jaxtyping import Bool, Float16, Float32, Int, UInt8

from segue.bank.bank import PassageBank
from segue.corpus.passages import divide
from segue.corpus.prose import characters
from segue.encoders import Encoder
from segue.encoders.space import Space, require_same
from segue.errors import InputError, StorageError
from segue.files import JsonObject, disk, exclusive, read_json, write_json, write_npy
from segue.types import Bank, Progress, no_progress

MAXIMUM_SENTENCES = 6
"""Maximum number of sentences of a passage."""
BEGINNING, END = 3, 2
"""Sentences kept from the beginning and the end of a longer passage; those in between become one."""
SHORTEST = 30
"""A piece of fewer characters joins the one before it; Latin letters, see ``prose.characters``."""
LONGEST = 200
"""A sentence of more characters is divided."""
TEXTS_AT_ONCE = 4096
FORMAT = 1
"""Version of the stored files; raised when vectors are stored in another way."""
RECORD = "sentences.json"
ROWS_PER_BLOCK = 2048
"""Passages whose sentences are encoded together; an interrupted build loses one block."""

Packed = tuple[Float16[np.ndarray, "piece dim"], UInt8[np.ndarray, "text"]]
"""Vectors of the sentences of some texts, one text after the other, and the number of sentences of each text."""


def split_sentences(text: str, language: str = "en") -> list[str]:
    """Cut a passage into at most six sentences, in order; a text without a word gives none.

    >>> split_sentences("Snow reflects most of the light. Why? Its crystals scatter it in all directions.")
    ['Snow reflects most of the light. Why?', 'Its crystals scatter it in all directions.']
    """
    pieces: list[str] = []
    shortest, longest = characters(SHORTEST, text), characters(LONGEST, text)
    for sentence in sentencex.segment(language, " ".join(text.split())):
        for piece in map(str.strip, divide(sentence, longest // 2)):
            if pieces and min(len(piece), len(pieces[-1])) < shortest:
                pieces[-1] = f"{pieces[-1]} {piece}".rstrip()
            elif piece:
                pieces.append(piece)
    if len(pieces) > MAXIMUM_SENTENCES:
        pieces[BEGINNING:-END] = [" ".join(pieces[BEGINNING:-END])]
    return pieces


class SentenceVectors:
    """Vectors of the sentences of a bank's passages; open them with ``build_sentences``.

    Args:
        bank: the passages, with texts.
        blocks: float16 unit vectors of all sentences, row by row; blocks may end anywhere.
        counts: number of sentences of each row.
        load_encoder: returns the bank's encoder; called for the first text that the bank does not hold.
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
        """Return the unit vectors (to 1e-3) of the sentences of ``rows``, in order, and their mask.

        Vectors are zero where the mask is False; row -1 has no sentence.
        """
        return _padded(*self.packed(rows))

    def packed(self, rows: Int[np.ndarray, "rows"], new_texts: Mapping[int, str] | None = None) -> Packed:
        """Return the same without padding, in the precision they are stored in.

        Args:
            rows: rows of the bank; -1 has no sentence.
            new_texts: texts that the bank does not hold, by their place in ``rows``, where ``rows`` holds -1.
        """
        rows = np.asarray(rows)
        counts = np.where(rows >= 0, self._counts[rows], 0).astype(np.uint8)
        vectors = self._take((self._starts[rows][:, None] + np.arange(MAXIMUM_SENTENCES))[sentence_mask(counts)])
        if not new_texts:
            return vectors, counts
        more, counts[list(new_texts)] = self._encode(list(new_texts.values()))
        is_new = np.isin(np.arange(len(rows)), list(new_texts)).repeat(counts)
        joined = np.empty((len(is_new), self.bank.dimension), dtype=np.float16)
        joined[is_new], joined[~is_new] = more, vectors
        return joined, counts

    def _take(self, numbers: Int[np.ndarray, "piece"]) -> Float16[np.ndarray, "piece dim"]:
        """Return vectors by their number in the bank, from any block."""
        vectors = np.empty((len(numbers), self.bank.dimension), dtype=np.float16)
        block_of = np.searchsorted(self._block_starts, numbers, side="right") - 1
        for block in np.unique(block_of):
            places = np.flatnonzero(block_of == block)
            vectors[places] = self._blocks[block][numbers[places] - self._block_starts[block]]
        return vectors

    def encode(
        self, texts: Sequence[str]
    ) -> tuple[Float32[np.ndarray, "text sentence dim"], Bool[np.ndarray, "text sentence"]]:
        """Encode the sentences of ``texts``; the result has the form of ``gather``.

        Raises:
            SpaceError: the encoder is not the bank's.
        """
        return _padded(*self._encode(texts))

    def _encode(self, texts: Sequence[str]) -> Packed:
        pieces = [split_sentences(text, self.bank.language) for text in texts]
        return encode_sentences(pieces, encoder_of_sentences(self.bank, self._load_encoder))

    def over(self, bank: Bank) -> SentenceVectors:
        """Return the vectors of another bank's passages; only texts that are new here are encoded.

        Raises:
            InputError: the bank has no texts.
            SpaceError: it has another space.
        """
        require_texts(bank)
        require_same(self.bank.space, bank.space, "the sentences' vectors and the other bank")
        blocks, counts = [], []
        for start in range(0, len(bank), TEXTS_AT_ONCE):
            texts = bank.texts(np.arange(start, min(start + TEXTS_AT_ONCE, len(bank))))
            rows = np.array([self._row_of.get(text, -1) for text in texts], dtype=np.int64)
            vectors, count = self.packed(rows, {place: texts[place] for place in np.flatnonzero(rows < 0).tolist()})
            blocks.append(vectors)
            counts.append(count)
        return SentenceVectors(bank, blocks, np.concatenate(counts), self._load_encoder)

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
    """Load an encoder and check that it has the bank's space.

    Raises:
        SpaceError: it has another space.
    """
    encoder = load_encoder()
    require_same(bank.space, encoder.space, "the bank and the encoder of its sentences")
    return encoder


def require_texts(bank: Bank) -> None:
    """Check that a bank has texts.

    Raises:
        InputError: it holds vectors only.
    """
    if not bank.has_texts:
        fix = "give the texts along with the vectors, or leave the feature group 'sentences' out"
        raise InputError("a bank without texts has no sentences", got="vectors only", fix=fix)


def sentence_mask(counts: UInt8[np.ndarray, "text"]) -> Bool[np.ndarray, "text sentence"]:
    """Return the mask of texts with ``counts`` sentences each.

    >>> sentence_mask(np.array([2], dtype=np.uint8)).tolist()
    [[True, True, False, False, False, False]]
    """
    return np.arange(MAXIMUM_SENTENCES) < counts[:, None]


def widened(vectors: Float16[np.ndarray, "piece dim"], dtype: torch.dtype) -> np.ndarray:
    """Convert float16 vectors to a wider type, by PyTorch, which is 20 times as fast as NumPy."""
    return torch.from_numpy(vectors).float().to(dtype).numpy()


def _padded(
    vectors: Float16[np.ndarray, "piece dim"], counts: UInt8[np.ndarray, "text"]
) -> tuple[Float32[np.ndarray, "text sentence dim"], Bool[np.ndarray, "text sentence"]]:
    mask = sentence_mask(counts)
    padded = np.zeros((*mask.shape, vectors.shape[1]), dtype=np.float32)
    padded[mask] = widened(vectors, torch.float32)
    return padded, mask


def build_sentences(
    bank: Bank, load_encoder: Callable[[], Encoder], folder: Path, *, progress: Progress = no_progress
) -> SentenceVectors:
    """Encode the sentences of every passage, or open them where that was done.

    Args:
        bank: a bank with texts.
        load_encoder: returns the bank's encoder; not called where all blocks exist.
        folder: folder of the vectors, for this bank alone.
        progress: called per batch with the number of encoded passages.

    Raises:
        InputError: the bank has no texts.
        SpaceError: the encoder, or the one of the vectors in ``folder``, has another space than the bank.
        StorageError: the folder cannot be written, is in use, or holds damaged files.
    """
    require_texts(bank)
    blocks = _recorded(bank, folder / RECORD)
    if blocks is None:
        with exclusive(folder):
            blocks = _encode(bank, encoder_of_sentences(bank, load_encoder), folder, progress)
    packed = [_read(folder, name, bank.dimension) for name in blocks]
    counts = [count for _, count in packed] or [np.zeros(0, dtype=np.uint8)]
    return SentenceVectors(bank, [vectors for vectors, _ in packed], np.concatenate(counts), load_encoder)


def sentences_folder(bank: Bank, otherwise: Path) -> Path:
    """Return the folder of a bank's sentences: in the bank's folder, or in ``otherwise`` for a bank in memory."""
    return (bank.path if isinstance(bank, PassageBank) else otherwise) / "sentences"


def _recorded(bank: Bank, path: Path) -> list[str] | None:
    """Return the blocks of a finished build for this bank, None where there is none."""
    if not path.exists():
        return None
    record = read_json(path)
    require_same(bank.space, Space.from_json(record["space"]), f"the bank and the sentences in {path.parent}")
    blocks: list[str] = record["blocks"]
    return blocks if {key: record[key] for key in _settings(bank)} == _settings(bank) else None


def _settings(bank: Bank) -> JsonObject:
    """Return everything but the encoder that decides the vectors."""
    cut = {"most": MAXIMUM_SENTENCES, "beginning": BEGINNING, "end": END, "shortest": SHORTEST, "longest": LONGEST}
    return {"format": FORMAT, "bank": bank.hash, "rows": len(bank), "language": bank.language} | cut


def _encode(bank: Bank, encoder: Encoder, folder: Path, progress: Progress) -> list[str]:
    """Write the missing blocks, then the record; remove blocks that no longer belong to the bank."""
    blocks = []
    for first in range(0, len(bank), ROWS_PER_BLOCK):
        rows = np.arange(first, min(first + ROWS_PER_BLOCK, len(bank)))
        pieces = [split_sentences(text, bank.language) for text in bank.texts(rows)]
        blocks.append(_name(pieces, encoder.space))
        if not _vectors_path(folder, blocks[-1]).exists():
            vectors, counts = encode_sentences(pieces, encoder, _in_passages(progress, rows, len(bank)))
            write_npy(_counts_path(folder, blocks[-1]), counts)
            write_npy(_vectors_path(folder, blocks[-1]), vectors)  # last: where the vectors exist, the counts do too
        progress(int(rows[-1]) + 1, len(bank), "passages' sentences encoded")
    write_json(folder / RECORD, _settings(bank) | {"space": encoder.space.to_json(), "blocks": blocks})
    kept = {path(folder, name) for name in blocks for path in (_vectors_path, _counts_path)}
    for path in set(folder.glob("*.npy")) - kept:
        disk.remove(path)
    return blocks


def _in_passages(progress: Progress, rows: np.ndarray, total: int) -> Progress:
    """Convert the progress over the sentences of one block to progress over the passages of the bank."""

    def report(done: int, of: int | None, note: str) -> None:
        progress(int(rows[0]) + len(rows) * done // max(of or 1, 1), total, "passages' sentences encoded")

    return report


def _name(pieces: list[list[str]], space: Space) -> str:
    """Name a block after its sentences and the space, without its fingerprint, whose last bits may vary."""
    stated = {key: value for key, value in space.to_json().items() if key != "fingerprint"}
    return hashlib.sha256(json.dumps([stated, pieces], sort_keys=True).encode()).hexdigest()[:24]


def _vectors_path(folder: Path, name: str) -> Path:
    return folder / f"vectors-{name}.npy"


def _counts_path(folder: Path, name: str) -> Path:
    return folder / f"counts-{name}.npy"


def _read(folder: Path, name: str, dimension: int) -> Packed:
    """Map the vectors of one block, as a plain view, and read its counts.

    Raises:
        StorageError: a file is missing or damaged.
    """
    try:
        vectors = np.asarray(np.load(_vectors_path(folder, name), mmap_mode="r"))
        counts = np.load(_counts_path(folder, name))
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(folder, str(error)) from error
    if vectors.shape != (int(counts.sum()), dimension):
        raise _damaged(folder, f"vectors of shape {vectors.shape} for {int(counts.sum())} sentences")
    return vectors, counts


def _damaged(folder: Path, got: str) -> StorageError:
    fix = "delete that folder and run again"
    return StorageError(f"the sentences in {folder} are damaged", got=got, fix=fix)
