"""SG219: three documents tell no difference, many do."""

import dataclasses
import json

import numpy as np
import pytest
from check_cases import by_hand, small_case, with_rows
from worlds import noise_world

from segue.checks.diagnosis.sg219_enough_documents import CHECK, groups_needed
from segue.checks.run import run_checks
from segue.evaluation.gates import Condition, GateSettings


def examined(test, ours, theirs, *, gates=()):
    case = small_case(noise_world(documents=test + 4, length=6, dimension=4), test=test)
    rows = by_hand(case, "model", ours), by_hand(case, "copy-last", theirs, family="baseline")
    return CHECK.examine(with_rows(case, *rows, gates=gates))


def alternating(documents):
    """All windows of every other document are found, none of the rest."""
    return np.repeat(np.where(np.arange(documents) % 2, 1, 50), 4)


def test_three_documents_that_disagree_are_an_issue():
    verdict = examined(3, alternating(3), 50)
    assert verdict.outcome == "issue"
    assert verdict.measured > 0.1
    assert verdict.details["groups"] == 3
    assert "3 groups of test documents are too few for differences of 10 points" in verdict.caveats["model"]
    assert verdict.details["groups_needed"] > 3
    json.dumps(verdict.details, allow_nan=False)


def test_two_documents_have_no_interval_and_that_is_an_issue():
    verdict = examined(2, 1, 50)
    assert verdict.outcome == "issue"
    assert verdict.measured is None
    json.dumps(verdict.details, allow_nan=False)


def test_a_small_spread_passes():
    quarter = np.tile([1, 50, 50, 50], 100)  # every document has one hit in four
    verdict = examined(100, quarter, 50)
    assert verdict.outcome == "passed"
    assert verdict.measured < 0.1
    assert verdict.details["difference"]["value"] == pytest.approx(0.25)


def test_a_wide_interval_on_one_side_is_enough():
    found = np.repeat(np.where(np.arange(20) % 4, 1, 50), 4)  # three documents in four: 0.75, far above 0.1
    verdict = examined(20, found, 50)
    assert verdict.measured > 0.1
    assert verdict.outcome == "passed"
    assert "one side" in verdict.statement


def test_the_gate_says_which_difference_has_to_be_told():
    gate = GateSettings(name="fine", any_of=(Condition(metric="R@5", at_least=0.01, against="copy-last"),))
    same = np.tile([1, 50], 24)
    verdict = examined(12, same, same[::-1].copy(), gates=(gate,))
    assert verdict.threshold == 0.01


def test_half_the_width_takes_four_times_the_groups():
    assert groups_needed(12, 0.2, 0.1) == 48


def test_without_a_baseline_there_is_no_difference():
    case = small_case(noise_world(documents=8, length=6, dimension=4))
    assert CHECK.examine(with_rows(case, by_hand(case, "model", 1))).outcome == "not-applicable"


def in_folds(ours, theirs, documents, folds):
    """Return the finding where the documents are tested in so many folds, the same number in each."""
    bank = noise_world(documents=documents + 4, length=6, dimension=4)
    single = small_case(bank, test=documents)
    fold = single.folds[0]
    parts, tested = [], np.array_split(fold.split.test, folds)
    for number, documents_of_fold in enumerate(tested):
        windows = fold.test.take(np.isin(bank.document_of[fold.test.target], documents_of_fold))
        split = dataclasses.replace(fold.split, test=documents_of_fold, fold=number)
        parts.append(dataclasses.replace(fold, split=split, test=windows))
    entries = []
    for part, our_ranks, their_ranks in zip(parts, np.split(ours, folds), np.split(theirs, folds), strict=True):
        case = dataclasses.replace(single, folds=(part,), _cache={})
        rows = by_hand(case, "model", our_ranks), by_hand(case, "copy-last", their_ranks, family="baseline")
        entries += [dataclasses.replace(row, fold=part.number) for row in rows]
    case = dataclasses.replace(single, folds=tuple(parts), entries=tuple(entries), subject="model", _cache={})
    (finding,) = run_checks([CHECK], case)
    return finding


def test_folds_are_not_recommended_to_those_who_have_them():
    ours, theirs = np.repeat([50, 1, 50, 50, 50, 50], 4), np.full(24, 50)
    finding = in_folds(ours, theirs, 6, folds=2)
    assert (finding.outcome, finding.details["groups"]) == ("issue", 6)
    assert finding.fix == "evaluate on more documents: with folds every document is tested already"
    single = in_folds(ours, theirs, 6, folds=1)
    assert (single.outcome, single.details) == ("issue", finding.details)
    assert single.fix == CHECK.fix == ("evaluate on more documents, or with folds, so that every document is a test "
                                       "document once")  # fmt: skip


def test_two_documents_in_two_folds_without_an_interval_are_told_the_same():
    finding = in_folds(np.full(8, 1), np.full(8, 50), 2, folds=2)
    assert (finding.outcome, finding.measured) == ("issue", None)
    assert finding.fix == "evaluate on more documents: with folds every document is tested already"


def test_enough_documents_have_no_advice():
    verdict = examined(100, np.tile([1, 50, 50, 50], 100), 50)
    assert (verdict.outcome, verdict.fix) == ("passed", "")
