import numpy as np
import pytest
from worlds import all_windows, drift_world, unit

from segue.retrieval.rerank import CandidateLists, Reranker
from segue.retrieval.rerank.fusion import Diversified, Fusion, maximal_marginal_relevance
from segue.windows.windows import gather_contexts

BANK = drift_world()
CONTEXTS = gather_contexts(BANK, all_windows(BANK).take(slice(0, 1)))


def test_fusion_says_nothing_of_pads():
    sources = np.array([[[0.9, 0.5, -np.inf], [-np.inf, 2.0, -np.inf]]])
    candidates = CandidateLists(np.array([[3, 4, -1]]), np.array([[0.9, 0.5, -np.inf]]), sources=sources)
    assert isinstance(Fusion(), Reranker)
    scores = Fusion().scores(CONTEXTS, candidates)
    assert np.isfinite(scores[0, :2]).all()
    assert np.isneginf(scores[0, 2])


def greedy(scores, likeness, trade_off):
    """Carbonell and Goldstein's loop for one list without ties."""
    left, taken = list(range(len(scores))), []
    low, high = min(scores), max(scores)
    while left:
        value = {i: trade_off * (scores[i] - low) / (high - low)
                 - (1 - trade_off) * max([0.0, *(likeness[i][j] for j in taken)]) for i in left}  # fmt: skip
        best = max(left, key=value.__getitem__)
        taken.append(best)
        left.remove(best)
    return taken


@pytest.mark.parametrize("trade_off", [0.3, 0.7, 1.0])
def test_maximal_marginal_relevance_equals_the_greedy_loop(trade_off):
    generator = np.random.default_rng(0)
    scores = generator.standard_normal((5, 12))
    scores[3, 9:] = -np.inf
    vectors = unit(generator.standard_normal((5, 12, 4)))
    likeness = np.einsum("bid,bjd->bij", vectors, vectors).astype(np.float64)
    found = maximal_marginal_relevance(scores, likeness, trade_off=trade_off)
    for number in range(5):
        size = int((~np.isneginf(scores[number])).sum())
        order = np.argsort(-found[number], kind="stable")[:size]
        assert order.tolist() == greedy(scores[number][:size], likeness[number], trade_off)
        assert np.isneginf(found[number][size:]).all()


def test_candidates_that_tie_stay_tied():
    likeness = np.array([[[1.0, 1.0, 0.2], [1.0, 1.0, 0.2], [0.2, 0.2, 1.0]]])
    found = maximal_marginal_relevance(np.array([[2.0, 2.0, 1.0]]), likeness, trade_off=0.5)
    assert found[0, 0] == found[0, 1] > found[0, 2]


def test_a_diversified_reranker_says_what_its_reranker_says():
    inner = Fusion()
    outer = Diversified(inner, BANK, 0.5)
    assert isinstance(outer, Reranker)
    assert (outer.name, outer.reads_text, outer.counts_bank) == ("fusion of ranks, diversified", False, False)
