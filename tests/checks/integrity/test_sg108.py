"""SG108: an excluded passage or its duplicate in any ranking is found, the target's own text is not."""

import dataclasses
import json

import numpy as np
import pytest
from check_cases import evaluated, small_case, vectors_row, with_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import drift_world, make_bank, noise_world

from segue.checks.integrity.sg108_context_excluded import CHECK, _left_in
from segue.retrieval.retrievers.baselines import copy_last
from segue.retrieval.retrievers.vector import VectorRetriever
from segue.types import Windows


def evaluated_case(bank=None, **more):
    bank = bank or drift_world(documents=8, length=8)
    case = small_case(bank, **more)
    return with_rows(case, evaluated(case, vectors_row("copy-last", copy_last, bank)))


def with_place(case, window, place, passage, **changes):
    """Return the case with one place of one stored ranking changed."""
    (asked,) = case.entries
    rankings = asked.evaluation.rankings.copy()
    rankings[window, place] = passage
    evaluation = dataclasses.replace(asked.evaluation, rankings=rankings)
    return with_rows(case, dataclasses.replace(asked, evaluation=evaluation, **changes))


def test_rankings_without_what_was_read_pass_beside_how_often_it_would_stand_there():
    case = evaluated_case()
    verdict = CHECK.examine(case)
    assert (verdict.outcome, verdict.measured) == ("passed", 0.0)
    (asked,) = verdict.details["queried_again"]
    assert asked["moved_up"] > 0
    json.dumps(verdict.details, allow_nan=False)


@pytest.mark.parametrize("back", [1, 2])
def test_a_single_context_passage_at_the_last_place_is_an_issue(back):
    case = evaluated_case()
    verdict = CHECK.examine(with_place(case, 3, -1, case.folds[0].test.target[3] - back))
    assert verdict.outcome == "issue"
    assert verdict.measured == pytest.approx(1 / len(case.folds[0].test))


def test_a_passage_read_before_the_context_counts_for_prefix_only():
    case = evaluated_case()
    target = case.folds[0].test.target
    window = int(np.flatnonzero(case.bank.position[target] == 5)[0])
    changed = with_place(case, window, 4, target[window] - 4)
    assert CHECK.examine(changed).outcome == "passed"
    (asked,) = changed.entries
    declared = dataclasses.replace(asked, evaluation=dataclasses.replace(asked.evaluation, exclude="prefix"))
    assert CHECK.examine(with_rows(changed, declared)).outcome == "issue"


def test_a_row_that_declares_it_is_exempt():
    case = evaluated_case()
    changed = with_place(case, 3, 0, case.folds[0].test.target[3] - 1, intent="context-left-in")
    assert CHECK.examine(changed).outcome == "not-applicable"


def test_a_duplicate_of_a_context_passage_is_an_issue_of_its_own_kind():
    world = noise_world(documents=8, length=8)
    texts = list(world.passage_texts)
    texts[0] = texts[59]  # row 0 says what row 59 says, which two windows of the last document but one read
    case = evaluated_case(make_bank(world.vectors, [8] * 8, texts))
    window = int(np.flatnonzero(case.folds[0].test.target == 60)[0])
    verdict = CHECK.examine(with_place(case, window, 0, 0))
    assert verdict.outcome == "issue"
    assert verdict.details["stored"][0]["only_duplicates"] == 1


def test_rankings_of_other_windows_are_not_joined():
    case = evaluated_case()
    (asked,) = case.entries
    shifted = dataclasses.replace(asked.evaluation, targets=asked.evaluation.targets - 1)
    verdict = CHECK.examine(with_rows(case, dataclasses.replace(asked, evaluation=shifted)))
    assert verdict.outcome == "passed"
    assert verdict.details["stored"] == []


class Forgetful(VectorRetriever):
    """Serves what was read."""

    def rank(self, contexts, k, **how):
        return super().rank(dataclasses.replace(contexts, exclude=contexts.exclude[:, :0]), k, **how)


class ForgetfulRanks(VectorRetriever):
    """Counts what was read among those before the target, but does not serve it."""

    def target_ranks(self, contexts, targets, **how):
        return super().target_ranks(dataclasses.replace(contexts, exclude=contexts.exclude[:, :0]), targets, **how)


@pytest.mark.parametrize(("kind", "said"), [(Forgetful, "is excluded, but"), (ForgetfulRanks, "the ranks of model")])
def test_a_retriever_that_forgets_the_exclusion_is_found_by_asking(kind, said):
    case = small_case(drift_world(documents=8, length=8))
    asked = vectors_row("model", copy_last, case.bank)
    asked = dataclasses.replace(asked, load=lambda: kind("model", "candidate", copy_last, case.pool))
    verdict = CHECK.examine(with_rows(case, asked))
    assert verdict.outcome == "issue"
    assert said in verdict.statement


def test_controls_are_held_to_their_stored_rankings():
    case = evaluated_case()
    changed = with_place(case, 0, 0, case.folds[0].test.target[0] - 1, intent="control")
    assert CHECK.examine(changed).outcome == "issue"


def test_a_case_without_test_windows_is_not_applicable():
    case = evaluated_case()
    (fold,) = case.folds
    empty = dataclasses.replace(fold, test=fold.test.take(slice(0, 0)))
    assert CHECK.examine(dataclasses.replace(case, folds=(empty,))).outcome == "not-applicable"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_places_are_judged_as_a_naive_loop_judges_them(seed):
    generator = np.random.default_rng(seed)
    texts = [f"text {number}" for number in generator.integers(0, 9, 12)]
    bank = make_bank(generator.standard_normal((12, 4)), [12], texts)
    windows = Windows(np.zeros((3, 1), dtype=np.int64), generator.integers(0, 12, 3))
    rankings, exclude = generator.integers(-1, 12, (3, 4)), generator.integers(-1, 12, (3, 2))
    expected = [
        [
            place >= 0
            and texts[place] != texts[windows.target[window]]
            and any(out >= 0 and texts[out] == texts[place] for out in exclude[window])
            for place in rankings[window]
        ]
        for window in range(3)
    ]
    assert _left_in(bank, windows, rankings, exclude).tolist() == expected
