"""Arithmetic chosen by measuring: which kind of product is quickest on this machine, for each work that multiplies.

The flags of a processor say what it can do, not what is quick: where bfloat16 is emulated, or runs in units that wait
for memory, it is several times slower than float32. So products of the shapes in use are timed once for each processor
and set of library versions, in less than half a second, and the answer is kept in the user's cache folder.

One thread is timed, by its own processor time, so that neither the number of threads nor other work changes the choice
within a run. ``SEGUE_ARITHMETIC="encoder=float32,ranks=int8"`` overrides single choices.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from typing import Literal, get_args

from segue.errors import InputError, SettingsError, StorageError
from segue.files import read_json, write_json
from segue.hardware import describe_machine, processor, threads
from segue.storage import cache_folder

Work = Literal["encoder", "loss", "scores", "ranks"]
"""What multiplies: a transformer's layers, a loss against all passages, exact scores, and exact ranks."""
Kind = Literal["float32", "bfloat16", "int8", "numpy"]
"""PyTorch's products in float32, bfloat16 or 8-bit integers, or NumPy's in float32."""

VARIABLE = "SEGUE_ARITHMETIC"
"""Environment variable that overrides choices."""
SHAPES: dict[Work, tuple[int, int, int]] = {
    "encoder": (512, 384, 1536),
    "loss": (512, 384, 2048),
    "scores": (256, 384, 4096),
    "ranks": (256, 384, 4096),
}
"""Rows, inner dimension and columns of the timed products."""
KINDS: dict[Work, tuple[Kind, ...]] = {
    "encoder": ("float32", "bfloat16"),
    "loss": ("float32", "bfloat16"),
    "scores": ("numpy", "float32"),
    "ranks": ("float32", "bfloat16", "int8"),
}
"""Kinds that each work can use, the preferred one among equals first. Ranks in float32 take what scores take."""
GAIN = 1.05
"""A kind replaces the preferred one only where it is faster by this factor, so that noise changes no choice."""
REPEATS = 4
HOPELESS = 4.0
"""A kind whose first product takes this many times the best time is not timed again."""

Table = dict[Work, dict[Kind, float]]
"""10⁹ operations a second of one thread, by work and kind."""


@functools.cache
def choices() -> dict[Work, Kind]:
    """Return the kind of product for each work: those of ``SEGUE_ARITHMETIC``, otherwise the quickest.

    Raises:
        SettingsError: the variable names an unknown work or kind.
    """
    given = _given(os.environ.get(VARIABLE, ""))
    if given.keys() == SHAPES.keys():
        return given
    found = measured()
    return {work: given.get(work) or quickest(work, found[work]) for work in SHAPES}


def has_fast_bfloat16(device: str, work: Work = "loss") -> bool:
    """Return whether bfloat16 is the quickest for a work on ``cpu``; on ``cuda``, whether the hardware has it."""
    if device == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported())
    return device == "cpu" and choices()[work] == "bfloat16"


def as_variable() -> str:
    """Return the choices as ``SEGUE_ARITHMETIC`` takes them, for processes that have to compute the same.

    >>> sorted(part.partition("=")[0] for part in as_variable().split(","))
    ['encoder', 'loss', 'ranks', 'scores']
    """
    return ",".join(f"{work}={kind}" for work, kind in choices().items())


def quickest(work: Work, speeds: Mapping[Kind, float]) -> Kind:
    """Return the kind that is fastest; one after the first has to be faster by ``GAIN``.

    >>> quickest("loss", {"float32": 100.0, "bfloat16": 105.0}), quickest("loss", {"float32": 100.0, "bfloat16": 220.0})
    ('float32', 'bfloat16')
    """
    preferred, *others = KINDS[work]
    best = max(others, key=lambda kind: speeds[kind])
    return best if speeds[best] > GAIN * speeds[preferred] else preferred


@functools.cache
def measured() -> Table:
    """Return the speeds of this machine, measured now or by an earlier process with the same libraries."""
    machine = {name: value for name, value in describe_machine().items() if name not in ("memory_gb", "cores")}
    about = {**machine, "flags": processor("flags"), "blas": os.environ.get("OPENBLAS_CORETYPE", "")}
    key = hashlib.sha256(repr(sorted(about.items())).encode()).hexdigest()[:16]
    path = cache_folder() / f"arithmetic-{key}.json"
    try:
        kept: Table = read_json(path)["gflops_of_one_thread"]
        if all(kept[work].keys() == set(kinds) for work, kinds in KINDS.items()):
            return kept
    except (InputError, KeyError, TypeError, AttributeError):
        pass  # not measured yet, or broken
    with threads(1):
        table: Table = {work: _time_kinds(work) for work in SHAPES}
    table["ranks"]["float32"] = max(table["scores"].values())
    with contextlib.suppress(StorageError):  # the next process measures again
        write_json(path, {"cpu": machine["cpu"], "gflops_of_one_thread": table})
    return table


def _given(text: str) -> dict[Work, Kind]:
    """Read ``SEGUE_ARITHMETIC``."""
    found: dict[Work, Kind] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, kind = part.partition("=")
        for work in get_args(Work):
            if name == work and kind in KINDS[work]:
                found[work] = kind
                break
        else:
            expected = "; ".join(f"{work}={' or '.join(kinds)}" for work, kinds in KINDS.items())
            raise SettingsError(f"{VARIABLE} is wrong", got=part, expected=expected)
    return found


def _time_kinds(work: Work) -> dict[Kind, float]:
    """Return the speed of each kind of product for a work."""
    rows, inner, columns = SHAPES[work]
    made = {kind: product(kind, rows, inner, columns) for kind in KINDS[work]}
    products = {kind: multiply for kind, multiply in made.items() if multiply}
    best = dict.fromkeys(products, float("inf"))
    for number in range(REPEATS + 1):  # in turns; the first one is to warm up
        for kind, multiply in products.items():
            if number < 2 or best[kind] < HOPELESS * min(best.values()):
                began = time.process_time()
                multiply()
                best[kind] = min(best[kind], time.process_time() - began)
    speeds = {kind: round(2e-9 * rows * inner * columns / max(seconds, 1e-9), 1) for kind, seconds in best.items()}
    return {kind: speeds.get(kind, 0.0) for kind in made}


def product(kind: Kind, rows: int, inner: int, columns: int) -> Callable[[], object] | None:
    """Return a product of two matrices with normal entries, as a function to time; None where it is wrong here."""
    import numpy as np
    import torch

    generator = np.random.default_rng(0)
    left, right = (generator.standard_normal((count, inner), dtype=np.float32) for count in (rows, columns))
    if kind == "numpy":
        return lambda: left @ right.T
    if kind == "int8":
        whole, other = (torch.from_numpy((20 * one).clip(-127, 127)).to(torch.int8) for one in (left, right))
        if not torch.equal(torch._int_mm(whole, other.T).double(), whole.double() @ other.double().T):
            return None
        return lambda: torch._int_mm(whole, other.T)
    dtype = getattr(torch, kind)
    a, b = torch.from_numpy(left).to(dtype), torch.from_numpy(right).to(dtype)
    return lambda: a @ b.T
