"""Encoders of the user's own: any function from texts to vectors is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from segue.encoders.encoder import Encoder
from segue.encoders.space import PROBES, Space
from segue.errors import InputError
from segue.types import Progress, no_progress

BATCH = 64
"""Texts that a function is called with at once."""


def as_encoder(part: Any, *, name: str) -> Encoder:
    """Return an encoder as it is, or make one of a function; ``name`` is what its space is called.

    Raises:
        InputError: it is neither, or a function returns no vectors, or of a wrong shape.
    """
    if callable(part) and not hasattr(part, "encode"):
        return FunctionEncoder(part, name)
    if not (hasattr(part, "encode") and hasattr(part, "space")):
        expected = "an object with `space` and `encode`, or a function from texts to vectors"
        raise InputError(f"{name} is no encoder", got=type(part).__name__, expected=expected)
    return cast(Encoder, part)


class FunctionEncoder:
    """An encoder of a function ``texts -> array``; its vectors are brought to length 1.

    Args:
        function: returns one vector per text, in order, any length but 0.
        name: name of the space.
    """

    def __init__(self, function: Callable[[list[str]], Any], name: str) -> None:
        self.function, self.name = function, name
        probes = self._vectors(PROBES)
        self.space = Space(name, "", probes.shape[1], "", True, "", None, "float32", probes)

    def encode(self, texts: Sequence[str], *, progress: Progress = no_progress) -> Float[np.ndarray, "text dim"]:
        """Return one float32 unit vector per text, in order."""
        parts = [np.empty((0, self.space.dimension), dtype=np.float32)]
        for start in range(0, len(texts), BATCH):
            parts.append(self._vectors(texts[start : start + BATCH]))
            progress(min(start + BATCH, len(texts)), len(texts), "passages encoded")
        return np.concatenate(parts)

    def _vectors(self, texts: Sequence[str]) -> Float[np.ndarray, "text dim"]:
        vectors = np.asarray(self.function(list(texts)), dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
        if vectors.ndim != 2 or len(vectors) != len(texts) or not (np.isfinite(lengths) & (lengths > 0)).all():
            raise InputError(f"encoder {self.name} returned no vectors", got=f"an array of shape {vectors.shape}",
                             expected=f"{len(texts)} finite vectors that are not 0, one for each text",
                             fix="correct the function")  # fmt: skip
        return vectors / lengths
