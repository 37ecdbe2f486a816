"""A confidence is fitted on what was asked, knows what can be known, and says so where nothing can."""

import dataclasses
import json

import numpy as np
import pytest
from worlds import drift_world, make_bank, noise_world

from segue.evaluation.confidence.fit import (
    KINDS,
    MIX,
    QuerySample,
    confidence_record,
    fit_confidence,
    found_within,
    sample_queries,
)
from segue.evaluation.confidence.model import CUTOFFS, FEATURES, PLACES, Confidence
from segue.evaluation.experiment import Experiment, Fold, build_experiment
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last
from segue.retrieval.retrievers.bm25 import Bm25
from segue.types import Split
from segue.windows.splits import SplitSettings
from segue.windows.windows import WindowSettings, gather_contexts, last_contexts, make_windows


def windows_of(bank, context=3, minimum=None):
    settings = WindowSettings(context=context, minimum_context=minimum)
    return make_windows(bank, np.arange(len(bank.first_row)), settings)


def copying(bank):
    return VectorRetriever("copy-last", "candidate", copy_last, Pool(bank))


def asked_of(bank, windows, retriever=None, **how):
    return sample_queries(retriever or copying(bank), bank, windows, groups=np.arange(len(bank.first_row)), **how)


class Recorder:
    """A retriever that notes what it was asked and what it answered."""

    def __init__(self, retriever):
        self._retriever, self.asked = retriever, []

    def __getattr__(self, name):
        return getattr(self._retriever, name)

    def score(self, contexts):
        self.asked.append(contexts)
        return self._retriever.score(contexts)


def test_two_windows_in_three_are_asked_as_they_are_and_every_document_ends_once():
    bank = drift_world(documents=6, length=8)
    windows, recorder = windows_of(bank), Recorder(copying(bank))
    asked = asked_of(bank, windows, recorder)
    assert asked.counts() == {"answerable": 20, "absent": 10, "ended": 6}
    answerable, absent, ended = recorder.asked
    assert np.array_equal(answerable.exclude, answerable.rows)
    assert np.array_equal(absent.exclude[:, :3], absent.rows)
    assert np.array_equal(absent.exclude[:, 3], absent.rows[:, -1] + 1)
    assert ended.rows[:, -1].tolist() == [7, 15, 23, 31, 39, 47]
    together = np.sort(np.concatenate([answerable.rows[:, -1], absent.rows[:, -1]]))
    assert np.array_equal(together, windows.context[:, -1])


def test_no_more_windows_are_asked_than_allowed():
    bank = drift_world(documents=6, length=12)
    asked = asked_of(bank, windows_of(bank), most=9)
    assert asked.counts() == {"answerable": 6, "absent": 3, "ended": 6}


