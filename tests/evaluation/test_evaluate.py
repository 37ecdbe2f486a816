import contextlib
import dataclasses
from typing import get_args

import faiss
import numpy as np
import pytest
import torch
from check_cases import EFFORT
from resealed import reseal
from worlds import cycle_world, drift_world, make_bank, noise_world, transition_world

from segue.checks import Case
from segue.checks.diagnosis.sg207_anisotropy import CHECK as SG207
from segue.errors import InputError, StorageError
from segue.evaluation.evaluate import Condition, Evaluation, EvaluationSettings, evaluate, merge
from segue.evaluation.gates import REPORT_GATES, Judged, judge
from segue.evaluation.intervals import bootstrap
from segue.evaluation.latency import (
    WARM_UP,
    Stopwatch,
    latency_metrics,
    measure_latency,
    quantile_interval,
)
from segue.evaluation.metrics import chance as expected_by_chance
from segue.hardware import threads
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import Oracle, copy_last, mean
from segue.retrieval.retrievers.bm25 import Bm25
from segue.retrieval.retrievers.chance import Chance
from segue.windows.windows import WindowSettings, gather_contexts, make_windows

FAST = EvaluationSettings(latency_queries=0, resamples=500, run_depth=20)


def windows_of(bank, documents=None, context=3):
    documents = np.arange(len(bank.first_row)) if documents is None else np.asarray(documents)
    return make_windows(bank, documents, WindowSettings(context=context))


def run(retriever, bank, windows, settings=FAST, **options):
    groups = np.arange(len(bank.first_row))
    return evaluate(retriever, bank, windows, groups=groups, settings=settings, **options)


def vector(name, query, bank, intent="candidate"):
    return VectorRetriever(name, intent, query, Pool(bank))


def same(a: Evaluation, b: Evaluation) -> bool:
    """Equal in every field, arrays included."""

    def equal(x, y):
        if isinstance(x, dict):
            return x.keys() == y.keys() and all(equal(x[key], y[key]) for key in x)
        if isinstance(x, np.ndarray):
            return x.dtype == y.dtype and np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
        return x == y

    return all(equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(Evaluation))


@pytest.mark.parametrize("kind", ["chance", "copy-last", "mean", "bm25"])
def test_noise_scores_chance_within_its_intervals(kind):
    bank = noise_world(documents=40, length=14)
    pool = Pool(bank)
    retriever = {
        "chance": lambda: Chance(pool, 1),
        "copy-last": lambda: vector("copy-last", copy_last, bank),
        "mean": lambda: vector("mean", mean, bank),
        "bm25": lambda: Chance(pool, 2),
    }[kind]()
    evaluation = run(retriever, bank, windows_of(bank))
    expected = expected_by_chance(pool.size - 3)
    for name in ("R@5", "R@20", "Contain@50", "MRR"):
        interval = evaluation.metrics[name]
        # one interval in twenty may miss; twice its width does not
        width = interval.high - interval.low
        assert interval.low - width <= expected[name] <= interval.high + width
    assert abs(evaluation.metrics["median rank"].value / expected["median rank"] - 1) < 0.15


def test_noise_passes_no_gate():
    bank = noise_world(documents=40, length=14)
    evaluations = {
        "ar-cosine": run(vector("ar-cosine", mean, bank), bank, windows_of(bank)),
        "copy-last": run(vector("copy-last", copy_last, bank), bank, windows_of(bank)),
    }
    judged = {name: Judged(e.ranks, e.groups, e.targets, e.values(), e.scalars) for name, e in evaluations.items()}
    outcomes = judge(REPORT_GATES, judged, "copy-last", resamples=500)
    assert [outcome.name for outcome in outcomes if outcome.outcome == "pass"] == []


def test_oracle_scores_one_and_is_a_control():
    bank = transition_world()
    windows = windows_of(bank)
    evaluation = run(vector("oracle", Oracle(bank, windows), bank, "control"), bank, windows)
    assert evaluation.intent == "control"
    for name in ("R@1", "MRR", "nDCG@10", "Eff@5", "median rank"):
        assert evaluation.metrics[name].value == 1.0
    assert np.allclose(evaluation.cosine, 1.0)
    assert np.allclose(evaluation.contrastive, 1.0)


