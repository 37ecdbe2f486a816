"""SG105: validation windows that touch a training window's rows are found, and nothing else."""

import dataclasses
import json

import numpy as np
import pytest
from check_cases import small_case
from worlds import make_bank, noise_world

from segue.checks.integrity.sg105_train_and_validation_apart import CHECK
from segue.types import Windows


def with_windows(case, train, validation):
    """Exchange training and validation windows, given as lists of (context, target)."""
    (fold,) = case.folds
    parts = {
        name: Windows(np.array([context for context, _ in part]), np.array([target for _, target in part]))
        for name, part in (("train", train), ("validation", validation))
    }
    return dataclasses.replace(case, folds=(dataclasses.replace(fold, **parts),))


def test_parts_of_different_documents_pass():
    case = small_case(noise_world(documents=10, length=6))
    verdict = CHECK.examine(case)
    assert (verdict.outcome, verdict.measured) == ("passed", 0.0)
    (fold,) = verdict.details["folds"]
    assert (fold["windows"], fold["shared"]) == (3 * 4, 0)
    assert fold["random_deal"] > 0.5
    json.dumps(verdict.details, allow_nan=False)


@pytest.mark.parametrize(
    ("validation", "shared"),
    [
        ([([2, 3], 4)], 1),  # its context holds a training target
        ([([3, 4], 5)], 0),
        ([([-1, 0], 3)], 1),  # its context holds a training context
        ([([-1, 5], 2)], 1),  # its target is a training target
        ([([-1, 5], 1)], 1),  # its target is a training context
        ([([2, 3], 4), ([3, 4], 5)], 1),
    ],
)
def test_shared_rows_are_counted_window_by_window(validation, shared):
    case = with_windows(small_case(noise_world(documents=2, length=8)), [([0, 1], 2)], validation)
    verdict = CHECK.examine(case)
    assert verdict.details["folds"][0]["shared"] == shared
    assert verdict.outcome == ("issue" if shared else "tip")  # else only the document is shared
    assert verdict.measured == pytest.approx(shared / len(validation))


def test_padding_is_shared_by_nobody():
    case = with_windows(small_case(noise_world(documents=2, length=8)), [([-1, 0], 1)], [([-1, 9], 10)])
    assert CHECK.examine(case).outcome == "passed"


def test_the_same_document_without_a_shared_passage_is_a_tip():
    case = with_windows(small_case(noise_world(documents=2, length=8)), [([0, 1], 2)], [([5, 6], 7)])
    verdict = CHECK.examine(case)
    assert verdict.outcome == "tip"
    assert "1 of them are from documents" in verdict.statement


def test_copied_texts_are_a_tip_from_three_on():
    world = noise_world(documents=8, length=8)
    for count, outcome in ((2, "passed"), (3, "tip")):
        texts = list(world.passage_texts)
        for place in range(2, 2 + count):
            texts[16 + place] = texts[place]  # documents 0 and 1 are trained on, 2 and 3 validate
        verdict = CHECK.examine(small_case(make_bank(world.vectors, [8] * 8, texts)))
        assert verdict.outcome == outcome
        assert verdict.details["folds"][0]["targets_word_for_word"] == count


def test_no_validation_window_is_nothing_shared():
    case = small_case(noise_world(documents=4, length=6))
    (fold,) = case.folds
    empty = dataclasses.replace(fold, validation=fold.validation.take(slice(0, 0)))
    assert CHECK.examine(dataclasses.replace(case, folds=(empty,))).outcome == "passed"


@pytest.mark.parametrize("worst", [0, 1])
def test_of_several_folds_the_worst_decides(worst):
    case = small_case(noise_world(documents=2, length=8))
    pairs = [[([0, 1], 2)], [([8, 9], 10)]]  # training and validation windows of a fold that shares nothing
    folds = []
    for number in (0, 1):
        (fold,) = with_windows(case, pairs[0], pairs[0] if number == worst else pairs[1]).folds
        folds.append(dataclasses.replace(fold, split=dataclasses.replace(fold.split, fold=number)))
    verdict = CHECK.examine(dataclasses.replace(case, folds=tuple(folds)))
    assert (verdict.outcome, verdict.measured) == ("issue", 1.0)
    assert f"(fold {worst}, the worst of 2)" in verdict.statement
