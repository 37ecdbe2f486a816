"""Sentences of passages: at most six unit vectors per row, in reading order, stored as float16.

Texts are cut by the rules that cut the bank's documents. A short piece joins its neighbour, a long sentence is divided,
and of a passage with more than six sentences the middle ones are read as one, since the beginning and the end of a
passage are most similar to its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencex
import torch
from jaxtyping import Float16

from segue.bank.pieces import Packed, PieceVectors, build_pieces
from segue.corpus.passages import divide
from segue.corpus.prose import characters
from segue.encoders import Encoder
from segue.files import JsonObject
from segue.types import Bank, Progress, no_progress

MAXIMUM_SENTENCES = 6
"""Maximum number of sentences of a passage."""
BEGINNING, END = 3, 2
"""Sentences kept from the beginning and the end of a longer passage; those in between become one."""
SHORTEST = 30
"""A piece of fewer characters joins the one before it; Latin letters, see ``prose.characters``."""
LONGEST = 200
"""A sentence of more characters is divided."""
FORMAT = 1
"""Version of the stored files; raised when vectors are stored in another way."""


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


class SentenceCutting:
    """Cuts passages into sentences."""

    name, most = "sentences", MAXIMUM_SENTENCES

    @property
    def settings(self) -> JsonObject:
        """Return the rules of cutting."""
        return {"format": FORMAT, "most": MAXIMUM_SENTENCES, "beginning": BEGINNING, "end": END, "shortest": SHORTEST,
                "longest": LONGEST}  # fmt: skip

    def stored_as(self, dimension: int) -> np.dtype[Any]:
        """Return a vector of float16."""
        return np.dtype((np.float16, (dimension,)))

    def prepare(self, bank: Bank, encoder: Encoder, folder: Path) -> None:
        """Do nothing: nothing is fitted."""

    def cut(self, texts: Sequence[str], language: str) -> list[list[str]]:
        """Return the sentences of each text."""
        return [split_sentences(text, language) for text in texts]

    def encode(self, cut: Sequence[Sequence[str]], encoder: Encoder, progress: Progress) -> Packed:
        """Encode the sentences of some texts."""
        vectors = encoder.encode([sentence for sentences in cut for sentence in sentences], progress=progress)
        return vectors.astype(np.float16), np.array([len(sentences) for sentences in cut], dtype=np.uint8)


def build_sentences(
    bank: Bank, load_encoder: Callable[[], Encoder], folder: Path, *, progress: Progress = no_progress
) -> PieceVectors:
    """Encode the sentences of every passage, or open them where that was done; see ``build_pieces``."""
    return build_pieces(SentenceCutting(), bank, load_encoder, folder, progress=progress)


def widened(vectors: Float16[np.ndarray, "piece dim"], dtype: torch.dtype) -> np.ndarray:
    """Convert float16 vectors to a wider type, by PyTorch, which is 20 times as fast as NumPy."""
    return torch.from_numpy(vectors).float().to(dtype).numpy()
