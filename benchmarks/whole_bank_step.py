"""Time one step of whole-bank InfoNCE, forward and backward, beside the textbook formula that holds all logits.

    OMP_NUM_THREADS=2 python -m benchmarks.whole_bank_step [--json benchmarks/results/whole_bank_step.json]

The textbook formula is ``cross_entropy(q @ bank.T / τ)`` in float32. The three take turns, so that whatever else the
machine does meets all of them; ``faster`` is the ratio of the medians, between the ratios of the worst and the best
round. Both by the clock and by processor time (of all threads), which other work on the machine disturbs less; on a
machine that is not quiet OMP_WAIT_POLICY=passive keeps threads from waiting at full speed for each other.

Errors are against float64 with the same masks. Memory is what a step adds to the resident memory at its peak, for banks
of several sizes (Linux). Under a minute on a quiet machine.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.surroundings import surroundings
from segue.files import write_json
from segue.hardware import limit_threads
from segue.training.losses.whole_bank import TrainingBank, bank_info_nce, bfloat16_bound
from segue.types import Windows

DOCUMENT, CONTEXT = 40, 5  # passages of each document, and read before each target
TEMPERATURE = 0.05
SIZES = (10_000, 40_000, 160_000)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Passages:
    """As much of a bank as the loss reads: documents of one topic and one length, every text once."""

    def __init__(self, count: int, dimension: int) -> None:
        generator = np.random.default_rng(1)
        topic = np.repeat(generator.standard_normal((count // DOCUMENT, dimension), dtype=np.float32), DOCUMENT, axis=0)
        self.vectors = topic + generator.standard_normal(topic.shape, dtype=np.float32)  # cosine within one: about 0.5
        self.vectors /= np.linalg.norm(self.vectors, axis=1, keepdims=True)
        rows = np.arange(len(self.vectors))
        self.dimension, self.alive = dimension, np.ones(len(rows), dtype=bool)
        self.document_of, self.duplicate_group, self.first_row = rows // DOCUMENT, rows, rows[::DOCUMENT]

    def __len__(self) -> int:
        return len(self.vectors)

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Return vectors by row."""
        return self.vectors[rows]


@dataclass(frozen=True)
class Problem:
    """A bank, a batch of windows, and predictions at a cosine of about 0.5 to their targets."""

    query: Tensor
    target: Tensor
    context: Tensor
    vectors: Tensor
    candidates: dict[str, TrainingBank]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--bank", type=int, default=40_000, help="passages")
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    settings = {**vars(args), "json": None, "temperature": TEMPERATURE, "threads": limit_threads()}
    problem = make_problem(args.batch_size, args.bank, args.dimension)
    record: dict[str, Any] = {"environment": surroundings(), "settings": settings}
    record |= times(problem, args.rounds)  # "clock" and "processor"
    record["errors"] = errors(problem)
    record["added_memory_mb"] = {name: {str(size): added_memory(args, size, name) for size in SIZES} for name in DTYPES}
    for key in ("clock", "processor", "errors", "added_memory_mb"):
        print(key, record[key])
    if args.json:
        write_json(args.json, record)


def make_problem(batch: int, size: int, dimension: int) -> Problem:
    bank = Passages(size, dimension)
    generator = np.random.default_rng(2)
    all_targets = np.arange(len(bank)).reshape(-1, DOCUMENT)[:, CONTEXT:].ravel()
    windows = Windows(all_targets[:, None] - np.arange(CONTEXT, 0, -1), all_targets)
    some = windows.take(generator.choice(len(windows), batch, replace=False))
    noise = generator.standard_normal((batch, dimension), dtype=np.float32) * 1.7 / dimension**0.5
    candidates: dict[str, TrainingBank] = {}
    for name, dtype in DTYPES.items():
        candidates[name] = TrainingBank(bank, windows, dtype=dtype)  # type: ignore[arg-type]
        list(candidates[name].blocks())  # reads the vectors
    return Problem(
        functional.normalize(torch.from_numpy(bank.vectors[some.target] + noise), dim=1),
        torch.from_numpy(some.target),
        torch.from_numpy(some.context),
        torch.from_numpy(bank.vectors),
        candidates,
    )


