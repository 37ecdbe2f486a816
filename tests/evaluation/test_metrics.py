"""Metrics against hand arithmetic, naive loops and ir_measures; all of them are functions of ranks only."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import RR, R, Success, nDCG

from segue.errors import InputError
from segue.evaluation.metrics import (
    CUTOFFS,
    best_ranks,
    by_document,
    chance,
    contrastive_accuracy,
    copying_ratio,
    horizon_per_window,
    mean,
    metric_range,
    per_window,
    rank_histogram,
    recall_curve,
    summarise,
    summarise_macro,
)

POOL = 60
MEASURES = {
    **{name: Success @ cutoff for name, cutoff in CUTOFFS.items()},
    "MRR": RR,
    "nDCG@10": nDCG @ 10,
}


def as_run(ranks: np.ndarray, depth: int) -> tuple[list, list]:
    """Rankings of POOL candidates (names shuffled per query) whose target stands at the given rank."""
    generator = np.random.default_rng(3)
    qrels, run = [], []
    for query, rank in enumerate(ranks):
        names = [f"d{n}" for n in generator.permutation(POOL)]
        qrels.append(ir_measures.Qrel(str(query), names[rank - 1], 1))
        run += [ir_measures.ScoredDoc(str(query), name, -place) for place, name in enumerate(names[:depth], start=1)]
    return qrels, run


@pytest.mark.parametrize("depth", [POOL, 7])
def test_all_metrics_agree_with_ir_measures(depth: int) -> None:
    ranks = np.random.default_rng(0).integers(1, POOL + 1, 80)
    ranks[:3] = 1, 10, 11
    qrels, run = as_run(ranks, depth)
    theirs = ir_measures.pytrec_eval.calc_aggregate([*MEASURES.values(), R @ 5], qrels, run)
    ours = summarise(ranks, depth=depth)
    for name, measure in MEASURES.items():
        assert ours[name] == pytest.approx(theirs[measure], abs=1e-9), name
    assert ours["R@5"] == pytest.approx(theirs[R @ 5], abs=1e-9)  # one relevant candidate: recall is success
    expected = theirs[Success @ 5] / theirs[Success @ 50]
    assert ours["Eff@5"] == pytest.approx(expected, abs=1e-9)


def test_each_window_agrees_with_ir_measures() -> None:
    ranks = np.array([1, 2, 5, 6, 10, 11, 20, 21, 50, 51])
    qrels, run = as_run(ranks, POOL)
    ours = per_window(ranks)
    names = {measure: name for name, measure in MEASURES.items()}
    for score in ir_measures.pytrec_eval.iter_calc(list(MEASURES.values()), qrels, run):
        assert ours[names[score.measure]][int(score.query_id)] == pytest.approx(score.value, abs=1e-9)


def test_median_rank_by_hand() -> None:
    assert summarise(np.array([9, 1, 4]))["median rank"] == 4
    assert summarise(np.array([9, 1, 4, 6]))["median rank"] == 5


def test_nothing_to_average_is_none_never_zero() -> None:
    nothing = np.array([], dtype=np.int64)
    assert set(summarise(nothing).values()) == {None}
    assert set(summarise_macro(nothing, nothing).values()) == {None}
    assert recall_curve(nothing, [1, 5]) == [None, None]
    assert rank_histogram(nothing) is None
    assert mean(np.array([np.nan])) is None


def test_eff_is_none_when_nothing_is_contained() -> None:
    summary = summarise(np.array([51, 900]))
    assert summary["Contain@50"] == 0
    assert summary["Eff@5"] is None


def test_ranks_below_one_are_refused() -> None:
    with pytest.raises(InputError, match="got 0, expected 1 or more"):
        per_window(np.array([1, 0]))
    with pytest.raises(InputError, match="got 0, expected 1 or more"):
        rank_histogram(np.array([1, 0]))


def test_macro_weighs_documents_alike() -> None:
    ranks, documents = np.array([1, 1, 1, 30, 1, 30]), np.array([5, 5, 5, 5, 9, 9])
    macro = summarise_macro(ranks, documents)
    assert macro["R@1"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert summarise(ranks)["R@1"] == pytest.approx(4 / 6)
    means, numbers = by_document(np.array([1.0, np.nan, 0.0]), np.array([2, 1, 2]))
    assert (means.tolist(), numbers.tolist()) == ([0.5], [2])


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_order_of_windows_does_not_matter(ranks: list[int], random: object) -> None:
    shuffled = list(ranks)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert summarise(np.array(ranks)) == pytest.approx(summarise(np.array(shuffled)))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(2, 200), min_size=1, max_size=30))
def test_a_better_rank_never_scores_less(ranks: list[int]) -> None:
    worse, better = per_window(np.array(ranks)), per_window(np.array(ranks) - 1)
    for name, value in worse.items():
        assert (better[name] >= value).all()
        low, high = metric_range(name)
        assert ((low <= value) & (value <= high)).all()


def test_a_depth_hides_what_stands_below_it() -> None:
    values = per_window(np.array([3, 8]), depth=5)
    assert values["MRR"].tolist() == [1 / 3, 0]
    assert values["R@10"].tolist() == [1, 0]


def test_chance_is_the_average_over_all_ranks() -> None:
    expected = chance(POOL)
    assert expected["R@5"] == pytest.approx(5 / POOL)
    assert expected["MRR"] == pytest.approx(sum(1 / r for r in range(1, POOL + 1)) / POOL)
    assert expected["Eff@5"] == pytest.approx(5 / 50)
    assert expected["median rank"] == np.median(np.arange(1, POOL + 1))


def test_horizon_takes_the_best_of_the_next_passages() -> None:
    ranks = np.array([[9, 3, 40], [7, -1, -1], [1, 2, 3]])
    assert best_ranks(ranks).tolist() == [3, 7, 1]
    scored = horizon_per_window(best_ranks(ranks))
    assert {name: values.tolist() for name, values in scored.items()} == {
        "horizon R@1": [0, 0, 1],
        "horizon R@5": [1, 0, 1],
        "horizon R@10": [1, 1, 1],
    }
    with pytest.raises(InputError, match="no next passage"):
        best_ranks(np.array([[-1, -1]]))
    with pytest.raises(InputError, match="out of range"):
        best_ranks(np.array([[0, 4]]))


def test_histogram_shares_add_up_and_bins_close_on_the_right() -> None:
    shares = rank_histogram(np.array([1, 2, 5, 6, 10, 11, 50, 51, 100, 101, 1000, 1001]))
    assert shares is not None
    assert [round(share * 12) for share in shares.values()] == [1, 2, 2, 2, 2, 2, 1]
    assert list(shares)[-1] == ">1000"


def test_ranges_are_those_of_the_metrics() -> None:
    for name in ("R@1", "Contain@50", "Eff@5", "nDCG@10", "MRR", "horizon R@5", "contrastive accuracy"):
        assert metric_range(name) == (0, 1)
    assert metric_range("median rank") == (1, np.inf)
    assert metric_range("search_p95_ms") == (-np.inf, np.inf)


def unit(generator: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = generator.normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def naive_contrastive_accuracy(predictions, targets, rows, neighbours):
    answers = []
    for i, prediction in enumerate(predictions):
        further = []
        for j, other in enumerate(targets):
            if rows[j] != rows[i] and rows[j] not in neighbours[i]:
                further.append(np.sum((prediction - other) ** 2) > np.sum((prediction - targets[i]) ** 2))
        answers.append(np.mean(further) if further else np.nan)
    return answers


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_contrastive_accuracy_equals_a_naive_loop(block: int) -> None:
    generator = np.random.default_rng(5)
    targets, rows = unit(generator, 40, 8), np.arange(100, 140)
    rows[30] = rows[12]  # the same passage asked for twice
    predictions = unit(generator, 40, 8) + targets
    neighbours = np.stack([rows - 1, rows + 1, rows - 1, np.full(40, -1)], axis=1)
    ours = contrastive_accuracy(predictions, targets, rows, neighbours=neighbours, block=block)
    assert ours == pytest.approx(naive_contrastive_accuracy(predictions, targets, rows, neighbours))


def test_contrastive_accuracy_at_its_ends() -> None:
    targets, rows = np.eye(4, dtype=np.float32), np.array([0, 10, 20, 30])
    nothing = np.full((4, 1), -1)
    assert contrastive_accuracy(targets, targets, rows, neighbours=nothing).tolist() == [1, 1, 1, 1]
    assert contrastive_accuracy(-targets, targets, rows, neighbours=nothing).tolist() == [0, 0, 0, 0]
    same = np.ones((4, 4), dtype=np.float32) / 2  # every distance is equal: ties count against
    assert contrastive_accuracy(same, same, rows, neighbours=nothing).tolist() == [0, 0, 0, 0]
    alone = contrastive_accuracy(targets[:1], targets[:1], rows[:1], neighbours=nothing[:1])
    assert np.isnan(alone).all()


def test_copying_ratio_by_hand() -> None:
    contexts = np.array([[[0.0, 1.0], [1.0, 0.0]]] * 4, dtype=np.float32)
    mask = np.array([[True, True], [False, True], [False, False], [False, True]])
    targets = np.array([[0.6, 0.8], [0.6, 0.8], [0.6, 0.8], [0.0, 1.0]], dtype=np.float32)
    predictions = np.array([[0.0, 1.0], [0.8, 0.6], [1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    ratios = copying_ratio(predictions, targets, contexts, mask)
    assert ratios[:2] == pytest.approx([1 / 0.8, 0.8 / 0.6])
    assert np.isnan(ratios[2:]).all()  # the query has no passages; the truth is unrelated to what was read


def test_a_copying_ratio_exists_from_the_smallest_cosine_on() -> None:
    contexts, mask = np.array([[[1.0, 0.0]]], dtype=np.float32), np.array([[True]])
    target, prediction = np.array([[0.5, 0.75**0.5]], dtype=np.float32), np.array([[1.0, 0.0]], dtype=np.float32)
    assert copying_ratio(prediction, target, contexts, mask, smallest=0.5).tolist() == [2.0]
    assert np.isnan(copying_ratio(prediction, target, contexts, mask, smallest=0.51)).all()