def test_ranks_and_conditions_equal_a_naive_loop():
    bank = drift_world(documents=6, length=9)
    windows = windows_of(bank)
    fresh = np.array([1, 3])
    own = windows.take(np.isin(bank.document_of[windows.target], fresh))
    evaluation = run(vector("copy-last", copy_last, bank), bank, own, fresh_documents=fresh)
    assert evaluation.fresh_pool_sizes == (18,)
    for place, (context, target) in enumerate(zip(own.context, own.target, strict=True)):
        scores = bank.vectors.astype(np.float64) @ bank.vectors[context[-1]].astype(np.float64)
        document = bank.document_of[target]
        first = bank.first_row[document]

        def rank(allowed, excluded, scores=scores, target=target):
            return 1 + sum(scores[r] > scores[target] - 1e-6 for r in allowed if r not in excluded and r != target)

        everything = range(len(bank))
        inside = [row for row in everything if bank.document_of[row] == document]
        assert evaluation.ranks[place] == rank(everything, set(context))
        assert evaluation.ranks_by_pool["context-left-in"][place] == rank(everything, set())
        assert evaluation.ranks_by_pool["prefix"][place] == rank(everything, set(range(first, target)))
        assert evaluation.ranks_by_pool["in-document"][place] == rank(inside, set(context))
        unseen = [row for row in everything if bank.document_of[row] in fresh]
        assert evaluation.ranks_by_pool["fresh"][place] == rank(unseen, set(context))
        assert evaluation.cosine[place] == pytest.approx(scores[target], abs=1e-6)


def repetitive_world():
    """Documents of 4 to 9 passages, some with the text of an earlier one, some deleted."""
    generator = np.random.default_rng(5)
    lengths = [4, 9, 6, 5, 8, 4]
    rows = sum(lengths)
    texts = [f"text {number}" for number in generator.integers(28, size=rows)]
    return make_bank(generator.standard_normal((rows, 8)), lengths, texts, dead=[7, 20])


@pytest.mark.parametrize("exclude", ["context", "prefix"])
@pytest.mark.parametrize("kind", ["copy-last", "bm25"])
def test_horizon_is_the_best_rank_of_the_next_three_in_a_naive_loop(kind, exclude):
    bank = repetitive_world()
    windows = windows_of(bank)
    retriever = vector("copy-last", copy_last, bank) if kind == "copy-last" else Bm25(bank, Pool(bank))
    evaluation = run(retriever, bank, windows, FAST.model_copy(update={"exclude": exclude}))
    groups, asked = bank.duplicate_group, set()
    for place, (context, target) in enumerate(zip(windows.context, windows.target, strict=True)):
        if kind == "copy-last":
            scores = bank.vectors.astype(np.float64) @ bank.vectors[context[-1]].astype(np.float64)
        else:
            one = windows.take(slice(place, place + 1))
            scores = retriever.values(gather_contexts(bank, one, texts=True))[0]
        first = bank.first_row[bank.document_of[target]]
        read = {groups[row] for row in (context if exclude == "context" else range(first, target)) if bank.alive[row]}
        best = {g: max(scores[r] for r in range(len(bank)) if groups[r] == g and bank.alive[r])
                for g in {groups[r] for r in range(len(bank)) if bank.alive[r]} - read}  # fmt: skip
        end = min(target + 3, first + bank.num_rows[bank.document_of[target]])
        later = [groups[row] for row in range(target, end) if bank.alive[row] and groups[row] not in read]
        asked.add(len(later))
        ranks = [1 + sum(s > best[own] - 1e-6 for g, s in best.items() if g != own) for own in later]
        assert evaluation.horizon[place] == min(ranks)
    assert asked == {1, 2, 3}


def test_a_document_of_one_window_has_the_horizon_of_its_target():
    bank = drift_world(documents=6, length=4)
    evaluation = run(vector("copy-last", copy_last, bank), bank, windows_of(bank))
    assert np.array_equal(evaluation.horizon, evaluation.ranks)
    assert evaluation.macro()["horizon R@5"] == evaluation.macro()["R@5"]
    assert evaluation.metrics["horizon R@5"] == evaluation.metrics["R@5"]


