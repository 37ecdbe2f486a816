"""SG205: negatives counted by a loop, and false ones made on purpose."""

import dataclasses

import numpy as np
from check_cases import small_case, trained_row, with_rows
from worlds import make_bank, noise_world

from segue.checks.diagnosis.sg205_negatives_seen import CHECK, FALSE_NEGATIVE_COSINE
from segue.training.batches import Batches
from segue.training.losses.loss import LOSSES
from segue.windows.windows import WindowSettings, make_windows

PURE = LOSSES["infonce"]


def of_bank(folder, bank, *, loss=PURE, **settings):
    row = trained_row(folder, bank, loss=loss, span_corruption=0.0, **settings)
    return with_rows(small_case(bank), row)


def naive_count(case, batch_size):
    """Count, window by window, the other targets that are neither of the target's text nor read."""
    windows = case.folds[0].train
    batches = Batches(case.bank, windows, batch_size=batch_size, seed=1)
    group, counts = case.bank.duplicate_group, []
    for step in range(min(4, batches.steps_per_epoch)):
        batch = windows.take(batches.chosen(step))
        for place, own in enumerate(batch.target):
            read = {group[row] for row in batch.context[place]} | {group[own]}
            counts.append(sum(group[other] not in read for other in np.delete(batch.target, place)))
    return np.mean(counts)


def test_negatives_are_counted_as_a_loop_counts_them(tmp_path):
    case = of_bank(tmp_path, noise_world(documents=20))
    verdict = CHECK.examine(case)
    found = verdict.details["rows"]["model"]
    assert found["claimed"] == 15
    assert found["seen"] == naive_count(case, 16)
    assert found["seen"] < 15


def test_a_large_batch_passes_where_there_are_enough_windows(tmp_path):
    verdict = CHECK.examine(of_bank(tmp_path, noise_world(documents=60), batch_size=64))
    assert verdict.outcome == "passed"
    assert verdict.details["rows"]["model"]["with_false_negative"] == 0


def test_an_accumulated_batch_claims_more_than_it_sees(tmp_path):
    verdict = CHECK.examine(of_bank(tmp_path, noise_world(documents=60), batch_size=64, record={"batch_size": 256}))
    assert verdict.outcome == "issue"
    assert verdict.details["rows"]["model"]["claimed"] == 255
    assert verdict.measured < 0.25


def test_fewer_windows_than_the_batch_holds_ask_for_documents_not_for_a_larger_batch(tmp_path):
    case = of_bank(tmp_path, noise_world(documents=20), batch_size=2048)
    windows = len(case.folds[0].train)
    verdict = CHECK.examine(case)
    assert windows < 2048
    assert verdict.outcome == "tip"
    assert f"only {windows} training windows" in verdict.statement
    assert verdict.fix == "add training documents: a larger batch_size cannot add negatives"


def test_copies_under_other_names_are_false_negatives(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((60, 8))
    rows = np.concatenate([np.arange(60), np.arange(60), np.arange(60, 120) % 60])  # the first five documents, thrice
    copied = make_bank(vectors[rows], [12] * 15)
    case = of_bank(tmp_path, copied, batch_size=64)
    fold = case.folds[0]
    everything = make_windows(copied, np.arange(15), WindowSettings(context=2))
    case = dataclasses.replace(case, folds=(dataclasses.replace(fold, train=everything),), _cache={})
    verdict = CHECK.examine(case)
    assert verdict.outcome == "issue"
    share = verdict.details["rows"]["model"]["with_false_negative"]
    assert share > 0.25
    assert (verdict.measured, verdict.threshold) == (1 - share, 0.95)
    assert "remove near-copies" in verdict.fix
    grouped = dataclasses.replace(copied, duplicate_group=np.arange(180) % 60)
    masked = CHECK.examine(dataclasses.replace(case, bank=grouped, _cache={}))
    assert masked.details["rows"]["model"]["with_false_negative"] == 0


def test_a_row_without_contrast_is_left_out(tmp_path):
    assert CHECK.examine(of_bank(tmp_path, noise_world(), loss=LOSSES["ar-cosine"])).outcome == "not-applicable"


def test_one_training_document_has_a_control_of_its_own(tmp_path):
    bank = noise_world(documents=4)
    verdict = CHECK.examine(of_bank(tmp_path, bank, batch_size=8))
    assert verdict.details["rows"]["model"]["near_at_random"] is None
    assert 0 < FALSE_NEGATIVE_COSINE < 1
