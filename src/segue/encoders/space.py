"""Embedding spaces: what must agree before two sets of vectors may be compared.

A name is not enough: GTR-T5 exists in two incompatible forms (with and without its dense layer) under one name. So a
space has a *fingerprint*, the encoder's vectors of eight fixed probe texts. Wherever two spaces meet (bank, checkpoint,
index, bundle, server) the fingerprints are compared; names, pooling and prompts only explain a difference.

The tolerance is 1e-3 in cosine: bfloat16 and float32 differ by less than 1e-4 on every probe, while other pooling,
truncation, prompts or weights differ by 1e-2 or more on at least one. Lengths are compared too, since vectors that were
not normalised have the right direction.

int8 is a space of its own whatever the fingerprints say: its vectors are as far from float32 as the tolerance, and on
some texts further.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from segue.errors import InputError, SpaceError
from segue.files import JsonObject

Precision = Literal["float32", "bfloat16", "int8"]

COSINE_TOLERANCE = 1e-3
"""Largest 1 − cosine between two fingerprints of one space, per probe."""

LENGTH_TOLERANCE = 1e-2
"""Largest difference between the lengths of two fingerprint vectors of one space."""

PROBE_LIST = 1
"""Version of the list of probe texts; raised when one changes, since old fingerprints are then meaningless."""

_TOPICS = (
    "The glacier retreated up the valley and left a lake behind its moraine.",
    "Parliament debated the budget until midnight and adjourned without a vote.",
    "A hash table keeps its entries in buckets chosen by the hash of the key.",
    "The violinist tuned her instrument before the second movement began.",
    "Enzymes lower the energy that a chemical reaction needs to start.",
    "The goalkeeper saved two penalties and the match ended in a draw.",
)

PROBES: tuple[str, ...] = (
    "Snow",
    "The cat sat on the mat.",
    "What is the capital of Mongolia?",
    "In 1969 the mission lasted 8 days, 3 hours and 18 minutes; it cost 355,000,000 dollars (0.4 % of the budget).",
    "Ζεύς, 北京市, Владивосток, naïve café, الخط العربي: five scripts in one line – and an emoji 🚀.",
    "for row in range(len(bank)): total += bank[row].score  # see https://example.org/docs?page=2",
    "Albedo is the fraction of sunlight that a surface reflects. Fresh snow reflects most of it, while the open ocean "
    "absorbs nearly all. When ice melts, darker water takes its place, more heat is absorbed, and more ice melts: "
    "climatologists call this the ice-albedo feedback. Cities change the albedo of their surroundings as well.",
    # About 1,000 tokens whose subject changes every 160 or so, so that each usual length limit makes a difference.
    " ".join(topic for topic in _TOPICS for _ in range(12)),
)
"""Probe texts: a word, a sentence, a question, numbers, scripts, code, a passage, a text longer than encoders read."""


@dataclass(frozen=True, eq=False)
class Space:
    """Everything that decides which vector a text gets. Compare two with ``difference``, never with ``==``.

    Attributes:
        encoder: hub id, folder name or import path.
        revision: hub revision, or sha256 of the weights.
        dimension: components of a vector.
        pooling: how token vectors become one vector, e.g. ``mean`` or ``mean+dense``.
        normalised: whether vectors have length 1.
        prompt: text put before every passage.
        maximum_tokens: longer texts are cut; None where the encoder has no limit.
        precision: arithmetic of the encoder; the vectors themselves are float32.
        fingerprint: vectors of ``PROBES``; None where the encoder is unknown.
        declared: True where the vectors were imported, so that nothing here could be checked.
    """

    encoder: str
    revision: str
    dimension: int
    pooling: str
    normalised: bool
    prompt: str
    maximum_tokens: int | None
    precision: Precision
    fingerprint: Float[np.ndarray, "probe dim"] | None
    declared: bool = False

    def to_json(self) -> JsonObject:
        """Return the space as JSON values, with the fingerprint as base64 of little-endian float32."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.fingerprint is not None:
            values["fingerprint"] = base64.b64encode(self.fingerprint.astype("<f4").tobytes()).decode("ascii")
            values["probe_list"] = PROBE_LIST
        return values

    @classmethod
    def from_json(cls, values: JsonObject) -> Space:
        """Return the space that ``to_json`` wrote.

        Raises:
            InputError: keys are missing or unknown, or the fingerprint is of another list of probes.
        """
        values = dict(values)
        probe_list = values.pop("probe_list", PROBE_LIST)
        if probe_list != PROBE_LIST:
            raise InputError(
                "fingerprint is of another list of probe texts",
                got=f"list {probe_list}",
                expected=f"list {PROBE_LIST}",
                fix="build it again with this version, or use the version that wrote it",
            )
        try:
            text = values["fingerprint"]
            numbers = None if text is None else np.frombuffer(base64.b64decode(text), dtype="<f4")
            values["fingerprint"] = None if numbers is None else numbers.reshape(-1, values["dimension"]).astype("f4")
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("not a space", got=f"{type(error).__name__}: {error}") from error


