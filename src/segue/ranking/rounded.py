"""Products of vectors rounded to bfloat16 or to 8-bit integers, with a proven bound of their error.

They take a half or a quarter of the memory and, where the processor multiplies such numbers, a half to a sixth of the
time of float32. With x̂ for x after rounding::

    |q̂·x̂ - q·x| ≤ ‖q - q̂‖·‖x‖ + ‖q̂‖·‖x - x̂‖                (Cauchy–Schwarz)

The lengths are measured: those of each query, and the largest of a block of rows.

- bfloat16: the float32 sum of the products adds its own error (see ``pool.rounding_bound``), and rounding the result to
  bfloat16 at most 2⁻⁸ of it.
- int8: a vector is a step times integers from -127 to 127. A query has a step of its own, a block of rows has one
  together, so that scores are compared as integers. Sums of products are exact below 133,000 components.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32
from torch import Tensor

RoundedKind = Literal["bfloat16", "int8"]
Line = Float32[np.ndarray, "batch"] | Int32[np.ndarray, "batch"]

LARGEST = 127
"""Largest integer of a component."""
_INT32 = np.iinfo(np.int32)
_SUM = 2.0**-24
_RESULT = 2.0**-8 * 1.001
_AT_ONCE = 256
_ROUNDED_LENGTHS = 1.0001  # lengths are measured in float32 themselves
_ROUNDED_STEPS = 2.0**-22  # so are the products of steps and integers


@dataclass(frozen=True)
class Rounded:
    """Rounded vectors, with the lengths that bound the error.

    Attributes:
        kind: what they were rounded to.
        vectors: the rounded vectors; for int8 in units of ``step``.
        step: value of 1 in each vector; 1 for bfloat16.
        length: upper bound of the length of each vector, before and after rounding.
        moved: length of the difference that rounding made.
    """

    kind: RoundedKind
    vectors: Tensor
    step: Float32[np.ndarray, "rows"]
    length: Float[np.ndarray, "rows"]
    moved: Float[np.ndarray, "rows"]

    @classmethod
    def of(
        cls,
        vectors: Float32[np.ndarray, "rows dim"],
        kind: RoundedKind,
        mapped: Callable[..., Iterable[Any]] = map,
        *,
        one_step: bool = False,
    ) -> Rounded:
        """Round vectors, in parts that fit into the cache.

        Args:
            vectors: finite vectors.
            kind: what to round them to.
            mapped: calls a function for each part.
            one_step: give all vectors the same step.
        """
        exact = torch.from_numpy(np.require(vectors, np.float32, ["C", "W"]))  # copies vectors mapped from disk
        parts = [slice(begin, begin + _AT_ONCE) for begin in range(0, len(exact), _AT_ONCE)]
        step = torch.ones(len(exact), 1)
        rounded = torch.empty(exact.shape, dtype=getattr(torch, kind))
        length, moved = torch.empty(len(exact)), torch.empty(len(exact))

        def find_step(some: slice) -> None:
            torch.amax(exact[some].abs(), dim=1, keepdim=True, out=step[some])

        def round_part(some: slice) -> None:
            torch.linalg.vector_norm(exact[some], dim=1, out=length[some])
            if kind == "int8":
                units = exact[some] / step[some]
                whole = units.round().clamp_(-LARGEST, LARGEST)  # a denormal step is itself rounded
                rounded[some] = whole
                torch.linalg.vector_norm(whole.sub_(units), dim=1, out=moved[some])
            else:
                rounded[some] = exact[some]
                torch.linalg.vector_norm(rounded[some].float().sub_(exact[some]), dim=1, out=moved[some])

        if kind == "int8" and len(exact):
            list(mapped(find_step, parts))
            step.div_(LARGEST)
            step[...] = step.max() if one_step else step
            step[step == 0] = 1.0
        list(mapped(round_part, parts))
        steps, lengths = step[:, 0].numpy(), _ROUNDED_LENGTHS * length.double().numpy()
        differences = _ROUNDED_LENGTHS * moved.double().numpy() * steps
        if kind == "int8":
            differences += _ROUNDED_STEPS * lengths
        return cls(kind, rounded, steps, lengths + differences, differences)

    def take(self, which: slice) -> Rounded:
        """Return some of the vectors."""
        return Rounded(self.kind, self.vectors[which], self.step[which], self.length[which], self.moved[which])


@dataclass(frozen=True)
class RoundedScores:
    """Scores of rounded vectors, and how far the exact ones may be from them.

    Attributes:
        scores: q̂·x̂, rounded to bfloat16, as float32; or as int32, in units of ``step``.
        error: bound of each query's error, before the result was rounded to bfloat16.
        step: value of 1 in each query's scores; 1 for bfloat16.
    """

    scores: Float32[np.ndarray, "batch rows"] | Int32[np.ndarray, "batch rows"]
    error: Float[np.ndarray, "batch"]
    step: Float[np.ndarray, "batch"]

    def lines(self, line: Float[np.ndarray, "batch"]) -> tuple[Line, Line]:
        """Return the bounds (low, high) that decide whether an exact product is above ``line``.

        It is not where the score is at most ``low``, and it is where the score is above ``high``.

        >>> low, high = RoundedScores(np.zeros((1, 1), np.float32), np.zeros(1), np.ones(1)).lines(np.array([0.5]))
        >>> bool(low[0] < 0.5 < high[0]), round(float(high[0] - low[0]), 4)
        (True, 0.0039)
        >>> RoundedScores(np.zeros((1, 1), np.int32), np.array([0.02]), np.array([0.01])).lines(np.array([0.505]))
        (array([47], dtype=int32), array([54], dtype=int32))
        """
        low, high = line - self.error, line + self.error
        if self.scores.dtype == np.int32:
            low, high = np.floor(low / self.step) - 1, np.ceil(high / self.step) + 1
            return (np.clip(low, _INT32.min, _INT32.max).astype(np.int32),
                    np.clip(high, _INT32.min, _INT32.max).astype(np.int32))  # fmt: skip
        low = np.where(low > 0, low / (1 + _RESULT), low / (1 - _RESULT))
        high = np.where(high > 0, high / (1 - _RESULT), high / (1 + _RESULT))
        return (
            np.nextafter(low.astype(np.float32), np.float32(-np.inf)),
            np.nextafter(high.astype(np.float32), np.float32(np.inf)),
        )


def multiply_integers(left: Tensor, right: Tensor, *, out: Tensor) -> None:
    """Write the product of ``left`` and the transpose of ``right``, both int8, as int32."""
    if left.shape[1] == 1:  # torch's product of single components is wrong
        torch.mul(left.int(), right.int().T, out=out)
    else:
        torch._int_mm(left, right.T, out=out)


def product(queries: Rounded, rows: Rounded, *, out: Float32[np.ndarray, "batch rows"]) -> RoundedScores:
    """Return the scores, in the memory of ``out``; rows of int8 have one step together."""
    longest, moved = rows.length.max(), rows.moved.max()
    error = queries.moved * longest + queries.length * moved
    if queries.kind == "int8":
        scores = out.view(np.int32)
        multiply_integers(queries.vectors, rows.vectors, out=torch.from_numpy(scores))
        return RoundedScores(scores, error, queries.step.astype(np.float64) * float(rows.step[0]))
    torch.from_numpy(out).copy_(queries.vectors @ rows.vectors.T)
    steps = (rows.vectors.shape[1] + 8) * _SUM
    summing = steps / (1 - steps) * np.maximum(queries.length, 1.0) * longest
    return RoundedScores(out, error + summing, queries.step)
