"""Training: windows gathered from the mapped bank, beside windows materialised in memory and plain PyTorch.

The other side copies each window's five vectors and its target into float32 tensors ``[window, 5, dim]`` and
``[window, dim]``, shuffles them with ``DataLoader(TensorDataset)`` and trains the same architecture with in-batch
InfoNCE on the raw vectors and AdamW in float32; AMN there computes the keys of all passages, as it was published, where
ours asks without them. Ours takes the same number of steps of the same batch size as
``segue train`` does, in the arithmetic that it chooses. A turn is some steps after the first; making the windows is not
timed. Memory is anonymous memory at its peak, so pages of the mapped bank are not counted: the kernel may drop them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.speed.banks import structured_bank
from benchmarks.speed.growth import growth
from benchmarks.speed.machine import matmul_gflops
from benchmarks.speed.measurement import BenchSettings, Measurement, pairwise
from benchmarks.speed.turns import Prepared, Side, SideResult, take_turns
from segue.bank.bank import PassageBank
from segue.models import ModelSettings, Predictor, build_model
from segue.models.amn import Amn
from segue.training.losses.loss import LOSSES
from segue.training.settings import TrainingSettings
from segue.training.train import begin_short_run
from segue.types import Progress, Windows
from segue.windows.windows import WindowSettings, make_windows

BATCH, TEMPERATURE, STEPS = 1024, 0.05, 8
Problem = tuple[str, str, int, float]
"""Measurement, architecture, windows, and how many times the other side's windows a second."""

AMN: Problem = ("train-amn", "amn", 400_000, 2.0)
LARGER: tuple[Problem, ...] = (("train-gru", "gru", 40_000, 1.5), ("train-transformer", "transformer", 40_000, 1.5))
MEMORY_TARGET = 0.2


def measure(settings: BenchSettings, progress: Progress) -> list[Measurement]:
    """Return the rows ``train-amn`` and ``train-amn-memory``."""
    row, ours, theirs = _row(AMN, settings, progress)
    return [row, _memory(ours, theirs, row.about, whole=row.whole)]


def measure_larger(settings: BenchSettings, progress: Progress) -> list[Measurement]:
    """Return the rows ``train-gru`` and ``train-transformer``."""
    return [_row(problem, settings, progress)[0] for problem in LARGER]


def _row(problem: Problem, settings: BenchSettings, progress: Progress) -> tuple[Measurement, SideResult, SideResult]:
    name, architecture, windows, target = problem
    bank = structured_bank(settings, progress)
    arguments = {
        "bank": bank.path,
        "architecture": architecture,
        "windows": max(2 * BATCH, round(windows * settings.scale)),
    }
    sides = [Side(prepare_ours, arguments), Side(prepare_theirs, arguments)]
    ours, theirs = take_turns(sides, repeats=settings.repeats, progress=progress)
    few = {**arguments, "windows": max(8 * BATCH, round(windows * settings.scale / 10))}
    grown = growth(prepare_epochs, few, size_name="windows", fewest=BATCH, repeats=settings.repeats)
    about = {
        **arguments,
        "bank": bank.path.name,
        "batch": BATCH,
        "steps_per_turn": STEPS,
        "size": "full",
        "growth": grown,
    }
    whole = settings.scale == 1 and ours.facts["windows"] == windows
    peaks = matmul_gflops()
    limit = {
        "what": "operations of the matrices, each once a window, three passes, over the measured peak",
        "gflops": peaks,
        "seconds_per_turn": ours.facts["gflop_per_step"] * STEPS / max(peaks["float32"], peaks["bfloat16"]),
    }
    ratios = pairwise(ours, theirs, "seconds", better="higher")
    row = Measurement(name, "higher", target, ratios, ours.to_json(), theirs.to_json(), limit, about, whole)
    return row, ours, theirs


