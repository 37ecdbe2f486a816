"""SG204: terms that are known to agree, to be opposed, or to be too small."""

import numpy as np
import pytest
from check_cases import small_case, trained_row, with_rows
from worlds import drift_world

from segue.checks import Effort
from segue.checks.diagnosis.sg204_loss_terms_agree import CHECK, _costs, own_share
from segue.evaluation.intervals import t_interval
from segue.ranking.pool import Pool
from segue.training.gradients import moments
from segue.training.losses.loss import LOSSES, LossSettings, LossTerm, with_share
from segue.types import Interval

EFFORT = Effort(windows=60, steps=4, batches=3, resamples=200)


def examined(folder, *weighted, subject=True, documents=24):
    terms = [LossTerm(kind=kind).model_copy(update={"weight": weight}) for kind, weight in weighted]
    bank = drift_world(documents=documents, length=10)
    case = small_case(bank, effort=EFFORT)
    row = trained_row(folder, bank, loss=LossSettings(terms=tuple(terms)))
    return CHECK.examine(with_rows(case, row, subject="model" if subject else "another"))


def test_equal_terms_agree(tmp_path):
    verdict = examined(tmp_path, ("ar-cosine", 0.5), ("mse", 0.5))
    pair = verdict.details["rows"]["model"]["pairs"]["ar-cosine · mse"]
    assert verdict.outcome == "passed"
    assert np.allclose(pair["cosine"], 1, atol=1e-3)
    assert pair["steps"] == moments(4)
    assert [point["weight"] for point in verdict.details["pareto"]] == [0.0, 0.3, 0.5, 0.7, 1.0]


def test_a_term_of_the_wrong_sign_is_noticed(tmp_path):
    verdict = examined(tmp_path, ("ar-cosine", 0.7), ("mse", -0.3))
    assert verdict.outcome in ("tip", "issue")
    assert verdict.measured == pytest.approx(-1, abs=1e-3)
    assert "oppose each other" in verdict.statement


@pytest.mark.parametrize(("subject", "outcome"), [(True, "issue"), (False, "tip")])
def test_a_term_that_cannot_act_is_an_issue_of_the_subject_and_a_tip_elsewhere(tmp_path, subject, outcome):
    verdict = examined(tmp_path, ("ar-cosine", 1.0), ("mse", 0.005), subject=subject)
    assert verdict.outcome == outcome
    assert "0.50 % of the larger and has no effect" in verdict.statement


def test_one_term_has_nothing_to_pull_against(tmp_path):
    assert examined(tmp_path, ("infonce", 1.0)).outcome == "not-applicable"


def test_validation_documents_that_are_not_searched_are_not_applicable(tmp_path):
    bank = drift_world(documents=24, length=10)
    case = small_case(bank, effort=EFFORT)
    row = trained_row(tmp_path, bank, loss=LOSSES["infonce-projected"])
    pool = Pool(bank, case.folds[0].split.test)
    assert CHECK.examine(with_rows(case, row, pool=pool)).outcome == "not-applicable"


def test_too_few_validation_windows_are_a_tip(tmp_path):
    verdict = examined(tmp_path, ("infonce", 0.7), ("ar-cosine", 0.3), documents=4)
    assert (verdict.outcome, verdict.details) == ("tip", {})


def test_moments_begin_at_the_start_and_end_at_the_end():
    assert moments(1) == [0, 1]
    assert moments(30)[0] == 0
    assert moments(30)[-1] == 30
    assert sum(step <= 15 for step in moments(30)) >= 5


@pytest.mark.parametrize("name", ["infonce-projected", "infonce-ar"])
def test_shares_keep_the_sum_of_the_weights(name):
    loss = LOSSES[name]
    for share in (0.0, 0.3, 1.0):
        weights = [term.weight for term in with_share(loss, share).terms]
        assert sum(weights) == pytest.approx(1, abs=1e-5)
        assert weights[1] == pytest.approx(share, abs=1e-5)
        assert min(weights) > 0


def test_the_own_share_of_a_row_is_its_weights(tmp_path):
    row = trained_row(tmp_path, drift_world(documents=2), loss=LOSSES["infonce-ar"])
    assert own_share(row) == 0.15


def test_the_t_interval_is_that_of_the_table():
    interval = t_interval([0.0, 1.0, 2.0, 3.0])  # t(0.975, 3) = 3.182, s = 1.291
    assert interval.high - interval.value == pytest.approx(3.182 * 1.291 / 2, abs=1e-3)
    assert t_interval([5.0]).low is None


def test_a_loss_costs_only_from_a_point_on():
    assert _costs(Interval(-0.02, -0.03, -0.01))
    assert not _costs(Interval(-0.003, -0.005, -0.001))
    assert not _costs(Interval(-0.02))