def wordy_world(documents=10, length=9):
    """Documents whose passages draw their words from a few of many."""
    generator = np.random.default_rng(4)
    words = np.array([f"word{number}" for number in range(60)])
    own = [words[generator.choice(60, 12, replace=False)] for _ in range(documents)]
    texts = [" ".join(generator.choice(own[row // length], 6)) for row in range(documents * length)]
    return make_bank(generator.standard_normal((documents * length, 8)), [length] * documents, texts)


@pytest.mark.parametrize("exclude", ["context", "prefix"])
@pytest.mark.parametrize("kind", ["copy-last", "bm25"])
def test_what_is_right_agrees_with_the_ranks(kind, exclude):
    bank = drift_world(documents=10, length=9, drift=1.2) if kind == "copy-last" else wordy_world()
    windows = windows_of(bank)
    retriever = copying(bank) if kind == "copy-last" else Bm25(bank, Pool(bank))
    asked = asked_of(bank, windows, retriever, exclude=exclude)
    chosen = windows.take(np.arange(len(windows)) % 3 != 2)
    ranks = retriever.target_ranks(gather_contexts(bank, chosen, exclude=exclude, texts=True), chosen.target)
    assert np.array_equal(asked.right[asked.kinds == 0], ranks[:, None] <= np.array(CUTOFFS))
    assert not asked.right[asked.kinds > 0].any()
    assert 0 < asked.right[:, 1].sum() < (asked.kinds == 0).sum()


def test_ties_and_duplicates_count_as_in_ranks():
    vectors = np.eye(3)[[0, 1, 1, 2, 2, 2]] + 0.1
    bank = make_bank(vectors, [3, 3], ["read", "next", "tie", "same", "same", "other"])
    windows = windows_of(bank, context=1).take(slice(0, 1))
    contexts = gather_contexts(bank, windows)
    retriever = copying(bank)
    rankings = retriever.rank(contexts, PLACES)
    (rank,) = retriever.target_ranks(contexts, windows.target)
    assert rank > 1
    assert found_within(rankings, bank, windows.target).tolist() == [[False, bool(rank <= 5)]]


def test_a_kind_weighs_its_share_whatever_its_number():
    asked = asked_of(drift_world(documents=6, length=8), windows_of(drift_world(documents=6, length=8)))
    weights = asked.weights()
    shares = {kind: weights[asked.kinds == place].sum() / weights.sum() for place, kind in enumerate(KINDS)}
    assert shares == pytest.approx(MIX)
    assert weights.mean() == pytest.approx(1.0)
    alone = dataclasses.replace(asked, kinds=np.zeros_like(asked.kinds))
    assert np.allclose(alone.weights(), 1.0)


def test_last_contexts_are_the_ends_of_whole_documents():
    bank = make_bank(np.random.default_rng(0).standard_normal((14, 4)), [2, 6, 6], dead=[12])
    assert last_contexts(bank, np.arange(3), 3).tolist() == [[-1, 0, 1], [5, 6, 7]]


def known_world(count, seed):
    """Questions whose first feature alone decides how probable a right answer is."""
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((count, len(FEATURES)))
    truth = 1 / (1 + np.exp(-(np.clip(features[:, :1], -2, 2) * 1.5 + np.array([-1.0, 0.5]))))
    right = generator.random((count, 1)) < truth  # nested: within one place is within five
    return QuerySample(features, right, np.zeros(count, dtype=np.int64), np.arange(count) // 10), truth


def test_where_confidence_is_known_it_is_found():
    asked, _ = known_world(6000, 0)
    fresh, truth = known_world(500, 1)
    found = fit_confidence(asked).of_features(fresh.features)
    assert np.abs(found - truth).mean() < 0.03
    assert np.abs(found - truth).max() < 0.12


def test_a_feature_that_never_changes_tells_nothing():
    asked, _ = known_world(300, 2)
    asked.features[:, 3] = 7.0
    model = fit_confidence(asked)
    assert np.isfinite(model.weights).all()
    assert model.weights[:, 3] == pytest.approx(0.0, abs=1e-9)


def record_of(bank, folds=None, context=3, **split):
    settings = SplitSettings(folds=folds, **({"test": 0.4, "validation": 0.4} | split))
    experiment = build_experiment(bank, settings, WindowSettings(context=context))
    retriever = copying(bank)
    return confidence_record(experiment, [retriever] * len(experiment.folds), resamples=300)


def test_in_noise_it_cannot_be_used_and_says_that_nothing_is_a_good_continuation():
    record = record_of(noise_world(documents=60, length=14))
    for judged in record["judged"].values():
        together = judged["together"]
        assert judged["usable"] is False
        assert together["auroc"] is None or together["auroc"]["low"] <= 0.5
        surest = next(step for step in together["curve"] if step["threshold"] == 0.2)
        assert surest["answered"]["value"] < 0.02


def confident_world(documents=60, length=12):
    """Half the documents stay near one topic, where copying finds the next passage; the others wander at random."""
    generator = np.random.default_rng(5)
    topics = np.repeat(generator.standard_normal((documents // 2, 16)), length, axis=0)
    still = topics + 0.3 * generator.standard_normal(topics.shape)
    return make_bank(np.concatenate([still, generator.standard_normal(still.shape)]), [length] * documents)


def test_where_some_contexts_can_be_continued_it_tells_them_apart():
    record = record_of(confident_world())
    five = record["judged"]["R@5"]
    assert five["usable"] is True
    assert five["together"]["auroc"]["low"] > 0.7
    steps = {step["threshold"]: step for step in five["together"]["curve"]}
    assert steps[0.35]["right"]["low"] > steps[0.0]["right"]["value"]
    assert five["together"]["brier"]["value"] < five["together"]["brier_constant"]
    json.dumps(record, allow_nan=False)


def test_folds_are_fitted_apart_and_judged_together():
    bank = confident_world(30)
    record = record_of(bank, folds=3, validation=0.2)
    assert len(record["models"]) == 3
    assert len({model["intercepts"][0] for model in record["models"]}) == 3
    assert record["groups"] == 30
    assert sum(record["queries"]["test"].values()) == 30 * 9 + 30
    assert all(Confidence.from_json(model).weights.shape == (2, 3 * len(FEATURES)) for model in record["models"])


def test_the_same_numbers_every_time():
    bank = confident_world(30)
    assert json.dumps(record_of(bank)) == json.dumps(record_of(bank))


def test_documents_of_one_window_and_vectors_alone_will_do():
    bank = make_bank(np.random.default_rng(0).standard_normal((80, 8)), [4] * 20)
    assert not bank.has_texts
    record = record_of(bank)
    assert record["queries"]["test"]["ended"] == sum(list(record["queries"]["test"].values())[:2])
    json.dumps(record, allow_nan=False)


def test_one_document_a_part_has_numbers_without_intervals():
    bank = drift_world(documents=3, length=10)
    windows = windows_of(bank)
    train, validation, test = (windows.take(bank.document_of[windows.target] == number) for number in range(3))
    split = Split(np.array([0]), np.array([1]), np.array([2]))
    experiment = Experiment(bank, Pool(bank), (Fold(split, train, validation, test),), np.arange(3), 3)
    judged = confidence_record(experiment, [copying(bank)], resamples=200)["judged"]["R@5"]
    assert judged["together"]["right"]["low"] is None
    assert judged["usable"] is False


def test_contexts_shorter_than_the_window_and_fewer_candidates_than_places_will_do():
    bank = drift_world(documents=3, length=3)
    asked = asked_of(bank, windows_of(bank, context=2, minimum=1))
    assert np.isfinite(asked.features).all()
    assert np.isfinite(fit_confidence(asked).of_features(asked.features)).all()


def test_a_confidence_depends_on_validation_windows_and_not_on_test_windows():
    bank = confident_world(30)
    windows, parts = windows_of(bank), np.arange(30) % 3
    train, one, other = (windows.take(parts[bank.document_of[windows.target]] == part) for part in range(3))
    documents = [np.flatnonzero(parts == part) for part in range(3)]

    def models(validation, test):
        split = Split(*documents)
        experiment = Experiment(bank, Pool(bank), (Fold(split, train, validation, test),), np.arange(30), 3)
        return confidence_record(experiment, [copying(bank)], resamples=100)["models"]

    assert models(one, other) == models(one, train)
    assert models(one, other) != models(other, one)


def test_features_are_standardised_by_the_mix_not_by_the_queries_at_hand():
    """Nine queries of one kind hold 0, one of another holds 1: the mean is the other kind's share of the two."""
    features = np.zeros((10, len(FEATURES)))
    features[9, 0] = 1.0
    kinds = np.array([0] * 9 + [1])
    right = np.tile(np.arange(10)[:, None] % 2 == 0, (1, len(CUTOFFS)))
    model = fit_confidence(QuerySample(features, right, kinds, np.arange(10)))
    share = MIX[KINDS[1]] / (MIX[KINDS[0]] + MIX[KINDS[1]])
    assert model.centre[0] == pytest.approx(share)
    assert model.deviation[0] == pytest.approx((share * (1 - share)) ** 0.5)
