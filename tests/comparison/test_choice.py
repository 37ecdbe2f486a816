"""The winner is the cheapest candidate that is not clearly worse than the best on validation documents."""

import dataclasses
import math

import numpy as np
import pytest
import worlds
from comparison.test_triage import job_on
from resealed import reseal

from segue.comparison.choice import NO_INTERVAL, NO_RANKS, Candidate, Cost, choose, chosen_by_fold, cost_of, simplest
from segue.comparison.job import VALIDATION, FoldResult
from segue.comparison.options import OPTIONS, choose_options
from segue.comparison.run import run_triage
from segue.retrieval.rerank.settings import RerankSettings

GROUPS = np.repeat(np.arange(20), 5)
PLAIN, CASCADE, MODEL = (Cost(False, 1, False, 0), Cost(False, 4, False, 0), Cost(True, 4, False, 1e6))
FIRST = np.tile([1.0, 1.0, 1.0, 0.5, 0.5], 20)
"""1 / rank of 20 documents' windows: mean 0.8, the same in every document."""


def candidate(name: str, cost: Cost, values) -> Candidate:
    values = np.asarray(values, dtype=float)
    return Candidate(name, cost, float(values.mean()), values)


def with_two_better(values):
    """Raise one window of document 0 and lower one of document 1: the mean stays, the two documents differ."""
    changed = values.copy()
    changed[0], changed[5] = changed[0] - 0.5, changed[5] - 0.5
    changed[3], changed[8] = changed[3] + 0.5, changed[8] + 0.5
    return changed


def test_of_two_that_tie_the_cheaper_wins():
    better = FIRST.copy()
    better[3] = 1.0  # one window of one document of 20: no evidence
    found = simplest([candidate("rerank", MODEL, better), candidate("copy-last-rerank", CASCADE, FIRST)], GROUPS)
    assert (found.winner, found.best, found.saved) == ("copy-last-rerank", "rerank", "without a trained model")
    assert found.difference.value == pytest.approx(-0.5 / 100)
    assert found.difference.low < 0 <= found.difference.high


def test_a_clearly_better_one_wins_whatever_it_costs():
    better = np.tile([1.0, 1.0, 1.0, 1.0, 0.5], 20)  # one window more in each of 20 documents
    found = simplest([candidate("copy-last", PLAIN, FIRST), candidate("rerank", MODEL, better)], GROUPS)
    assert (found.winner, found.best, found.difference, found.saved) == ("rerank", "rerank", None, "")


def test_the_cheapest_of_several_that_tie_wins_not_the_next_to_best():
    best = with_two_better(FIRST)
    best[13] = 1.0
    found = simplest([candidate("rerank", MODEL, best), candidate("cascade", CASCADE, with_two_better(FIRST)),
                      candidate("copy-last", PLAIN, FIRST), candidate("mean", PLAIN, 0.5 * FIRST)], GROUPS)  # fmt: skip
    assert (found.winner, found.saved) == ("copy-last", "without a trained model")


def test_of_equally_cheap_ones_the_better_wins_even_without_evidence():
    better = FIRST.copy()
    better[3] = 1.0
    found = simplest([candidate("copy-last", PLAIN, FIRST), candidate("mean", PLAIN, better)], GROUPS)
    assert (found.winner, found.difference) == ("mean", None)


def test_an_old_run_without_ranks_takes_the_best_validation_mrr_and_says_so():
    old = Candidate("rerank", MODEL, 0.81, None)
    found = simplest([old, candidate("copy-last", PLAIN, FIRST)], GROUPS)
    assert (found.winner, found.fallback) == ("rerank", NO_RANKS)


def test_two_groups_of_documents_give_no_interval_so_the_best_wins():
    found = simplest([candidate("rerank", MODEL, FIRST + 0.01), candidate("copy-last", PLAIN, FIRST)], GROUPS % 2)
    assert (found.winner, found.fallback) == ("rerank", NO_INTERVAL)


def test_without_candidates_there_is_no_winner():
    assert simplest([], GROUPS) is None


@pytest.mark.parametrize(
    ("cheap", "expensive", "saved"),
    [
        (Cost(False, 9, True, 5), Cost(True, 1, False, 0), "without a trained model"),
        (Cost(True, 1, True, 5), Cost(True, 4, False, 0), "with 1 part instead of 4"),
        (Cost(False, 2, True, 5), Cost(False, 4, False, 0), "with 2 parts instead of 4"),
        (Cost(False, 1, False, 5), Cost(False, 1, True, 0), "without an encoder at each query"),
        (Cost(True, 1, False, 5), Cost(True, 1, False, math.inf), "with fewer learnt weights"),
    ],
)
def test_cost_is_training_then_parts_then_encoding_then_weights(cheap, expensive, saved):
    assert cheap < expensive
    assert cheap.saved(expensive) == saved