def textbook(problem: Problem, *, dtype: torch.dtype = torch.float32, masked: bool = False) -> tuple[Tensor, Tensor]:
    """Return loss and gradient with all logits at once; masking is left out where it is timed, as it costs time."""
    query = problem.query.to(dtype).clone().requires_grad_()
    logits = query @ problem.vectors.to(dtype).T / TEMPERATURE
    if masked:
        logits = logits.scatter(1, problem.context, -torch.inf)
    loss = functional.cross_entropy(logits, problem.target)
    loss.backward()
    assert query.grad is not None
    return loss.detach(), query.grad


def whole_bank(problem: Problem, name: str) -> tuple[Tensor, Tensor]:
    """Return loss and gradient over the bank in blocks, context passages masked."""
    query = problem.query.clone().requires_grad_()
    loss = bank_info_nce(query, problem.vectors[problem.target], problem.candidates[name], temperature=TEMPERATURE,
                         groups=problem.target, context_groups=problem.context)  # fmt: skip
    loss.backward()
    assert query.grad is not None
    return loss.detach(), query.grad


def times(problem: Problem, rounds: int) -> dict[str, Any]:
    """Let the three take turns; the first turn of each is not counted."""
    steps: dict[str, Callable[[], object]] = {
        "textbook": lambda: textbook(problem),
        "float32": lambda: whole_bank(problem, "float32"),
        "bfloat16": lambda: whole_bank(problem, "bfloat16"),
    }
    found = {}
    for name, clock in (("clock", time.perf_counter), ("processor", time.process_time)):
        found[name] = compared(taken(steps, rounds, clock))
    return found


def taken(steps: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Return the milliseconds of each step in each round."""
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            began = clock()
            step()
            spent[name].append(1e3 * (clock() - began))
    return {name: values[1:] for name, values in spent.items()}


def compared(spent: dict[str, list[float]]) -> dict[str, Any]:
    medians = {name: statistics.median(values) for name, values in spent.items()}
    faster = {}
    for name in DTYPES:
        ratios = [slow / fast for slow, fast in zip(spent["textbook"], spent[name], strict=True)]
        faster[name] = [round(one, 2) for one in (min(ratios), medians["textbook"] / medians[name], max(ratios))]
    return {
        "median_ms": {name: round(value, 1) for name, value in medians.items()},
        "fastest_ms": {name: round(min(values), 1) for name, values in spent.items()},
        "faster": faster,
    }


def errors(problem: Problem) -> dict[str, Any]:
    """Return each path's error against float64: of the loss in nats, of the gradient relative to its length."""
    query = problem.query.double().clone().requires_grad_()
    logits = functional.normalize(query, dim=1) @ problem.vectors.double().T / TEMPERATURE
    exact = functional.cross_entropy(logits.scatter(1, problem.context, -torch.inf), problem.target)
    (gradient,) = torch.autograd.grad(exact, query)
    found: dict[str, Any] = {"loss": exact.item(), "bfloat16_bound": bfloat16_bound(TEMPERATURE)}
    for name in DTYPES:
        loss, own = whole_bank(problem, name)
        relative = float((own.double() - gradient).norm() / gradient.norm())
        found[name] = {"loss": abs(loss.item() - exact.item()), "gradient": relative}
    return found


def added_memory(args: argparse.Namespace, size: int, name: str) -> float:
    """Return by how many megabytes the resident memory rises at the peak of a step."""
    problem = make_problem(args.batch_size, size, args.dimension)
    ctypes.CDLL(None).malloc_trim(0)  # what malloc keeps for later would hide what the step takes
    before = psutil.Process().memory_info().rss
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the highest resident memory so far
    whole_bank(problem, name)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return round((int(status["VmHWM"].split()[0]) * 1024 - before) / 1e6, 1)


if __name__ == "__main__":
    main()
