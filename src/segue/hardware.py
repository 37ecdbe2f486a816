"""The machine: which device, which arithmetic, how many threads; and its description for reports."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path
from typing import Any, Literal

from segue.errors import InputError

Device = Literal["auto", "cpu", "cuda", "mps"]


def choose_device(name: Device = "auto") -> str:
    """Return ``cuda``, ``mps`` or ``cpu``; ``auto`` takes the first that is there.

    Raises:
        InputError: the named device is not there.
    """
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if present[device])
    if not present[name]:
        found = ", ".join(device for device, there in present.items() if there)
        raise InputError("device is not available", got=name, expected=found, fix="use --device auto")
    return name


@functools.cache
def has_fast_bfloat16(device: str) -> bool:
    """Tell whether bfloat16 products run in hardware (CUDA, or a CPU with AMX or AVX-512 bf16 units)."""
    if device == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported())
    return device == "cpu" and bool({"amx_bf16", "avx512_bf16"} & _cpu_flags())


@functools.cache
def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.split(":")[1].split()) for line in lines if line.startswith("flags")), frozenset())


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(count: int | None = None) -> int:
    """Give every numeric library the same number of threads, once per process; default: all usable cores.

    FAISS, torch and BLAS each bring an OpenMP of their own; without a common limit they fight for the cores.
    """
    import faiss
    import torch
    from threadpoolctl import threadpool_limits

    count = count or int(os.environ.get("OMP_NUM_THREADS", usable_cores()))
    threadpool_limits(count)
    torch.set_num_threads(count)
    faiss.omp_set_num_threads(count)
    return count


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, memory and the versions that shape results; never the machine's name."""
    import faiss
    import numpy
    import psutil
    import torch

    return {
        "cpu": _processor(),
        "cores": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "faiss": faiss.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    units = sorted({"amx_bf16", "avx512f", "avx2"} & _cpu_flags())
    return f"{name} ({', '.join(units)})" if units else name
