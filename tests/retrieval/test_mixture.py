from dataclasses import dataclass

import numpy as np
from worlds import all_windows, messy_world

from segue.ranking.pool import Pool
from segue.retrieval.rerank import CandidateLists, Reranker
from segue.retrieval.rerank.features import Features
from segue.retrieval.rerank.fusion import Mixture, standardised
from segue.retrieval.rerank.interface import UncountedReranker
from segue.types import Contexts
from segue.windows.windows import gather_contexts


@dataclass(frozen=True)
class Fixed(UncountedReranker):
    """Returns given scores."""

    values: np.ndarray
    name: str = "fixed"
    reads_text: bool = False

    def over(self, bank):
        return self

    def scores(self, contexts, candidates):
        return self.values


@dataclass(frozen=True)
class Reading(UncountedReranker):
    """Returns the second feature as score."""

    features: Features
    name: str = "reading"

    def over(self, bank):
        return Reading(self.features.over(bank))

    def scores(self, contexts, candidates):
        return self.features.compute(contexts, candidates)[:, :, 1]


def test_a_mixture_is_the_mean_of_scores_standardised_within_the_list():
    rows = np.array([[4, 5, 6], [7, 8, -1], [9, -1, -1], [-1, -1, -1]])
    nowhere = -np.inf
    one = np.array([[1.0, 2.0, 3.0], [10.0, 30.0, nowhere], [5.0, nowhere, nowhere], [nowhere] * 3])
    other = np.array([[7.0, 7.0, 7.0], [3.0, 1.0, nowhere], [1.0, nowhere, nowhere], [nowhere] * 3])
    candidates = CandidateLists(rows, np.where(rows < 0, nowhere, 0.0))
    empty = np.empty((4, 0), dtype=np.int64)
    contexts = Contexts(
        np.zeros((4, 1, 2), dtype=np.float32), np.ones((4, 1), dtype=bool), np.zeros((4, 1), int), empty
    )
    mixture = Mixture((Fixed(one), Fixed(other, reads_text=True)))
    assert isinstance(mixture, Reranker)
    assert (mixture.reads_text, mixture.counts_bank) == (True, False)
    scores = mixture.scores(contexts, candidates)
    root = 1.5**0.5  # (1, 2, 3) has the deviation √(2/3)
    assert np.allclose(scores[0], [-root / 2, 0.0, root / 2])  # equal scores say nothing
    assert np.allclose(scores[1, :2], [0.0, 0.0])  # two opinions, opposite
    assert scores[2, 0] == 0.0
    assert np.isneginf(scores[candidates.rows < 0]).all()


def test_members_that_share_features_pay_for_them_once(monkeypatch):
    bank = messy_world()
    features = Features(bank, Pool(bank), context=3, groups=["prediction", "context"])
    times = []
    computed = Features._compute
    monkeypatch.setattr(Features, "_compute", lambda *given: times.append(1) or computed(*given))
    mixture = Mixture((Reading(features), Reading(features)))
    contexts = gather_contexts(bank, all_windows(bank, minimum=1).take(slice(0, 2)))
    candidates = CandidateLists(np.array([[0, 1], [2, 3]]), np.zeros((2, 2)))
    own = features.compute(contexts, candidates)[:, :, 1]
    assert np.allclose(mixture.scores(contexts, candidates), standardised(own, candidates.there))
    assert len(times) == 1
    moved = mixture.over(bank).members
    assert moved[0].features is moved[1].features is not features
