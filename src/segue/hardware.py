"""The machine: its devices and threads, and its description in reports."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import joblib

from segue.errors import InputError

Device = Literal["auto", "cpu", "cuda", "mps"]


def choose_device(name: Device = "auto") -> str:
    """Return ``cuda``, ``mps`` or ``cpu``; ``auto`` means the first of them that is available.

    Raises:
        InputError: the named device is not available.
    """
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if present[device])
    if not present.get(name):
        found = ", ".join(device for device, there in present.items() if there)
        raise InputError("device is not available", got=name, expected=found, fix="use --device auto")
    return name


@functools.cache
def processor(key: str) -> str:
    """Return the first value of a key in ``/proc/cpuinfo``, "" where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def usable_cores() -> int:
    """Return the number of cores this process may use; LOKY_MAX_CPU_COUNT lowers it."""
    return joblib.cpu_count()


def limit_threads(count: int | None = None) -> int:
    """Give FAISS, torch and BLAS the same number of threads, by default one per usable core."""
    import faiss
    import torch
    from threadpoolctl import threadpool_limits

    count = count or int(os.environ.get("OMP_NUM_THREADS", usable_cores()))
    threadpool_limits(count)
    torch.set_num_threads(count)
    faiss.omp_set_num_threads(count)
    return count


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Limit FAISS, torch and BLAS to ``count`` threads, and restore their limits at the end."""
    import faiss
    import torch
    from threadpoolctl import threadpool_limits

    torch_threads, faiss_threads = torch.get_num_threads(), faiss.omp_get_max_threads()
    try:
        with threadpool_limits(count):
            torch.set_num_threads(count)
            faiss.omp_set_num_threads(count)
            yield
    finally:
        torch.set_num_threads(torch_threads)
        faiss.omp_set_num_threads(faiss_threads)


def describe_machine() -> dict[str, str | float]:
    """Return processor, cores, memory and the versions that shape results, without the machine's name."""
    import faiss
    import numpy
    import psutil
    import torch

    name = processor("model name") or platform.processor() or "unknown"
    units = sorted({"amx_bf16", "avx512f", "avx2"}.intersection(processor("flags").split()))
    return {
        "cpu": f"{name} ({', '.join(units)})" if units else name,
        "cores": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "faiss": faiss.__version__,
    }
