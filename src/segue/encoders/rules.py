"""Rules of encoders.

Each rule is a function; its docstring states the reason. A broken rule raises ``AssertionError``. ``load_encoder``
checks them on every encoder of the user's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from segue.encoders.encoder import Encoder
from segue.encoders.own import as_encoder
from segue.encoders.space import COSINE_TOLERANCE, PROBES, Space
from segue.errors import InputError


def subject(make: Callable[[], Any]) -> Encoder:
    """Return a new encoder, as it is used: a function gets its space here."""
    return as_encoder(make(), name="encoder")


def check_encoder(encoder: object, *, name: str = "encoder") -> None:
    """Check every rule on an encoder.

    Raises:
        InputError: names the first rule that is broken.
    """
    for rule in RULES:
        try:
            rule(encoder)
        except AssertionError as error:
            words = rule.__name__.removeprefix("check_").replace("_", "-")
            raise InputError(f"{name} breaks the contract of encoders", got=str(error), expected=words) from error


def check_interface(encoder: Any) -> None:
    """Check that there are a space and a method encode(texts, progress=...), which building a bank calls."""
    found = isinstance(encoder, Encoder) and isinstance(encoder.space, Space)
    assert found, "no attribute space, a segue.encoders.space.Space, or no method encode(texts, progress=...)"
    encoder.encode(["Snow"], progress=lambda done, total, note: None)


def check_unit_float32_vectors(encoder: Any) -> None:
    """Check that each text gets one float32 vector of length 1, since the index compares by inner product."""
    vectors, dimension = encoder.encode(PROBES), encoder.space.dimension
    got = f"{vectors.dtype} {vectors.shape}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
    expected = f"a float32 array of shape {(len(PROBES), dimension)}"
    assert got == f"float32 {(len(PROBES), dimension)}", f"{got}, expected {expected}"
    lengths = np.linalg.norm(vectors, axis=1)
    assert np.abs(lengths - 1).max() <= 1e-3, f"lengths {lengths.min():.4f} to {lengths.max():.4f}, expected 1"


def check_no_texts_no_vectors(encoder: Any) -> None:
    """Check that an empty list gives an array without rows; banks of no new passages and servers ask for that."""
    shape, dimension = np.shape(encoder.encode([])), encoder.space.dimension
    assert shape == (0, dimension), f"shape {shape} for an empty list, expected {(0, dimension)}"


def check_same_bytes_again(encoder: Any) -> None:
    """Check that the same texts always get the same bytes, since a resumed build has to equal an uninterrupted one."""
    first, again = encoder.encode(PROBES), encoder.encode(PROBES)
    assert np.array_equal(first, again), "different vectors the second time"


def check_fingerprint_of_its_space(encoder: Any) -> None:
    """Check that the space's fingerprint is the vectors of PROBES: banks and bundles are compared by it."""
    known = encoder.space.fingerprint
    same = known is not None and _same(encoder.encode(PROBES), known)
    assert same, "a fingerprint that differs from its vectors of PROBES, expected space.fingerprint = encode(PROBES)"


def check_same_vectors_alone_and_in_a_batch(encoder: Any) -> None:
    """Check that a text's vector depends on that text alone, not on its batch or its place there."""
    together, alone = encoder.encode(PROBES), np.concatenate([encoder.encode([text]) for text in PROBES])
    assert _same(together, alone), "different vectors for texts encoded together and one by one"


RULES: tuple[Callable[[Any], None], ...] = (
    check_interface,
    check_unit_float32_vectors,
    check_no_texts_no_vectors,
    check_same_bytes_again,
    check_fingerprint_of_its_space,
    check_same_vectors_alone_and_in_a_batch,
)


def _same(a: Float[np.ndarray, "text dim"], b: np.ndarray) -> bool:
    """Return whether two sets of unit vectors agree within the tolerance of one space."""
    return a.shape == b.shape and bool(np.einsum("td,td->t", a, b).min() >= 1 - COSINE_TOLERANCE)