def test_an_evaluation_of_an_earlier_version_has_no_horizon(tmp_path):
    bank = drift_world(documents=8, length=10)
    evaluation = run(vector("copy-last", copy_last, bank), bank, windows_of(bank))
    old = dataclasses.replace(evaluation, horizon=None, metrics={})
    old.save(tmp_path / "old")
    assert same(Evaluation.load(tmp_path / "old"), old)
    assert "horizon R@5" not in old.metrics
    assert merge([old, old]).horizon is None
    assert "horizon R@5" in merge([evaluation, evaluation]).metrics


def test_word_ranks_within_documents_equal_ranks_over_each_document():
    bank = drift_world(documents=6, length=9)
    windows = windows_of(bank)
    retriever = Bm25(bank, Pool(bank))
    inside = run(retriever, bank, windows).ranks_by_pool["in-document"]
    for document in range(6):
        own = windows.take(bank.document_of[windows.target] == document)
        contexts = gather_contexts(bank, own, texts=True)
        alone = retriever.target_ranks(contexts, own.target, pool=Pool(bank, np.array([document])))
        assert np.array_equal(inside[bank.document_of[windows.target] == document], alone)


@pytest.mark.parametrize("kind", ["copy-last", "bm25"])
def test_evaluation_does_not_depend_on_the_batch_size(kind):
    bank = drift_world(documents=8, length=10)
    windows = windows_of(bank)
    retriever = vector("copy-last", copy_last, bank) if kind == "copy-last" else Bm25(bank, Pool(bank))
    whole = run(retriever, bank, windows, FAST.model_copy(update={"batch_size": 1000}))
    parts = run(retriever, bank, windows, FAST.model_copy(update={"batch_size": 7}))
    assert same(whole, parts)


@pytest.mark.parametrize("kind", ["copy-last", "bm25"])
def test_fewer_conditions_change_no_rank_and_what_is_not_asked_is_absent(kind):
    bank = drift_world(documents=8, length=10)
    windows, fresh = windows_of(bank, [1, 2, 3]), np.array([1, 2, 3])
    retriever = vector("copy-last", copy_last, bank) if kind == "copy-last" else Bm25(bank, Pool(bank))
    every = run(retriever, bank, windows, fresh_documents=fresh)
    assert set(every.ranks_by_pool) == set(get_args(Condition))
    for condition in get_args(Condition):
        some = run(
            retriever, bank, windows, FAST.model_copy(update={"conditions": (condition,)}), fresh_documents=fresh
        )
        assert set(some.ranks_by_pool) == {condition}
        assert np.array_equal(some.ranks_by_pool[condition], every.ranks_by_pool[condition])
        assert np.array_equal(some.ranks, every.ranks)
        assert some.fresh_pool_sizes == (every.fresh_pool_sizes if condition == "fresh" else ())
    assert run(retriever, bank, windows, FAST.model_copy(update={"conditions": ()})).ranks_by_pool == {}


def test_declared_exclusion_is_what_ranks_are_under():
    bank = drift_world(documents=8, length=10)
    windows = windows_of(bank)
    retriever = vector("copy-last", copy_last, bank)
    context = run(retriever, bank, windows)
    prefix = run(retriever, bank, windows, FAST.model_copy(update={"exclude": "prefix"}))
    nothing = run(retriever, bank, windows, FAST.model_copy(update={"exclude": "none"}))
    assert np.array_equal(prefix.ranks, context.ranks_by_pool["prefix"])
    assert np.array_equal(nothing.ranks, context.ranks_by_pool["context-left-in"])
    assert (nothing.ranks > context.ranks).all()  # the last passage stands before everything
    assert (nothing.rankings[:, 0] == windows.context[:, -1]).all()
    assert not np.isin(context.rankings[:, 0], windows.context[:, -1][:1]).all()


def test_retrievers_without_a_query_vector_have_no_cosine():
    bank = drift_world(documents=8, length=10)
    evaluation = run(Bm25(bank, Pool(bank)), bank, windows_of(bank))
    assert evaluation.cosine is None
    assert evaluation.contrastive is None
    assert evaluation.copying is None
    assert not {"cosine", "contrastive accuracy", "copying ratio"} & evaluation.metrics.keys()


def test_copy_last_has_a_copying_ratio_above_one_and_the_oracle_of_one():
    bank = cycle_world(documents=8, length=10)
    windows = windows_of(bank)
    copying = run(vector("copy-last", copy_last, bank), bank, windows).metrics["copying ratio"].value
    oracle = run(vector("oracle", Oracle(bank, windows), bank), bank, windows).metrics["copying ratio"].value
    assert copying > 1.1
    assert oracle == pytest.approx(1.0)