def declared_space(encoder: str, dimension: int) -> Space:
    """Return the space of vectors made elsewhere, which cannot be checked."""
    return Space(
        encoder=encoder,
        revision="",
        dimension=dimension,
        pooling="",
        normalised=True,
        prompt="",
        maximum_tokens=None,
        precision="float32",
        fingerprint=None,
        declared=True,
    )


def difference(a: Space, b: Space) -> str | None:
    """Return None where two spaces are the same within tolerance, otherwise what differs.

    Two fingerprints decide, and int8 differs from all else. Where a fingerprint is missing, the stated properties are
    compared.

    >>> difference(declared_space("gtr", 768), declared_space("gtr", 768)) is None
    True
    >>> difference(declared_space("gtr", 768), declared_space("minilm", 384))
    '768 dimensions (gtr) against 384 (minilm)'
    """
    if a.dimension != b.dimension:
        return f"{a.dimension} dimensions ({a.encoder}) against {b.dimension} ({b.encoder})"
    stated = ", ".join(_stated(a, b))
    if a.fingerprint is None or b.fingerprint is None:
        return f"different {stated}" if stated else None
    if a.precision != b.precision and "int8" in (a.precision, b.precision):
        return f"precision {a.precision} against {b.precision}"
    measured = _measured(a.fingerprint, b.fingerprint)
    if measured is None:
        return None
    return f"{measured}; different {stated}" if stated else f"{measured}, although both are called {a.encoder}"


def require_same(a: Space, b: Space, where: str) -> None:
    """Check that two spaces are the same.

    Args:
        a: the first space.
        b: the second space.
        where: what they belong to, for the message, e.g. ``"bank and checkpoint"``.

    Raises:
        SpaceError: they differ by more than the tolerance.
    """
    found = difference(a, b)
    if found:
        fix = f"use {a.encoder} with the same pooling, prompt, length and precision on both sides"
        raise SpaceError(f"{where} are not in the same embedding space", got=found, fix=fix)


def with_fingerprint(space: Space, fingerprint: Float[np.ndarray, "probe dim"]) -> Space:
    """Return ``space`` with its measured fingerprint."""
    return replace(space, fingerprint=fingerprint)


def _measured(a: Float[np.ndarray, "probe dim"], b: Float[np.ndarray, "probe dim"]) -> str | None:
    """Describe how two fingerprints differ: first their lengths, then their directions."""
    lengths_a, lengths_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    worst = int(np.argmax(np.abs(lengths_a - lengths_b)))
    if not abs(lengths_a[worst] - lengths_b[worst]) <= LENGTH_TOLERANCE:
        return f"probe vectors have length {lengths_a[worst]:.3f} against {lengths_b[worst]:.3f}"
    cosines = np.einsum("pd,pd->p", a, b) / np.maximum(lengths_a * lengths_b, 1e-12)  # [probe]
    if not cosines.min() >= 1 - COSINE_TOLERANCE:
        return f"the vectors of probe {int(np.argmin(cosines))} have cosine {cosines.min():.4f}"
    return None


def _stated(a: Space, b: Space) -> list[str]:
    """List the stated properties that differ; a declared space states its encoder and ``normalised`` only."""
    known = ["encoder", "normalised"]
    if not (a.declared or b.declared):
        known += ["revision", "pooling", "prompt", "maximum_tokens"]
    pairs = ((name, getattr(a, name), getattr(b, name)) for name in known)
    return [f"{name} ({left!r} against {right!r})" for name, left, right in pairs if left != right]
