"""What the machine allows, measured in the same run: matrix products per second, bytes per second, other work on it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from segue.hardware import describe_machine, has_fast_bfloat16

_SIDE = 2048  # of the multiplied matrices: 3 × 16 MB in float32
_BYTES = 1 << 29  # read at once: far beyond the last cache
_TIMES = 5


def surroundings() -> dict[str, Any]:
    """Return machine, versions and commit, and how much other work ran: a load above our own threads disturbs."""
    one, five, _ = os.getloadavg()
    return {**describe_machine(), "commit": commit(), "load_before": round(one, 2), "load_5_minutes": round(five, 2)}


def commit() -> str | None:
    """Return the commit of the package's repository, with ``+`` where files were changed; None outside of one."""
    here = Path(__file__).parent
    name = _git(here, "rev-parse", "--short=10", "HEAD")
    return name and name + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")


def _git(where: Path, *words: str) -> str | None:
    try:
        answer = subprocess.run(["git", *words], cwd=where, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


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
