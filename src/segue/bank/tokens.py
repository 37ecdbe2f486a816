"""Tokens of passages: vectors of the first 32 and the last 48 tokens of each, as the bank's encoder leaves them before
pooling, reduced to 64 components and stored as whole numbers of one byte.

The reduction is an analysis of principal components of tokens of this bank; it is fitted once per bank and encoder and
kept, so that blocks stay valid when documents are appended. A token is stored with its number in the encoder's
vocabulary. Products of stored vectors are whole numbers below 2²⁴, so float32 computes them exactly in any order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int8

from segue.bank.pieces import Packed, PieceVectors, build_pieces, hash_of, stated
from segue.encoders import Encoder
from segue.encoders.encoder import TokenEncoder
from segue.errors import InputError
from segue.files import JsonObject, write_npy
from segue.types import Bank, Progress, no_progress

BEGINNING, END = 32, 48
"""Tokens kept from the beginning and from the end of a longer passage."""
COMPONENTS = 64
LARGEST = 127
"""Absolute value of the largest component of a stored vector."""
SAMPLE = 512
"""Passages, evenly spread, whose tokens the reduction is fitted to."""
TEXTS_AT_ONCE = 256
"""Texts whose tokens are in memory at once before they are reduced."""
FORMAT = 1
"""Version of the stored files; raised when tokens are stored in another way."""


class TokenCutting:
    """Cuts passages into tokens.

    Args:
        folder: folder of the stored tokens and of the reduction.
    """

    name, most = "tokens", BEGINNING + END

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def settings(self) -> JsonObject:
        """Return what is kept of a passage and of a vector."""
        return {"format": FORMAT, "beginning": BEGINNING, "end": END, "components": COMPONENTS}

    def stored_as(self, dimension: int) -> np.dtype[Any]:
        """Return a structure of a token's number and its vector."""
        return np.dtype([("token", "<i4"), ("vector", "i1", (min(COMPONENTS, dimension),))])

    def prepare(self, bank: Bank, encoder: Encoder, folder: Path) -> None:
        """Fit the reduction to tokens of passages that are spread over the bank.

        Raises:
            InputError: the encoder gives no vectors of tokens.
        """
        path = self._reduction_path(encoder)
        if not path.exists():
            rows = np.unique(np.linspace(0, max(len(bank) - 1, 0), min(SAMPLE, len(bank))).round().astype(np.int64))
            found = _require_tokens(encoder).encode_tokens(bank.texts(rows))
            write_npy(path, fit_reduction(np.concatenate([vectors for _, vectors in found])))

    def cut(self, texts: Sequence[str], language: str) -> list[str]:
        """Return the texts: the encoder cuts them."""
        return list(texts)

    def encode(self, cut: Sequence[str], encoder: Encoder, progress: Progress) -> Packed:
        """Encode, reduce and round the tokens of some texts."""
        reader, reduction = _require_tokens(encoder), self._reduction(self._reduction_path(encoder))
        found: list[np.ndarray] = []
        for start in range(0, len(cut), TEXTS_AT_ONCE):
            for numbers, vectors in reader.encode_tokens(cut[start : start + TEXTS_AT_ONCE]):
                kept = np.r_[:BEGINNING, len(numbers) - END : len(numbers)] if len(numbers) > self.most else slice(None)
                stored = np.empty(len(numbers[kept]), dtype=self.stored_as(vectors.shape[1]))
                stored["token"], stored["vector"] = numbers[kept], rounded(vectors[kept] @ reduction)
                found.append(stored)
            progress(len(found), len(cut), "tokens encoded")
        empty = np.empty(0, dtype=self.stored_as(encoder.space.dimension))
        return np.concatenate([empty, *found]), np.array([len(tokens) for tokens in found], dtype=np.uint8)

    def _reduction_path(self, encoder: Encoder) -> Path:
        return self.folder / f"reduction-{hash_of([stated(encoder.space), self.settings])}.npy"

    @functools.cache  # noqa: B019 - one small matrix for the life of the bank
    def _reduction(self, path: Path) -> Float[np.ndarray, "dim component"]:
        return np.load(path)


def fit_reduction(vectors: Float[np.ndarray, "token dim"]) -> Float[np.ndarray, "dim component"]:
    """Return the directions that keep most of the cosines: the first principal components, not centred, float32.

    Args:
        vectors: vectors of tokens; their lengths do not count.

    >>> fit_reduction(np.array([[3.0, 0.0], [0.0, 1.0], [5.0, 0.0]])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    unit = vectors.astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    _, directions = np.linalg.eigh(unit.T @ unit)
    directions = directions[:, ::-1][:, :COMPONENTS]
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
    return (directions * signs).astype(np.float32)


def rounded(vectors: Float[np.ndarray, "token component"]) -> Int8[np.ndarray, "token component"]:
    """Return whole numbers in the directions of ``vectors``, the largest component of each 127.

    >>> rounded(np.array([[0.5, -1.0, 0.0]])).tolist()
    [[64, -127, 0]]
    """
    largest = np.maximum(np.abs(vectors).max(axis=1, keepdims=True, initial=0.0), 1e-12)
    return np.rint(vectors * (LARGEST / largest)).astype(np.int8)


def _require_tokens(encoder: Encoder) -> TokenEncoder:
    """Check that an encoder gives vectors of tokens.

    Raises:
        InputError: it does not.
    """
    if not isinstance(encoder, TokenEncoder):
        raise InputError("the encoder gives no vectors of tokens", got=encoder.space.encoder,
                         expected="a transformer of sentence-transformers, or an encoder with encode_tokens",
                         fix="leave the feature group 'tokens' out")  # fmt: skip
    return encoder


def build_tokens(
    bank: Bank, load_encoder: Callable[[], Encoder], folder: Path, *, progress: Progress = no_progress
) -> PieceVectors:
    """Encode the tokens of every passage, or open them where that was done; see ``build_pieces``."""
    return build_pieces(TokenCutting(folder), bank, load_encoder, folder, progress=progress)
