"""SG203: a head behind which retrieval is better is an issue, one that changes nothing passes."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from check_cases import fixed_queries, small_case, vectors_row, with_rows
from worlds import noise_world, unit

from segue.checks import Trained
from segue.checks.diagnosis.sg203_projection_head import CHECK
from segue.training.losses.loss import LossSettings, LossTerm, build_loss
from segue.training.settings import TrainingSettings

DIMENSION = 16
SETTINGS = LossSettings(terms=(LossTerm(kind="infonce", temperature=0.07, space="projected"),))


def trained_with_head(kept: int) -> Trained:
    """A training whose head keeps the first components of a vector."""
    loss = build_loss(SETTINGS, DIMENSION, seed=0)
    head = torch.nn.Linear(DIMENSION, kept, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.eye(DIMENSION)[:kept])
    loss.projection = head
    trained = Trained(Path("nowhere"), SETTINGS, TrainingSettings())
    trained.__dict__["loss"] = loss.eval()
    return trained


def case_with(kept, **more):
    """The query has the target's first half; its second half is five times as long and random."""
    bank = noise_world(documents=24, length=6, dimension=DIMENSION)
    case = small_case(bank)
    queries = bank.gather(case.folds[0].test.target).copy()
    queries[:, 8:] = 5 * np.random.default_rng(0).standard_normal((len(queries), 8)) / 4
    row = vectors_row("model", fixed_queries(case, unit(queries)), bank)
    return with_rows(case, dataclasses.replace(row, trained=trained_with_head(kept)), **more)


def naive_recall(vectors, bank, windows):
    """Rank every passage but the context in a loop."""
    hits = []
    for query, context, target in zip(vectors, windows.context, windows.target, strict=True):
        scores = bank @ query
        scores[context] = -np.inf
        hits.append((scores > scores[target] - 1e-6).sum() <= 5)
    return np.mean(hits)


def test_a_space_behind_the_head_that_retrieves_better_is_an_issue():
    case = case_with(8)
    verdict = CHECK.examine(case)
    assert verdict.outcome == "issue"
    entry = verdict.details["rows"]["model"]
    assert entry["R@5"]["projected"] == 1.0
    assert entry["projected"]["matched"] == pytest.approx(1.0, abs=1e-5)
    assert abs(entry["projected"]["random"]) < 0.2
    raw = naive_recall(case.queries(case.entries[0]), case.bank.vectors, case.folds[0].test)
    assert entry["R@5"]["raw"] == pytest.approx(raw)
    json.dumps(verdict.details, allow_nan=False)


def test_a_head_that_keeps_everything_passes():
    verdict = CHECK.examine(case_with(DIMENSION))
    assert verdict.outcome == "passed"
    assert verdict.measured == 0.0


def test_of_another_row_than_the_subject_it_is_a_tip():
    case = case_with(8)
    projected = dataclasses.replace(case.entries[0], name="infonce-projected")
    other = dataclasses.replace(case.entries[0], name="other", trained=None)
    assert CHECK.examine(with_rows(case, other, projected)).outcome == "tip"


def test_rows_without_a_head_are_not_applicable():
    case = case_with(8)
    assert (
        CHECK.examine(with_rows(case, dataclasses.replace(case.entries[0], trained=None))).outcome == "not-applicable"
    )
