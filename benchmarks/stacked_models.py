"""Do several small models train faster as one batched step (``torch.func``) than one after the other?

    python -m benchmarks.stacked_models --json benchmarks/results/stacked_models.json

Four models of one architecture, each with its own temperature, read the same batch; forward and backward pass, one
thread, its processor time.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional

from benchmarks.surroundings import surroundings
from segue.files import write_json
from segue.hardware import limit_threads
from segue.models import ModelSettings, build_model

TEMPERATURES = (0.05, 0.07, 0.1, 0.2)
DIMENSION, CONTEXT = 384, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["mlp", "gru"])
    parser.add_argument("--sizes", nargs="+", default=["toy", "demo"])
    parser.add_argument("--batches", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    limit_threads(1)
    torch.manual_seed(0)
    rows = []
    for name, size, batch in itertools.product(args.models, args.sizes, args.batches):
        row = {"model": name, "size": size, "batch": batch, **measured(name, size, batch, args.repeats)}
        rows.append(row)
        print(f"{name}, {size}, batch {batch}: {row['ratio']:.2f} times as fast stacked")
    if args.json:
        write_json(args.json, {"environment": surroundings(), "models": len(TEMPERATURES), "rows": rows})


def measured(name: str, size: str, batch: int, repeats: int) -> dict[str, Any]:
    """Return the milliseconds of both ways, in turns, and their ratio; both give the same gradients."""
    settings = ModelSettings.model_validate({"name": name, "size": size, "anchor": False})
    models = [build_model(settings, dimension=DIMENSION, context=CONTEXT) for _ in TEMPERATURES]
    context = functional.normalize(torch.randn(batch, CONTEXT, DIMENSION), dim=-1)
    target = functional.normalize(torch.randn(batch, DIMENSION), dim=-1)
    mask, truth = torch.ones(batch, CONTEXT, dtype=torch.bool), torch.arange(batch)
    parameters, buffers = stack_module_state(models)  # type: ignore[arg-type]

    def one_loss(weights: Any, others: Any, temperature: torch.Tensor) -> torch.Tensor:
        predicted = functional_call(models[0], (weights, others), (context, mask))
        return functional.cross_entropy(predicted @ target.T / temperature, truth)

    together = vmap(grad(one_loss), randomness="different")

    def stacked() -> Any:
        return together(parameters, buffers, torch.tensor(TEMPERATURES))

    def separate() -> None:
        for model, temperature in zip(models, TEMPERATURES, strict=True):
            model.zero_grad()
            functional.cross_entropy(model(context, mask) @ target.T / temperature, truth).backward()

    ways: dict[str, Callable[[], Any]] = {"separate_ms": separate, "stacked_ms": stacked}
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _, (way, work) in itertools.product(range(repeats + 1), ways.items()):
        began = time.thread_time()
        work()
        taken[way].append(1000 * (time.thread_time() - began))
    gradients = stacked()
    for number, model in enumerate(models):
        for weight, value in model.named_parameters():
            torch.testing.assert_close(gradients[weight][number], value.grad, rtol=1e-3, atol=1e-5)
    found = {way: statistics.median(times[1:]) for way, times in taken.items()}
    return {**found, "ratio": found["separate_ms"] / found["stacked_ms"]}


if __name__ == "__main__":
    main()
