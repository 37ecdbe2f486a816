"""SG107 raises when noise in the target or after it changes a single bit of what a row answers."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
import worlds
from check_cases import row, small_case, vectors_row
from faults_integrity_b import BothWays, Centred, NextRow, ShiftedBatches

from segue.checks.integrity.sg107_no_future import CHECK, MAXIMUM_WINDOWS, _differ, _one_of_each_document, _with_noise
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import DenseRetriever
from segue.retrieval.retrievers.baselines import Oracle, copy_last, mean
from segue.retrieval.retrievers.bm25 import Bm25
from segue.types import Windows
from segue.windows.windows import WindowSettings, gather_contexts, make_windows

BANK = worlds.noise_world(documents=8, length=7)  # 4 tested documents


def case_of(*rows, bank=BANK, **more):
    return small_case(bank, *rows, **more)


def query(query, name="asked"):
    return vectors_row(name, query, BANK)


class Scored(DenseRetriever):
    """Cosine with the last passage, divided by a statistic of the whole bank."""

    def __init__(self, bank, *, statistic=lambda vectors: 1.0, declared=False):
        super().__init__("scored", "candidate", pool=Pool(bank), bank=bank, counts_bank=declared)
        self.bank, self.statistic, self.declared = bank, statistic, declared

    def over(self, bank):
        return Scored(bank, statistic=self.statistic, declared=self.declared)

    def values(self, contexts):
        vectors = self.bank.gather(np.arange(len(self.bank))).astype(np.float64)
        return contexts.vectors[:, -1].astype(np.float64) @ vectors.T / self.statistic(vectors)


@dataclass
class Unsteady:
    """Adds noise of its own, as a device that adds up in another order every time."""

    generator: np.random.Generator

    def __call__(self, contexts):
        exact = mean(contexts)
        return (exact + 1e-7 * self.generator.uniform(-1, 1, exact.shape)).astype(np.float32)


def test_answers_made_of_the_context_pass_and_the_control_moves_all_of_them():
    rows = (query(copy_last), query(mean, "mean"), row("bm25", Bm25(BANK, Pool(BANK))), row("scored", Scored(BANK)))
    verdict = CHECK.examine(case_of(*rows))
    assert (verdict.outcome, verdict.measured) == ("passed", 0.0)
    assert verdict.details["gathers"] == {"evaluation": 0.0, "training": 0.0}
    assert verdict.details["windows"] == 4
    assert {name: found["control"] for name, found in verdict.details["rows"].items()} == dict.fromkeys(
        ("asked", "mean", "bm25", "scored"), 1.0
    )


@pytest.mark.parametrize("leaking", [NextRow, BothWays, Centred])
def test_a_query_that_reads_the_future_from_the_bank_is_an_issue(leaking):
    verdict = CHECK.examine(case_of(query(leaking(BANK)), query(mean, "mean")))
    assert (verdict.outcome, verdict.measured) == ("issue", 1.0)
    assert verdict.details["rows"]["asked"]["changed"] == 1.0
    assert verdict.details["rows"]["mean"]["changed"] == 0.0
    assert "asked" in verdict.statement


def test_scores_that_rest_on_the_whole_bank_are_an_issue_unless_they_say_so():
    def size(vectors):
        return float(np.abs(vectors).sum())

    hidden = CHECK.examine(case_of(row("scored", Scored(BANK, statistic=size))))
    declared = CHECK.examine(case_of(row("scored", Scored(BANK, statistic=size, declared=True))))
    assert (hidden.outcome, declared.outcome) == ("issue", "passed")


def test_a_training_batch_that_holds_the_target_is_an_issue():
    verdict = CHECK.examine(case_of(query(mean), batches=ShiftedBatches))
    assert verdict.outcome == "issue"
    assert verdict.details["gathers"] == {"evaluation": 0.0, "training": 1.0}
    assert "what training gathers for 100% of 4 windows" in verdict.statement


def test_a_gather_that_reads_the_target_is_an_issue_without_any_row():
    def gather(bank, windows, **how):
        return gather_contexts(bank, Windows(windows.context + 1, windows.target), **how)

    verdict = CHECK.examine(case_of(gather=gather))
    assert (verdict.outcome, verdict.details["gathers"]["evaluation"]) == ("issue", 1.0)


def test_texts_of_the_future_are_seen_where_vectors_are_clean():
    def gather(bank, windows, **how):
        contexts = gather_contexts(bank, windows, **how)
        if contexts.texts is None:
            return contexts
        after = bank.texts(windows.target)
        return dataclasses.replace(
            contexts, texts=[(*texts, last) for texts, last in zip(contexts.texts, after, strict=True)]
        )

    assert CHECK.examine(case_of(gather=gather)).details["gathers"]["evaluation"] == 1.0


def test_a_row_that_never_repeats_itself_bit_by_bit_is_held_to_its_own_spread():
    verdict = CHECK.examine(case_of(query(Unsteady(np.random.default_rng(0)))))
    assert verdict.details["rows"]["asked"]["largest"] > 0
    assert verdict.details["rows"]["asked"]["changed"] < 0.5, "0.5: chance decides which of two draws is larger"


def test_noise_stands_in_the_target_and_after_it_and_nowhere_else():
    case = case_of()
    windows = _one_of_each_document(case)
    trial = _with_noise(case, windows)
    future = {
        other
        for target in trial.windows.target.tolist()
        for other in range(len(trial.copy))
        if trial.copy.document_of[other] == trial.copy.document_of[target]
        and trial.copy.position[other] >= trial.copy.position[target]
    }
    changed = np.flatnonzero((trial.noisy.vectors != trial.copy.vectors).any(axis=1))
    texts = [n for n in range(len(trial.copy)) if trial.noisy.passage_texts[n] != trial.copy.passage_texts[n]]
    assert set(changed.tolist()) == set(texts) == future
    assert np.allclose(np.linalg.norm(trial.noisy.vectors, axis=1), 1, atol=1e-5)
    assert len(np.unique(case.documents(windows))) == len(windows) == 4


def test_at_most_so_many_documents_are_asked():
    case = case_of(bank=worlds.noise_world(documents=2 * MAXIMUM_WINDOWS + 10, length=4), test=MAXIMUM_WINDOWS + 5)
    assert CHECK.examine(case).details["windows"] == MAXIMUM_WINDOWS


def test_windows_that_ask_for_something_else_than_the_next_passage_are_left_to_sg102():
    (fold,) = case_of().folds
    shifted = dataclasses.replace(fold, test=Windows(fold.test.context, fold.test.target - 1))
    verdict = CHECK.examine(dataclasses.replace(case_of(query(mean)), folds=(shifted,)))
    assert verdict.outcome == "not-applicable"
    assert "SG102" in verdict.statement


def test_padded_contexts_and_a_bank_of_vectors_alone_pass():
    bank = dataclasses.replace(BANK, passage_texts=None)
    (fold,) = small_case(bank).folds
    windows = make_windows(bank, fold.split.test, WindowSettings(context=3, minimum_context=1))
    case = dataclasses.replace(
        small_case(bank, vectors_row("mean", mean, bank)), folds=(dataclasses.replace(fold, test=windows),)
    )
    assert CHECK.examine(case).outcome == "passed"


def test_one_document_is_enough():
    bank = worlds.noise_world(documents=1, length=7)
    assert CHECK.examine(small_case(bank, vectors_row("mean", mean, bank))).outcome == "passed"
    leaking = CHECK.examine(small_case(bank, vectors_row("next", NextRow(bank), bank)))
    assert (leaking.outcome, leaking.details["windows"]) == ("issue", 1)


def test_a_row_that_cannot_be_asked_hides_no_other_and_is_never_vouched_for():
    oracle = query(Oracle(BANK, case_of().folds[0].test.take(slice(0, 1))), "oracle")
    assert CHECK.examine(case_of(oracle, query(NextRow(BANK)))).outcome == "issue"
    with pytest.raises(ValueError, match="the oracle does not know the passage after"):
        CHECK.examine(case_of(oracle, query(mean)))


def test_bits_are_compared_and_nan_equals_itself():
    before = np.array([[np.nan, 1.0], [2.0, 0.0], [1.0, 1.0]], dtype=np.float32)
    after = before.copy()
    after[1, 1] = -0.0
    after[2, 0] = np.nextafter(np.float32(1), np.float32(2))
    assert _differ(before, after).tolist() == [False, True, True]
