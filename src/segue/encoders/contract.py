"""What every encoder must keep, as a function: run it on an encoder of your own.

>>> from segue.encoders.contract import check_encoder  # doctest: +SKIP
>>> check_encoder(MyEncoder())  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from segue.encoders.space import COSINE_TOLERANCE, PROBES, Space
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.encoders import Encoder


def check_encoder(encoder: Encoder, *, name: str = "encoder") -> None:
    """Check that an encoder returns unit float32 vectors, in order, the same each time, and knows its own space.

    Raises:
        InputError: names the first thing that is not so.
    """
    space = getattr(encoder, "space", None)
    if not isinstance(space, Space) or not callable(getattr(encoder, "encode", None)):
        raise _broken(name, "no attribute space or no method encode()", "a Space and encode(texts, progress=...)")
    vectors = encoder.encode(PROBES)
    _check_form(vectors, len(PROBES), space.dimension, name)
    if encoder.encode([]).shape != (0, space.dimension):
        raise _broken(name, "another shape for no texts", f"an array of shape (0, {space.dimension})")
    if not np.array_equal(vectors, encoder.encode(PROBES)):
        raise _broken(name, "other vectors the second time", "the same bytes for the same texts")
    if space.fingerprint is None or not _same(vectors, space.fingerprint):
        raise _broken(name, "another fingerprint than its vectors of PROBES", "space.fingerprint = encode(PROBES)")
    alone = np.concatenate([encoder.encode([text]) for text in PROBES])
    if not _same(vectors, alone):
        raise _broken(name, "other vectors for texts encoded together than one by one", "the order of the texts")


def _check_form(vectors: object, count: int, dimension: int, name: str) -> None:
    if not isinstance(vectors, np.ndarray) or vectors.dtype != np.float32 or vectors.shape != (count, dimension):
        got = f"{vectors.dtype} {vectors.shape}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise _broken(name, got, f"a float32 array of shape ({count}, {dimension})")
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.abs(lengths - 1).max() <= 1e-3:
        raise _broken(name, f"lengths {lengths.min():.4f} to {lengths.max():.4f}", "vectors of length 1")


def _same(a: Float[np.ndarray, "text dim"], b: np.ndarray) -> bool:
    """Tell whether two sets of unit vectors agree as well as one space must."""
    return a.shape == b.shape and bool(np.einsum("td,td->t", a, b).min() >= 1 - COSINE_TOLERANCE)


def _broken(name: str, got: str, expected: str) -> InputError:
    return InputError(f"{name} breaks the contract of encoders", got=got, expected=expected)
