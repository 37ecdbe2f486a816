"""An encoder that needs no model: words and pairs of words, hashed to the components of a vector."""

from itertools import pairwise
from zlib import crc32

import numpy as np

from segue.encoders.space import PROBES, Space


class HashedWords:
    """Counts of hashed words; the same text has the same vector on every machine."""

    def __init__(self, dimension: int = 256) -> None:
        self.dimension = dimension
        self.space = Space(
            encoder="hashed-words", revision="1", dimension=dimension, pooling="sum", normalised=True, prompt="",
            maximum_tokens=None, precision="float32", fingerprint=self.encode(PROBES),
        )  # fmt: skip

    def encode(self, texts, *, progress=lambda done, total, note: None):
        """Return one float32 unit vector for each text: [text, dim]."""
        counts = np.zeros((len(texts), self.dimension))
        for row, text in enumerate(texts):
            words = text.lower().split()
            for term in ["", *words, *map(" ".join, pairwise(words))]:
                counts[row, crc32(term.encode()) % self.dimension] += 1
        progress(len(texts), len(texts), "passages encoded")
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)
