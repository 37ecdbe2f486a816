"""SG202: what is known by heart is found on training windows only."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from check_cases import small_case, vectors_row, with_rows
from worlds import noise_world

from segue.checks import Trained
from segue.checks.diagnosis.sg202_seen_and_unseen_documents import CHECK
from segue.evaluation.intervals import difference
from segue.retrieval.retrievers.baselines import copy_last
from segue.training.losses.loss import LossSettings
from segue.training.settings import TrainingSettings
from segue.types import Interval

TRAINED = Trained(Path("nowhere"), LossSettings(), TrainingSettings())


def knows(bank, documents):
    """A query that answers the next row for windows of some documents, and copies for all others."""

    def query(contexts):
        last = contexts.rows[:, -1]
        known = np.isin(bank.document_of[last], documents)
        return np.where(known[:, None], bank.gather(last + 1), copy_last(contexts)).astype(np.float32)

    return query


def case_with(documents_of, **size):
    bank = noise_world(**{"documents": 24, "length": 6, "dimension": 16, **size})
    case = small_case(bank)
    row = dataclasses.replace(vectors_row("model", knows(bank, documents_of(case)), bank), trained=TRAINED)
    return with_rows(case, row)


def test_training_windows_known_by_heart_are_an_issue():
    verdict = CHECK.examine(case_with(lambda case: case.folds[0].split.train))
    assert verdict.outcome == "issue"
    recall = verdict.details["one_pool"]["model"]
    assert recall["train"] == 1.0
    assert recall["test"] < 0.2
    assert recall["test"] == verdict.details["one_pool"]["copy-last"]["test"]  # unseen, it copies
    json.dumps(verdict.details, allow_nan=False)


def test_one_who_knows_all_documents_passes():
    verdict = CHECK.examine(case_with(lambda case: np.arange(24)))
    assert verdict.outcome == "passed"
    assert verdict.measured == pytest.approx(1.0, abs=0.15)


def test_a_loss_on_test_documents_alone_is_no_memory():
    def train_and_validation(case):
        return np.concatenate([case.folds[0].split.train, case.folds[0].split.validation])

    assert CHECK.examine(case_with(train_and_validation)).outcome == "passed"


def test_few_documents_do_not_crash_it():
    assert CHECK.examine(case_with(lambda case: case.folds[0].split.train, documents=4)).outcome == "passed"


def test_an_untrained_row_is_not_applicable():
    assert CHECK.examine(small_case(noise_world(documents=4))).outcome == "not-applicable"


def test_the_difference_of_independent_intervals_is_that_of_zou_and_donner():
    found = difference(Interval(0.8, 0.5, 0.9), Interval(0.5, 0.4, 0.9))  # √(0.3² + 0.4²) = 0.5; √(0.1² + 0.1²)
    assert (found.value, found.low, found.high) == pytest.approx((0.3, -0.2, 0.3 + 0.02**0.5))
    halved = difference(Interval(0.8, 0.5, 0.9), Interval(0.5, 0.4, 0.5), weight=0.5)
    assert (halved.value, halved.low) == pytest.approx((-0.1, -0.25))
    assert difference(Interval(0.8), Interval(0.5, 0.4, 0.9)).low is None
