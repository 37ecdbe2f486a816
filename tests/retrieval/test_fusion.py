import numpy as np
import pytest
from worlds import all_windows, drift_world, unit

from segue.errors import SettingsError
from segue.retrieval.rerank import Candidates, Reranker
from segue.retrieval.rerank.fusion import Diversified, Fusion, maximal_marginal_relevance, weighted_sum
from segue.windows.windows import gather_contexts

BANK = drift_world()
CONTEXTS = gather_contexts(BANK, all_windows(BANK).take(slice(0, 1)))


def test_sources_that_did_not_draw_a_candidate_give_it_their_least():
    scores = np.array([[[4.0, 2.0, -np.inf], [1.0, -np.inf, 3.0]]])
    assert np.allclose(weighted_sum(scores, np.ones(2)), [[1 - 1, -1 - 1, -1 + 1]])


def test_fusion_needs_a_weight_for_each_source():
    candidates = Candidates(np.array([[3, 4]]), np.zeros((1, 2)), sources=np.zeros((1, 2, 2)))
    fusion = Fusion((1.0, 1.0, 1.0))
    assert isinstance(fusion, Reranker)
    with pytest.raises(SettingsError, match="one for each of 2 sources"):
        fusion.scores(CONTEXTS, candidates)


@pytest.mark.parametrize("by", ["ranks", "scores"])
def test_fusion_says_nothing_of_pads(by):
    sources = np.array([[[0.9, 0.5, -np.inf], [-np.inf, 2.0, -np.inf]]])
    candidates = Candidates(np.array([[3, 4, -1]]), np.array([[0.9, 0.5, -np.inf]]), sources=sources)
    scores = Fusion(by=by).scores(CONTEXTS, candidates)
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
