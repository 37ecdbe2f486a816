"""A fast encoder for tests: each text's vector is drawn from the text's hash, so no model is needed."""

from __future__ import annotations

import hashlib

import numpy as np

from segue.encoders.space import PROBES, Space


class HashEncoder:
    """Unit vectors drawn from the sha256 of each text; ``salt`` makes it another encoder."""

    def __init__(self, dimension: int = 8, salt: str = "", limit: int | None = None, name: str = "hash") -> None:
        self.dimension, self.salt, self.limit = dimension, salt, limit
        self.encoded: list[str] = []
        self.space = Space(name, salt, dimension, "none", True, "", None, "float32", self.vectors(PROBES))

    def vectors(self, texts) -> np.ndarray:
        seeds = [int.from_bytes(hashlib.sha256((self.salt + text).encode()).digest()[:8], "big") for text in texts]
        rows = [np.random.default_rng(seed).standard_normal(self.dimension) for seed in seeds]
        vectors = np.array(rows, dtype=np.float64).reshape(len(rows), self.dimension)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def encode(self, texts, *, progress=lambda *_: None) -> np.ndarray:
        if self.limit is not None and len(self.encoded) + len(texts) > self.limit:
            raise KeyboardInterrupt
        self.encoded += texts
        progress(len(texts), len(texts), "passages encoded")
        return self.vectors(texts)

    def encode_tokens(self, texts) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return a token per word; a word's number and vector depend on the word alone."""
        if self.limit is not None and len(self.encoded) + len(texts) > self.limit:
            raise KeyboardInterrupt
        self.encoded += texts
        return [(np.array([token_number(word) for word in text.split()], dtype=np.int64), self.vectors(text.split()))
                for text in texts]  # fmt: skip


def token_number(word: str) -> int:
    """Return the number of a word in the vocabulary, below 500."""
    return hashlib.sha256(word.encode()).digest()[0] + 100 * len(word) % 200