def test_rankings_hold_the_target_at_its_rank():
    bank = drift_world(documents=8, length=10)
    windows = windows_of(bank)
    evaluation = run(vector("copy-last", copy_last, bank), bank, windows)
    shallow = np.flatnonzero(evaluation.ranks <= 20)
    assert len(shallow) > 10
    assert (evaluation.rankings[shallow, evaluation.ranks[shallow] - 1] == windows.target[shallow]).all()


@pytest.mark.parametrize("kind", ["copy-last", "bm25"])
def test_save_and_load_is_identity(kind, tmp_path):
    bank = drift_world(documents=8, length=10)
    retriever = vector("copy-last", copy_last, bank) if kind == "copy-last" else Bm25(bank, Pool(bank))
    settings = FAST.model_copy(update={"latency_queries": 5})
    evaluation = run(retriever, bank, windows_of(bank), settings, fresh_documents=np.arange(8))
    evaluation.save(tmp_path / "evaluation")
    assert same(Evaluation.load(tmp_path / "evaluation"), evaluation)
    evaluation.save(tmp_path / "evaluation")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluation"]


def test_broken_files_are_named(tmp_path):
    bank = drift_world(documents=8, length=10)
    run(vector("copy-last", copy_last, bank), bank, windows_of(bank)).save(tmp_path)
    (tmp_path / "arrays.npz").write_bytes(b"half")
    with pytest.raises(StorageError, match=r"arrays\.npz is not the file"):
        Evaluation.load(tmp_path)
    reseal(tmp_path / "evaluation.json")
    with pytest.raises(InputError, match=r"arrays\.npz"):
        Evaluation.load(tmp_path)
    with pytest.raises(InputError, match=r"evaluation\.json"):
        Evaluation.load(tmp_path / "nowhere")


def test_folds_merge_to_the_evaluation_of_all_windows():
    bank = drift_world(documents=9, length=10)
    retriever = vector("copy-last", copy_last, bank)
    folds = [run(retriever, bank, windows_of(bank, part)) for part in np.split(np.arange(9), 3)]
    merged, whole = merge(folds), run(retriever, bank, windows_of(bank))
    assert not np.array_equal(merged.contrastive, whole.contrastive)  # a fold's windows are compared with each other
    dropped = {"contrastive": None, "metrics": {}}
    assert same(dataclasses.replace(merged, **dropped), dataclasses.replace(whole, **dropped))


def test_merging_keeps_what_every_fold_has():
    bank = drift_world(documents=8, length=10)
    settings = FAST.model_copy(update={"latency_queries": 10})
    retriever = vector("copy-last", copy_last, bank)
    first = run(retriever, bank, windows_of(bank, range(4)), settings, fresh_documents=np.arange(4))
    second = run(retriever, bank, windows_of(bank, range(4, 8)), settings, fresh_documents=np.arange(4, 8))
    merged = merge([first, second])
    assert len(merged.timings["search"]) == 20
    assert merged.fresh_pool_sizes == (40, 40)
    assert len(merged.ranks_by_pool["fresh"]) == len(merged) == len(first) + len(second)
    assert "fresh" not in merge([first, dataclasses.replace(second, ranks_by_pool={})]).ranks_by_pool


def test_what_cannot_be_compared_is_not_merged():
    bank = drift_world(documents=8, length=10)
    evaluation = run(vector("copy-last", copy_last, bank), bank, windows_of(bank))
    for change in ({"pool_size": 3}, {"name": "mean"}, {"exclude": "none"}):
        with pytest.raises(InputError, match=f"differ in {next(iter(change))}"):
            merge([evaluation, dataclasses.replace(evaluation, **change)])
    with pytest.raises(InputError, match="no evaluation to merge"):
        merge([])


def test_no_window_is_an_error():
    bank = drift_world()
    with pytest.raises(InputError, match="no window"):
        run(vector("copy-last", copy_last, bank), bank, windows_of(bank).take(slice(0, 0)))