def _memory(ours: SideResult, theirs: SideResult, about: Mapping[str, Any], *, whole: bool) -> Measurement:
    own, other = (taken.facts["peak_anonymous_mb"] for taken in (ours, theirs))
    facts = ({"peak_anonymous_mb": own}, {"peak_anonymous_mb": other})
    return Measurement("train-amn-memory", "lower", MEMORY_TARGET, (own / other,), *facts, about=about, whole=whole)


def windows_of(bank: PassageBank, count: int) -> Windows:
    """Return the first windows of a bank."""
    return make_windows(bank, np.arange(len(bank.document_ids)), WindowSettings()).take(slice(0, count))


def prepare_epochs(bank: Path, architecture: str, windows: int) -> Prepared:
    """Begin a training of which a turn is one pass over the windows."""
    return prepare_ours(bank, architecture, windows, steps=windows // BATCH)


def prepare_ours(bank: Path, architecture: str, windows: int, *, steps: int = STEPS) -> Prepared:
    """Begin a training as ``segue train`` does."""
    opened = PassageBank.open(bank)
    chosen = windows_of(opened, windows)
    training = TrainingSettings(batch_size=BATCH, steps=100_000, span_corruption=0.0, article_dropout=0.0)
    run = begin_short_run(
        opened, chosen, model=_model(architecture), loss=LOSSES["infonce-tau-0.05"], training=training
    )

    def turn() -> dict[str, float]:
        run.advance(run.done + steps)
        return {}

    matrices = sum(weight.numel() for weight in run.predictor.parameters() if weight.ndim > 1)
    return Prepared(turn, {"windows": len(chosen), "precision": run.optimisation.precision,
                           "gflop_per_step": 6e-9 * matrices * BATCH})  # fmt: skip


def prepare_theirs(bank: Path, architecture: str, windows: int) -> Prepared:
    """Materialise the windows and set up plain PyTorch."""
    opened = PassageBank.open(bank)
    chosen = windows_of(opened, windows)
    contexts, targets = _materialised(opened, chosen)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(contexts, targets), batch_size=BATCH, shuffle=True, drop_last=True
    )
    torch.manual_seed(1)
    model = _as_published(build_model(_model(architecture), dimension=opened.dimension, context=contexts.shape[1]))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batches = _for_ever(loader)
    mask = torch.ones(BATCH, contexts.shape[1], dtype=torch.bool)

    def turn() -> dict[str, float]:
        for _ in range(STEPS):
            context, target = next(batches)
            logits = model(context, mask) @ target.T / TEMPERATURE
            loss = functional.cross_entropy(logits, torch.arange(BATCH))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return {}

    return Prepared(turn, {"windows": len(chosen), "engine": "DataLoader(TensorDataset), float32"})


class PublishedAmn(Amn):
    """AMN with a key for each passage; the same function, by more products."""

    def _attend(self, mean: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        keys = self.key(context)
        scores = (keys * self.query(mean)[:, None]).sum(-1) / math.sqrt(keys.shape[-1])
        weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
        return (weights[..., None] * context).sum(1)


def _as_published(model: Predictor) -> Predictor:
    if isinstance(model.correction, Amn):
        model.correction.__class__ = PublishedAmn
    return model


def _model(architecture: str) -> ModelSettings:
    return ModelSettings(name=architecture, size="full", anchor=False)


def _materialised(bank: PassageBank, windows: Windows) -> tuple[Tensor, Tensor]:
    contexts = torch.empty(len(windows), windows.context.shape[1], bank.dimension)
    targets = torch.empty(len(windows), bank.dimension)
    for begin_at in range(0, len(windows), 8192):
        part = slice(begin_at, begin_at + 8192)
        rows = windows.context[part]
        contexts[part] = torch.from_numpy(bank.gather(rows.ravel()).reshape(*rows.shape, -1))
        targets[part] = torch.from_numpy(bank.gather(windows.target[part]))
    return contexts, targets


def _for_ever(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader
