"""SG207: a one-sided bank is found; it is an issue only where a repair wins."""

import numpy as np
import pytest
from check_cases import EFFORT, small_case
from worlds import drift_world, make_bank, noise_world, unit

from segue.checks import Case
from segue.checks.diagnosis.sg207_anisotropy import CHECK
from segue.evaluation.geometry import directions, first_share, repaired
from segue.evaluation.intervals import lower_limit
from segue.ranking.pool import Pool


def moved(bank, change):
    """Return the bank with other vectors, same documents."""
    return make_bank(change(bank.vectors.astype(np.float64)), bank.num_rows.tolist(), bank.passage_texts)


def common(vectors):
    return vectors + 2 * unit(np.ones(vectors.shape[1]))


def drowned(vectors):
    """Make one component large that says nothing."""
    loud = vectors.copy()
    loud[:, 0] = 4 * np.random.default_rng(3).standard_normal(len(vectors))
    return loud


def test_a_bank_in_all_directions_passes():
    verdict = CHECK.examine(small_case(noise_world(dimension=16)))
    assert verdict.outcome == "passed"
    assert abs(verdict.details["as it is"]["random_cosine"]) < 0.1


def test_a_common_vector_is_a_tip_and_leaves_with_the_mean():
    verdict = CHECK.examine(small_case(moved(noise_world(dimension=16), common)))
    assert verdict.outcome == "tip"
    # ‖c‖² / (1 + ‖c‖²) = 4 / 5 for unit vectors and ‖c‖ = 2, but for the projections on c
    assert verdict.details["as it is"]["random_cosine"] == pytest.approx(0.8, abs=0.05)
    assert abs(verdict.details["mean removed"]["random_cosine"]) < 0.1


def test_a_direction_that_drowns_what_is_there_is_an_issue():
    verdict = CHECK.examine(small_case(moved(drift_world(drift=0.3, documents=40), drowned)))
    assert verdict.outcome == "issue"
    gains = verdict.details["mean_of_context"]
    assert gains["mean and first direction removed"]["value"] > gains["as it is"] + 0.1


def test_repair_leaves_nothing_along_mean_and_axis():
    vectors = unit(drowned(np.random.default_rng(0).standard_normal((50, 5))))
    centre, axis = directions(vectors)
    assert np.allclose(centre, vectors.mean(axis=0))
    assert np.allclose(repaired(vectors, centre, axis) @ axis, 0, atol=1e-6)
    assert np.allclose(np.linalg.norm(repaired(vectors, centre, axis), axis=1), 1, atol=1e-5)


def test_the_share_of_one_direction_by_hand():
    assert first_share(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])) == pytest.approx(0.75)


def test_a_bank_alone_is_examined_without_windows():
    bank = noise_world()
    verdict = CHECK.examine(Case(bank, Pool(bank), effort=EFFORT))
    assert verdict.outcome == "passed"
    assert verdict.details["mean_of_context"] == {}


def test_two_documents_are_too_few():
    bank = noise_world(documents=2)
    assert CHECK.examine(Case(bank, Pool(bank), effort=EFFORT)).outcome == "not-applicable"


def test_a_lower_limit_exists_where_all_groups_agree_and_not_for_three_groups():
    groups = np.repeat(np.arange(5), 4)
    assert lower_limit(np.full(20, 0.5), groups, resamples=200) == 0.5
    assert lower_limit(np.full(12, 0.5), np.repeat(np.arange(3), 4), resamples=200) is None
    spread = np.random.default_rng(0).random(400)
    low = lower_limit(spread, np.repeat(np.arange(40), 10), resamples=500)
    assert spread.mean() - 0.1 < low < spread.mean()
