"""Every measurement on a small bank: both sides run, and say of themselves what the table needs."""

import numpy as np
import pytest
from clocks import clock_of
from worlds import drift_world

from benchmarks.speed import BENCHMARKS, benchmark, parsing, ranks, resampling, search, training, whole_bank
from benchmarks.speed.bench import bench
from benchmarks.speed.memory import PeakMemory
from benchmarks.speed.structured_bank import build_structured_bank
from segue.errors import InputError
from segue.files import read_json
from segue.ranking.exact import target_ranks
from segue.ranking.pool import Pool


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return build_structured_bank(drift_world(0, 40, 15, 16), tmp_path_factory.mktemp("bank") / "bank", rows=2500)


def test_every_name_is_a_measurement():
    for name in BENCHMARKS:
        assert callable(benchmark(name))


def test_an_unknown_name_or_setting_is_refused():
    with pytest.raises(InputError, match="got serach, expected all, search"):
        bench("serach")
    with pytest.raises(InputError, match="scale"):
        bench("starting", {"scale": 0.0})


def test_starting_is_measured_and_written(tmp_path, monkeypatch):
    """The first run of each does not count: 0.4 s of at most 0.5 s, and 2 s of at most 1 s."""
    monkeypatch.setattr("benchmarks.speed.starting.time", clock_of(9.0, 9.0, 0.4, 0.25, 9.0, 9.0, 2.0, 0.25))
    found = bench("starting", {"repeats": 1, "cache": tmp_path}, out=tmp_path / "found.json")
    assert read_json(tmp_path / "found.json") == found
    assert [row["name"] for row in found["rows"]] == ["import-segue", "segue-help"]
    assert [row["ratio"] for row in found["rows"]] == pytest.approx([0.4, 2.0])
    assert [row["theirs"]["seconds"]["low"] for row in found["rows"]] == pytest.approx([0.25, 0.25])
    assert [row["met"] for row in found["rows"]] == [True, False]


def test_search_finds_what_was_asked_for_on_both_sides(bank, tmp_path):
    pool, folder = Pool(bank), tmp_path
    drawn = search._queries(pool, folder)
    search._reference(pool, folder, 16, lambda *_: None)
    tuned = search._index(pool, folder, drawn, lambda *_: None)
    ours = search.prepare_ours(bank.path, folder, "search-one")
    theirs = search.prepare_theirs(bank.path, folder, "search-many", probes=16)
    assert tuned["chosen"]["sure"] >= 0.99
    assert ours.facts["recall"] > 0.98
    assert theirs.facts["recall"] == pytest.approx(1.0, abs=1e-3)  # all lists
    one = ours.turn()
    assert 0 < one["p50_ms"] <= one["p95_ms"]
    assert theirs.turn()["queries_per_second"] > 0


def test_recall_counts_each_candidate_once_and_only_what_is_good_enough(bank):
    pool = Pool(bank)
    queries = bank.gather(np.array([3, 9]))
    scores = np.sort(queries @ bank.gather(np.arange(len(bank))).T, axis=1)[:, ::-1]
    best = np.argsort(-(queries @ bank.gather(np.arange(len(bank))).T), axis=1)[:, : search.K]
    assert search.recall(pool, queries, best, scores[:, search.K - 1]) == 1.0
    half = np.where(np.arange(search.K) < search.K // 2, best, best[:, :1])
    assert search.recall(pool, queries, half, scores[:, search.K - 1]) == 0.5


def test_exact_ranks_are_those_of_float64_and_all_sides_run(bank):
    arguments = {"bank": bank.path, "candidates": 2000, "queries": 80}
    ours = ranks.prepare(**arguments)
    assert ours.facts["differs_from_float64"] == 0
    for side in (ours, ranks.prepare_flat(**arguments), ranks.prepare_product(**arguments)):
        assert side.turn() == {}


def test_the_first_rows_of_a_bank_are_a_bank(bank):
    part = ranks.FirstRows(bank, 1111)
    assert sum(len(block) for _, block in part.blocks(500)) == len(part) == part.num_rows.sum() == 1111
    queries, targets, exclude = ranks.queries_and_targets(part, 30)
    assert (part.document_of[targets] == part.document_of[exclude[:, 0]]).all()
    found = target_ranks(queries, Pool(part), targets, exclude=exclude)
    assert np.array_equal(found, ranks.float64_ranks(queries, Pool(part), targets, exclude))


def test_both_trainings_take_steps_on_the_same_windows(bank, monkeypatch):
    monkeypatch.setattr(training, "BATCH", 64)
    monkeypatch.setattr(training, "STEPS", 2)
    arguments = {"bank": bank.path, "architecture": "amn", "windows": 300}
    ours, theirs = training.prepare_ours(**arguments), training.prepare_theirs(**arguments)
    assert ours.facts["windows"] == theirs.facts["windows"] == 300
    assert ours.turn() == theirs.turn() == {}


def test_materialised_windows_hold_the_vectors_of_their_rows(bank):
    windows = training.windows_of(bank, 20)
    contexts, targets = training._materialised(bank, windows)
    assert np.array_equal(contexts[7].numpy(), bank.gather(windows.context[7]))
    assert np.array_equal(targets.numpy(), bank.gather(windows.target))


def test_both_whole_bank_steps_have_the_same_candidates(bank, monkeypatch):
    monkeypatch.setattr(whole_bank, "BATCH", 32)
    ours, theirs = (side(bank.path, 2000) for side in (whole_bank.prepare_ours, whole_bank.prepare_theirs))
    assert ours.facts["candidates"] == theirs.facts["candidates"]
    assert ours.turn() == theirs.turn() == {}


def test_the_other_sides_metrics_are_ours(monkeypatch):
    from ir_measures import parse_measure

    monkeypatch.setattr(resampling, "OPTIONS", 1)
    found, _ = resampling._ranks(40)
    measures = [parse_measure(name) for name in ("R@5", "RR", "nDCG@10")]
    qrels = {str(window): {"target": 1} for window in range(40)}
    values = resampling._score(__import__("ir_measures"), measures, qrels, found[0])
    ranks_within = np.where(found[0] <= resampling.DEPTH, found[0], 10**9)
    np.testing.assert_allclose(values[:, 0], found[0] <= 5)
    np.testing.assert_allclose(values[:, 1], 1 / ranks_within, atol=1e-8)
    assert resampling.prepare_ours(200, 200).turn() == {}
    assert resampling.prepare_theirs(200, 200).turn()["work_processor_seconds"] > 0


def test_remnants_of_markup_are_counted():
    clean, left = "Snow reflects 90% of light; a < b & c.", "''Snow'' [[reflects]] <ref name=a> thumb|left &nbsp;"
    assert parsing.remnants(clean) == 0
    assert parsing.remnants(left) == 7


def test_peak_memory_sees_what_was_let_go_again():
    with PeakMemory() as memory:
        before = memory.peak
        np.ones(20_000_000)
    assert memory.peak - before > 100e6
