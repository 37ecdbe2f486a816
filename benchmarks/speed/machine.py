"""What the machine allows, measured in the same run: matrix products and bytes per second."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from segue.arithmetic import has_fast_bfloat16

_SIDE = 2048  # of the multiplied matrices: 3 × 16 MB in float32
_BYTES = 1 << 29  # read at once: far beyond the last cache
_TIMES = 5


def matmul_gflops() -> dict[str, float]:
    """Return the fastest product of two square matrices, in 10⁹ operations a second, in float32 and bfloat16."""
    import torch

    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        left, right = torch.randn(_SIDE, _SIDE).to(dtype), torch.randn(_SIDE, _SIDE).to(dtype)
        found[str(dtype).removeprefix("torch.")] = 2e-9 * _SIDE**3 / _fastest(partial(torch.mm, left, right))
    return {"hardware_bfloat16": float(has_fast_bfloat16("cpu"))} | {name: round(v, 1) for name, v in found.items()}


def read_gb_per_second() -> float:
    """Return how fast memory is read: the sum of an array that no cache holds, all threads."""
    import torch

    array = torch.ones(_BYTES // 4)
    return round(1e-9 * _BYTES / _fastest(array.sum), 1)


def _fastest(work: Callable[[], object]) -> float:
    """Return the shortest of some times, seconds: what the machine can do when nothing else disturbs it."""
    seconds = []
    for _ in range(_TIMES + 1):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])
