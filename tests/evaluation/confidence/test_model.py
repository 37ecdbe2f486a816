"""What a confidence reads of a ranking, and that a fitted one can be carried in a bundle."""

import json

import numpy as np
import pytest
from worlds import all_windows, make_bank, messy_world, reverse_documents

from segue.errors import InputError
from segue.evaluation.confidence.model import CUTOFFS, FEATURES, PLACES, Confidence, _entropy, ranking_features
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import mean
from segue.types import Contexts, Rankings
from segue.windows.windows import gather_contexts


def fitted(seed=0):
    generator = np.random.default_rng(seed)
    count = len(FEATURES)
    return Confidence(generator.standard_normal(count), generator.uniform(0.5, 2, count),
                      generator.standard_normal((len(CUTOFFS), 3 * count)), np.array([-1.0, 0.5]))  # fmt: skip


def by_hand():
    """One ranking over unit vectors in a plane, whose cosines are those of their angles."""
    angles = np.deg2rad([0, 60, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100])
    bank = make_bank(np.stack([np.cos(angles), np.sin(angles)], axis=1), [12])
    rows = np.arange(2, 12)[None]
    vectors = bank.vectors[[0, 1]][None]
    contexts = Contexts(vectors, np.ones((1, 2), dtype=bool), np.array([[0, 1]]), np.array([[0, 1]]))
    return bank, contexts, Rankings(rows, np.linspace(0.9, 0.0, 10, dtype=np.float32)[None])


def test_features_by_hand():
    bank, contexts, rankings = by_hand()
    found = dict(zip(FEATURES, ranking_features(rankings, contexts, bank)[0].tolist(), strict=True))
    cosine = lambda degrees: np.cos(np.deg2rad(degrees))  # noqa: E731
    assert found["best score"] == pytest.approx(0.9)
    assert found["margin to the second"] == pytest.approx(0.1)
    assert found["margin to the fifth"] == pytest.approx(0.4)
    assert found["spread of the first ten"] == pytest.approx(np.sqrt(99 / 12) / 10)
    shares = np.exp(-np.arange(10) / np.sqrt(99 / 12))
    shares /= shares.sum()
    assert found["entropy of the first ten"] == pytest.approx(-(shares * np.log(shares)).sum() / np.log(10))
    assert found["cosine of the best to the last passage read"] == pytest.approx(cosine(50))
    assert found["mean cosine of the best to the passages read"] == pytest.approx((cosine(10) + cosine(50)) / 2)
    assert found["mean cosine of the best to the others"] == pytest.approx(
        np.mean([cosine(10 * n) for n in range(1, 10)])
    )
    assert found["mean cosine of one passage read to the next"] == pytest.approx(0.5)


def test_features_of_an_answer_with_empty_places_are_finite_and_of_none_are_zero():
    bank, contexts, rankings = by_hand()
    rows, scores = rankings.rows.copy(), rankings.scores.copy()
    rows[:, 1:], scores[:, 1:] = -1, -np.inf
    features = dict(zip(FEATURES, ranking_features(Rankings(rows, scores), contexts, bank)[0].tolist(), strict=True))
    assert features["margin to the second"] == 0.0
    assert features["mean cosine of the best to the others"] == 0.0
    assert features["entropy of the first ten"] == pytest.approx(1.0)
    nothing = Rankings(np.full((1, PLACES), -1), np.full((1, PLACES), -np.inf, dtype=np.float32))
    assert not ranking_features(nothing, contexts, bank).any()
    assert not fitted()(nothing, contexts, bank).any()


def test_a_short_ranking_is_refused():
    bank, contexts, rankings = by_hand()
    with pytest.raises(InputError, match="too short"):
        ranking_features(Rankings(rankings.rows[:, :9], rankings.scores[:, :9]), contexts, bank)


def test_confidence_does_not_depend_on_row_numbers():
    bank = messy_world()
    windows = all_windows(bank, minimum=1)
    found = []
    for here, asked in ((bank, windows), reverse_documents(bank, windows)):
        retriever = VectorRetriever("mean", "candidate", mean, Pool(here))
        contexts = gather_contexts(here, asked)
        features = ranking_features(retriever.rank(contexts, PLACES), contexts, here)
        assert np.isfinite(features).all()
        found.append(features)
    assert np.allclose(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_five_places_are_never_less_probable_than_one():
    probabilities = fitted().of_features(np.random.default_rng(3).standard_normal((200, len(FEATURES))))
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert (probabilities[:, 1] >= probabilities[:, 0]).all()
    assert (probabilities[:, 1] == probabilities[:, 0]).any()  # two regressions alone would cross


def test_saved_and_read_back_it_answers_the_same():
    model, (bank, contexts, rankings) = fitted(), by_hand()
    again = Confidence.from_json(json.loads(json.dumps(model.to_json())))
    assert np.array_equal(again(rankings, contexts, bank), model(rankings, contexts, bank))
    with pytest.raises(InputError, match="another version"):
        Confidence.from_json(model.to_json() | {"features": ["best score"]})


def test_how_even_scores_are_does_not_depend_on_their_level_or_scale():
    scores = np.array([[0.9, 0.5, 0.4, 0.1]])
    even = _entropy(scores)
    assert _entropy(scores * 1e6) == pytest.approx(even)
    assert _entropy(scores + 1e4) == pytest.approx(even)
    assert _entropy(-scores[:, ::-1]) < 1.0
