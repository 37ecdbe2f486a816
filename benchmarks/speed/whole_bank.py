"""One step of whole-bank InfoNCE, forward and backward, beside the textbook formula that holds all logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.speed.banks import real_bank
from benchmarks.speed.growth import growth
from benchmarks.speed.machine import matmul_gflops
from benchmarks.speed.measurement import BenchSettings, Measurement, pairwise
from benchmarks.speed.turns import Prepared, Side, take_turns
from segue.arithmetic import has_fast_bfloat16
from segue.bank.bank import PassageBank
from segue.training.losses.whole_bank import TrainingBank, bank_info_nce
from segue.types import Progress, Windows
from segue.windows.windows import WindowSettings, make_windows

BATCH, PASSAGES, DIMENSION, TEMPERATURE = 512, 40_000, 384, 0.05
TARGET, TARGET_IN_FLOAT32 = 3.0, 1.5
"""The lower one where no product is faster than those of float32, which the other side takes."""


def measure(settings: BenchSettings, progress: Progress) -> list[Measurement]:
    """Return the row ``whole-bank-step``."""
    bank = real_bank(settings, progress)
    arguments = {"bank": bank.path, "passages": max(2 * BATCH, round(min(PASSAGES, len(bank)) * settings.scale))}
    sides = [Side(prepare_ours, arguments), Side(prepare_theirs, arguments)]
    ours, theirs = take_turns(sides, repeats=settings.repeats, progress=progress)
    size, peaks = ours.facts["candidates"], matmul_gflops()
    limit = {"what": "two products (scores; gradient), over the measured peak", "gflops": peaks,
             "seconds": 4e-9 * BATCH * size * bank.dimension / max(peaks["float32"], peaks["bfloat16"])}  # fmt: skip
    whole = settings.scale == 1 and size >= 0.95 * PASSAGES and bank.dimension == DIMENSION
    grown = growth(
        prepare_ours, arguments, size_name="passages", counted="candidates", fewest=2 * BATCH, repeats=settings.repeats
    )
    about = {"batch": BATCH, "candidates": size, "dimension": bank.dimension, "growth": grown}
    ratios = pairwise(ours, theirs, "seconds", better="higher")
    target = TARGET if has_fast_bfloat16("cpu") else TARGET_IN_FLOAT32
    return [
        Measurement("whole-bank-step", "higher", target, ratios, ours.to_json(), theirs.to_json(), limit, about, whole)
    ]


def prepare_ours(bank: Path, passages: int) -> Prepared:
    """Set up the loss in blocks, in bfloat16 where the processor has it."""
    opened, windows, some, query = _problem(bank, passages)
    dtype = torch.bfloat16 if has_fast_bfloat16("cpu") else torch.float32
    candidates = TrainingBank(opened, windows, dtype=dtype)
    target = torch.from_numpy(opened.gather(some.target))
    groups = torch.from_numpy(opened.duplicate_group[some.target])
    context_groups = torch.from_numpy(opened.duplicate_group[some.context])

    def turn() -> dict[str, float]:
        query_copy = query.clone().requires_grad_()
        bank_info_nce(query_copy, target, candidates, temperature=TEMPERATURE, groups=groups,
                      context_groups=context_groups).backward()  # fmt: skip
        return {}

    return Prepared(
        turn,
        {"candidates": candidates.size, "arithmetic": str(dtype).removeprefix("torch.")},
    )


def prepare_theirs(bank: Path, passages: int) -> Prepared:
    """Set up the textbook formula over the same candidates."""
    opened, windows, some, query = _problem(bank, passages)
    candidates = TrainingBank(opened, windows)
    vectors = torch.cat([block for _, block in candidates.blocks()])
    places = candidates.places(torch.from_numpy(opened.duplicate_group[some.target]))

    def turn() -> dict[str, float]:
        query_copy = query.clone().requires_grad_()
        functional.cross_entropy(query_copy @ vectors.T / TEMPERATURE, places).backward()
        return {}

    return Prepared(turn, {"candidates": candidates.size, "engine": "cross_entropy(q @ bank.T / τ), float32"})


def _problem(bank: Path, passages: int) -> tuple[PassageBank, Windows, Windows, Tensor]:
    """Return a bank, the windows of its first passages, some of them, and predictions near their targets."""
    opened = PassageBank.open(bank)
    documents = np.flatnonzero(opened.first_row + opened.num_rows <= passages)
    windows = make_windows(opened, documents, WindowSettings())
    generator = np.random.default_rng(2)
    some = windows.take(np.sort(generator.choice(len(windows), BATCH, replace=len(windows) < BATCH)))
    noise = generator.standard_normal((BATCH, opened.dimension), dtype=np.float32) * 1.7 / opened.dimension**0.5
    query = functional.normalize(torch.from_numpy(opened.gather(some.target) + noise), dim=1)
    return opened, windows, some, query