def test_the_cost_of_options_counted_by_hand(tmp_path):
    """Texts are there: a fitted reranker has a first stage, two sources that read words, and trees."""
    job = job_on(worlds.drift_world(0, 12, 8, 16), tmp_path / "run", OPTIONS)
    training = {"parameters": 100}
    results = {option.name: [FoldResult("done", training=training if option.trained else None)] for option in OPTIONS}
    found = {option.name: cost_of(job, option, results) for option in OPTIONS}
    assert found["copy-last"] == found["exp-mean"] == found["bm25"] == (False, 1, False, 0)
    assert found["ridge"] == (False, 1, False, (3 * 16 + 1) * 16)
    assert found["encoder-context"] == (False, 1, True, 0)
    assert found["copy-last-rerank"] == (False, 4, False, 0)
    assert found["gru"] == (True, 1, False, 100)
    assert found["two-tower"] == (True, 2, False, 100)
    assert found["rerank"] == (True, 4, False, 100)
    assert found["copy-last-by-model"] == (True, 2, False, 0)
    assert found["fusion"] == (True, 4, False, 0)
    assert found["text-dual-encoder"][:3] == (True, 2, True)
    assert found["cross-encoder"][:3] == (True, 5, True)  # behind a fitted reranker
    no_words = job.with_tables(rerank=RerankSettings(bm25=0, bm25_context=0, kind="both"))
    assert cost_of(no_words, next(one for one in OPTIONS if one.name == "copy-last-rerank"), results).parts == 3


def ranked(job, number: int, rank: int, status: str = "done") -> FoldResult:
    """Return a result on a fold: every validation window has the same rank."""
    ranks = np.full(len(job.validation_windows(job.experiment.folds[number])), rank)
    return FoldResult(status, validation={"MRR": 1 / rank}, validation_ranks=ranks)


def test_the_winner_and_the_choice_inside_each_fold_follow_one_rule_among_finished_candidates(tmp_path):
    options = [option for option in OPTIONS if option.name in ("oracle", "copy-last", "ridge", "copy-last-rerank")]
    job = job_on(worlds.drift_world(0, 40, 8, 16), tmp_path / "run", options, folds=2)
    results = {
        "oracle": [ranked(job, 0, 1), ranked(job, 1, 1)],
        "copy-last": [ranked(job, 0, 2), ranked(job, 1, 2)],
        "ridge": [ranked(job, 0, 1), FoldResult("failed", "diverged")],
        "copy-last-rerank": [ranked(job, 0, 1), ranked(job, 1, 2)],
    }
    assert choose(job, results).winner == "copy-last-rerank"
    assert chosen_by_fold(job, results) == ["copy-last-rerank", "copy-last"]
    assert choose(job, results, among=options[:2]).winner == "copy-last"
    of_fewer = dataclasses.replace(results["copy-last"][0], validation_ranks=np.array([2, 2]))
    found = choose(job, results | {"copy-last": [of_fewer, results["copy-last"][1]]})
    assert (found.winner, found.fallback) == ("copy-last-rerank", NO_RANKS)
    failed = {name: [FoldResult("failed"), FoldResult("failed")] for name in results}
    assert (choose(job, failed), chosen_by_fold(job, failed)) == (None, [])


def test_ranks_of_validation_windows_are_kept_and_without_them_a_run_is_chosen_as_before(tmp_path):
    options = choose_options("baselines")
    job = job_on(worlds.drift_world(1, 16, 8, 16), tmp_path / "run", options)
    (fold,) = job.experiment.folds
    results = run_triage(job)
    for option in options:
        folder = job.folder(option, fold)
        (result,) = results[option.name]
        if result.status == "done":
            kept = FoldResult.load(folder).validation_ranks
            assert len(kept) == len(job.validation_windows(fold))
            assert (1 / kept).mean() == pytest.approx(result.validation["MRR"], abs=1e-12)
            (folder / VALIDATION).unlink()
            reseal(folder / "result.json")
            (folder / "timings.npz").unlink(missing_ok=True)  # they name the result that they belong to
    old = run_triage(job)
    assert {found[0].validation_ranks is None for found in old.values()} == {True}
    (ridge,) = old["ridge"]
    best = old | {"ridge": [dataclasses.replace(ridge, validation={"MRR": 1.0})]}
    assert (choose(job, best).winner, choose(job, best).fallback) == ("ridge", NO_RANKS)