def test_intervals_are_over_groups():
    bank = drift_world(documents=24, length=10)
    windows = windows_of(bank)
    retriever = vector("copy-last", copy_last, bank)
    apart = evaluate(retriever, bank, windows, groups=np.arange(24), settings=FAST)
    paired = evaluate(retriever, bank, windows, groups=np.arange(24) // 6, settings=FAST)
    assert np.array_equal(paired.groups, apart.documents // 6)
    assert apart.metrics["R@5"].value == paired.metrics["R@5"].value
    how = {"resamples": FAST.resamples, "seed": FAST.seed}
    for evaluation, groups in ((apart, apart.documents), (paired, apart.documents // 6)):
        assert evaluation.metrics["MRR"] == bootstrap({"MRR": 1 / apart.ranks}, groups, **how)["MRR"]
    assert apart.num_documents == 24


def test_duplicates_of_the_target_count_as_the_target():
    vectors = np.eye(4, 3)[[0, 1, 2, 1]] + 0.1
    bank = make_bank(vectors, [2, 2], ["a", "same", "b", "same"])
    windows = windows_of(bank, [0], context=1)
    evaluation = run(vector("copy-last", copy_last, bank), bank, windows)
    assert evaluation.pool_size == 3
    assert evaluation.ranks.tolist() == [2]  # "b" ties and counts against; the copy of the target does not


def test_latency_has_the_stages_of_the_retriever_and_restores_threads():
    bank = drift_world(documents=8, length=10)
    windows = windows_of(bank)
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    timings = measure_latency(vector("copy-last", copy_last, bank), bank, windows, queries=12)
    assert set(timings) == {"predict", "search", "total"}
    assert all(len(samples) == 12 for samples in timings.values())
    assert (timings["total"] >= timings["predict"] + timings["search"] - 1e-9).all()
    assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == before
    assert set(measure_latency(Bm25(bank, Pool(bank)), bank, windows, queries=2)) == {"search", "total"}
    assert measure_latency(Bm25(bank, Pool(bank)), bank, windows, queries=0) == {}
    names = {f"{stage}_p{percent}_ms" for stage in timings for percent in (50, 95, 99)}
    assert latency_metrics(timings).keys() == names


def test_queries_are_timed_on_one_thread_and_warm_up_queries_are_not_counted(monkeypatch):
    bank = drift_world(documents=8, length=10)
    threads = []

    def query(contexts):
        threads.append((torch.get_num_threads(), faiss.omp_get_max_threads(), len(contexts)))
        return copy_last(contexts)

    clock = iter(np.cumsum([1.0] * 10_000))  # every reading is a second later, whatever the machine does
    monkeypatch.setattr("segue.evaluation.latency.perf_counter", lambda: float(next(clock)))
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    torch.set_num_threads(2)
    faiss.omp_set_num_threads(2)
    try:
        timings = measure_latency(vector("counted", query, bank), bank, windows_of(bank), queries=7)
        assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == (2, 2)
    finally:
        torch.set_num_threads(before[0])
        faiss.omp_set_num_threads(before[1])
    assert set(threads) == {(1, 1, 1)}
    assert len(threads) == WARM_UP + 7
    assert timings["predict"].tolist() == [1000.0] * 7


def test_threads_are_restored_after_an_error():
    torch.set_num_threads(2)
    try:
        with contextlib.suppress(RuntimeError), threads(1):
            assert torch.get_num_threads() == 1
            raise RuntimeError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_stopwatch_adds_up_stages(monkeypatch):
    clock = iter([0.0, 0.002, 0.005, 0.006, 0.007])
    monkeypatch.setattr("segue.evaluation.latency.perf_counter", lambda: next(clock))
    watch = Stopwatch()
    watch("predict")
    watch("search")
    watch("search")
    stages = watch.stop()
    assert stages == pytest.approx({"predict": 2.0, "search": 4.0, "total": 7.0})


def test_quantile_interval_covers_as_often_as_it_says():
    generator = np.random.default_rng(0)
    truth = np.log(20.0)  # P95 of the exponential distribution
    intervals = [quantile_interval(generator.exponential(size=200)) for _ in range(600)]
    covered = np.mean([i.low <= truth <= i.high for i in intervals])
    assert 0.93 <= covered <= 0.99


def test_quantile_interval_of_few_samples_has_no_upper_end():
    interval = quantile_interval(np.arange(1.0, 21.0))
    assert interval.high is None
    assert interval.low is not None
    assert quantile_interval(np.array([3.0])).value == 3.0


def test_progress_is_told_and_texts_are_gathered_only_for_readers(monkeypatch):
    bank = drift_world(documents=8, length=10)
    told = []
    gathered = []

    def spy(*arguments, **options):
        gathered.append(options["texts"])
        return gather_contexts(*arguments, **options)

    monkeypatch.setattr("segue.evaluation.evaluate.gather_contexts", spy)
    settings = FAST.model_copy(update={"batch_size": 30})
    run(vector("copy-last", copy_last, bank), bank, windows_of(bank), settings, progress=lambda *a: told.append(a))
    assert told == [(30, 56, "copy-last"), (56, 56, "copy-last")]
    assert gathered == [False, False]


def test_contrastive_accuracy_leaves_out_what_was_read_and_the_passage_after_the_target():
    """Three documents of three orthogonal passages, one of them read: the targets are 1, 2, 4, 5, 7 and 8.

    Each query points to the passage after its target, or, for the last one of a document, to passage 1. Only targets 5
    and 8 are beaten: by passage 1, one of four others that are compared.
    """
    bank = make_bank(np.eye(9), [3, 3, 3])
    nearer = {1: 2, 2: 1, 4: 5, 5: 1, 7: 8, 8: 1}

    def query(contexts):
        targets = contexts.rows[:, -1] + 1
        vectors = bank.vectors[[nearer[target] for target in targets.tolist()]] + 0.5 * bank.vectors[targets]
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    evaluation = run(vector("next", query, bank), bank, windows_of(bank, context=1))
    assert evaluation.contrastive.tolist() == [1.0, 1.0, 1.0, 0.75, 1.0, 0.75]


QUERIES = {"copy-last": copy_last, "mean": mean}


def drawn_from(kind, bank):
    return Bm25(bank, Pool(bank)) if kind == "bm25" else vector(kind, QUERIES[kind], bank)


def with_documents_in(bank, order):
    """Return the bank with its documents in another order, and the old row of each of its rows."""
    rows = np.concatenate([np.flatnonzero(bank.document_of == document) for document in order])
    texts = [bank.passage_texts[row] for row in rows]
    return make_bank(bank.vectors[rows], bank.num_rows[order].tolist(), texts), rows


@pytest.mark.parametrize("kind", ["copy-last", "mean", "bm25"])
def test_the_order_of_the_documents_changes_no_rank_and_no_metric(kind):
    bank = drift_world(documents=12, length=10)
    order = np.random.default_rng(4).permutation(12)
    other, rows = with_documents_in(bank, order)
    before, after = (run(drawn_from(kind, one), one, windows_of(one)) for one in (bank, other))
    of_target = dict(zip(before.targets.tolist(), before.ranks.tolist(), strict=True))
    assert [of_target[row] for row in rows[after.targets]] == after.ranks.tolist()
    for name, metric in before.metrics.items():
        assert after.metrics[name].value == pytest.approx(metric.value, rel=1e-12), name


def test_the_number_of_threads_changes_no_rank_and_no_answer():
    bank = drift_world(documents=12, length=10)
    found = []
    for count in (1, 3):
        with threads(count):
            found.append(run(drawn_from("mean", bank), bank, windows_of(bank)))
    assert same(*found)


@pytest.mark.parametrize("noise", [0.0, 1e-9, 1e-4])
def test_a_constant_and_a_nearly_constant_encoder_score_no_more_than_chance_and_sg207_names_them(noise):
    world = noise_world(documents=40, length=14)
    vectors = np.tile(np.eye(16)[0], (len(world), 1)) + noise * world.vectors
    bank = make_bank(vectors, world.num_rows.tolist(), world.passage_texts)
    found = run(drawn_from("mean", bank), bank, windows_of(bank)).metrics
    expected = expected_by_chance(len(bank) - 3)
    for name in ("R@5", "R@20", "MRR"):
        spread = max((found[name].high or 0.0) - (found[name].low or 0.0), 0.01)
        assert found[name].value <= expected[name] + spread
    if noise == 0.0:  # each target ties with all other candidates, and ties count against it
        assert found["MRR"].value == pytest.approx(1 / (len(bank) - 3))
    verdict = SG207.examine(Case(bank, Pool(bank), effort=EFFORT))
    assert verdict.outcome == "tip"
    assert verdict.details["as it is"]["random_cosine"] == pytest.approx(1.0, abs=1e-3)
