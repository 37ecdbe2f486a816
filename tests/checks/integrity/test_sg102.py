"""SG102 raises when a window is not what the bank says: other rows, other vectors, another order, another document."""

import dataclasses

import numpy as np
import pytest
import worlds
from check_cases import small_case

from segue.checks.integrity.sg102_windows_match_the_bank import CHECK
from segue.types import Windows
from segue.windows.windows import WindowSettings, gather_contexts, make_windows

CASE = small_case(worlds.noise_world(documents=6, length=6))  # 3 tested documents of 4 windows each, 24 windows in all


def with_test(windows):
    (fold,) = CASE.folds
    return dataclasses.replace(CASE, folds=(dataclasses.replace(fold, test=windows),))


TEST = CASE.folds[0].test


def test_windows_of_the_bank_pass():
    verdict = CHECK.examine(CASE)
    assert (verdict.outcome, verdict.measured, verdict.details) == ("passed", 0.0, {"windows": 24, "by_problem": {}})


def test_short_contexts_padded_at_the_front_pass():
    windows = make_windows(CASE.bank, np.arange(3), WindowSettings(context=4, minimum_context=1))
    assert (windows.context < 0).any()
    assert CHECK.examine(with_test(windows)).outcome == "passed"


@pytest.mark.parametrize(
    ("windows", "problem", "count"),
    [
        (Windows(TEST.context, TEST.target - 1), "rows out of order", 12),
        (Windows(TEST.context[:, ::-1].copy(), TEST.target), "rows out of order", 12),
        (Windows(np.array([[16, 17]]), np.array([18])), "a passage of another document", 1),
        (Windows(TEST.context - 6, TEST.target), "a passage of another document", 12),
    ],
)
def test_wrong_rows_are_named_and_counted(windows, problem, count):
    verdict = CHECK.examine(with_test(windows))
    assert verdict.outcome == "issue"
    assert verdict.details["by_problem"][problem] == count
    assert verdict.measured == pytest.approx(count / (12 + len(windows)))
    assert verdict.threshold == 0.0


def test_a_shuffled_truth_is_counted_where_it_moved():
    target = TEST.target.copy()
    target[[0, 5]] = target[[5, 0]]
    assert CHECK.examine(with_test(Windows(TEST.context, target))).details["by_problem"] == {
        "rows out of order": 2,
        "a passage of another document": 2,
    }


def test_overwritten_target_vectors_are_seen_though_every_row_is_right():
    verdict = CHECK.examine(dataclasses.replace(CASE, truth=lambda bank, windows: bank.gather(windows.target - 1)))
    assert verdict.details["by_problem"] == {"a target vector that differs from its row": 24}


def test_context_vectors_of_another_bank_are_seen():
    def gather(bank, windows, **how):
        contexts = gather_contexts(bank, windows, **how)
        return dataclasses.replace(contexts, vectors=np.roll(contexts.vectors, 1, axis=2))

    verdict = CHECK.examine(dataclasses.replace(CASE, gather=gather))
    assert verdict.details["by_problem"] == {"context vectors that differ from their rows": 24}


def test_a_gather_that_reads_other_rows_than_the_window_names_is_seen_though_vectors_and_rows_agree():
    def gather(bank, windows, **how):
        return gather_contexts(bank, Windows(windows.context + 1, windows.target), **how)

    verdict = CHECK.examine(dataclasses.replace(CASE, gather=gather))
    assert verdict.details["by_problem"] == {"context rows that the window does not name": 24}


def test_passages_that_the_bank_does_not_hold_are_seen():
    def gather(bank, windows, **how):
        contexts = gather_contexts(bank, windows, **how)
        return dataclasses.replace(contexts, rows=np.full_like(contexts.rows, -1))

    found = CHECK.examine(dataclasses.replace(CASE, gather=gather)).details["by_problem"]
    assert found["context passages that the bank does not hold"] == 24


def test_half_precision_vectors_still_equal_their_rows():
    def gather(bank, windows, **how):
        contexts = gather_contexts(bank, windows, **how)
        return dataclasses.replace(contexts, vectors=contexts.vectors.astype(np.float16).astype(np.float32))

    assert CHECK.examine(dataclasses.replace(CASE, gather=gather)).outcome == "passed"


def test_no_window_at_all_passes():
    bank = worlds.make_bank(np.eye(3)[:2], [2])
    assert CHECK.examine(small_case(bank)).outcome == "passed"


def test_vectors_that_are_not_finite_are_not_their_rows():
    from segue.checks.integrity.sg102_windows_match_the_bank import _differ

    rows = np.array([[1.0, 0.0], [0.0, 1.0], [np.inf, 0.0]], dtype=np.float32)
    vectors = np.array([[1.0, 0.0], [np.nan, 1.0], [np.inf, 0.0]], dtype=np.float32)
    assert _differ(vectors, rows).tolist() == [False, True, True]
