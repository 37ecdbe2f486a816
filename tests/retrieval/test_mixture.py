from dataclasses import dataclass

import numpy as np

from segue.retrieval.rerank import Candidates, Reranker
from segue.retrieval.rerank.mixture import Mixture
from segue.types import Contexts


@dataclass(frozen=True)
class Fixed:
    """Answers what it was told."""

    values: np.ndarray
    name: str = "fixed"
    reads_text: bool = False
    counts_bank: bool = False

    def over(self, bank):
        return self

    def scores(self, contexts, candidates):
        return self.values


def test_a_mixture_is_the_mean_of_scores_standardised_within_the_list():
    rows = np.array([[4, 5, 6], [7, 8, -1], [9, -1, -1], [-1, -1, -1]])
    nowhere = -np.inf
    one = np.array([[1.0, 2.0, 3.0], [10.0, 30.0, nowhere], [5.0, nowhere, nowhere], [nowhere] * 3])
    other = np.array([[7.0, 7.0, 7.0], [3.0, 1.0, nowhere], [1.0, nowhere, nowhere], [nowhere] * 3])
    candidates = Candidates(rows, np.where(rows < 0, nowhere, 0.0))
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
