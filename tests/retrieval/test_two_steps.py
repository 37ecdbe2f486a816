"""Two steps: the quick reranker's best go to the other one, the rest follow; against a naive loop."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from worlds import all_windows, drift_world

from segue.retrieval.rerank import CandidateLists, Reranker
from segue.retrieval.rerank.fusion import Fusion
from segue.retrieval.rerank.interface import UncountedReranker
from segue.retrieval.rerank.lists import TrainingLists
from segue.retrieval.rerank.two_steps import TwoSteps, keep_best
from segue.windows.windows import gather_contexts

BANK = drift_world()
WINDOWS = all_windows(BANK).take(slice(0, 6))
CONTEXTS = gather_contexts(BANK, WINDOWS)


@dataclass(frozen=True)
class ByRow(UncountedReranker):
    """Scores a candidate by its row, and notes the lists it is given."""

    values: np.ndarray
    seen: list = field(default_factory=list)
    name: str = "by row"

    def over(self, bank):
        return self

    def scores(self, contexts, candidates):
        self.seen.append(candidates)
        return np.where(candidates.there, self.values[np.maximum(candidates.rows, 0)], -np.inf)


@pytest.fixture
def lists():
    """Return lists of 0 to 12 candidates; the scores of the first step tie here and there."""
    generator = np.random.default_rng(1)
    rows = np.full((6, 12), -1)
    for number, size in enumerate((0, 1, 4, 5, 9, 12)):
        rows[number, :size] = generator.choice(len(BANK), size, replace=False)
    sources = np.where(rows[:, None] >= 0, generator.standard_normal((6, 2, 12)), -np.inf)
    candidates = CandidateLists(rows, np.where(rows >= 0, 1.0, -np.inf), sources=sources)
    quick = ByRow(generator.integers(0, 5, len(BANK)).astype(float))
    final = ByRow(generator.standard_normal(len(BANK)))
    return candidates, quick, final


def kept_by_hand(rows, quick, kept):
    """Return the rows that the first step keeps of one list: the best, and what ties with the last of them."""
    there = [int(row) for row in rows if row >= 0]
    falling = sorted((quick.values[row] for row in there), reverse=True)
    return [row for row in there if len(there) <= kept or quick.values[row] >= falling[kept - 1]]


@pytest.mark.parametrize("kept", [1, 4, 50])
def test_the_order_is_that_of_a_naive_loop(lists, kept):
    candidates, quick, final = lists
    both = TwoSteps(quick, final, kept)
    assert isinstance(both, Reranker)
    scores = both.scores(CONTEXTS, candidates)
    for number, rows in enumerate(candidates.rows):
        best = kept_by_hand(rows, quick, kept)
        others = [int(row) for row in rows if row >= 0 and row not in best]
        got = dict(zip(rows.tolist(), scores[number].tolist(), strict=True))
        assert np.isneginf(scores[number][rows < 0]).all()
        assert [got[row] for row in best] == [final.values[row] for row in best]
        for row in others:
            assert got[row] < min(final.values[best])
            assert [got[row] < got[one] for one in others] == [quick.values[row] < quick.values[one] for one in others]


def test_the_reranker_reads_the_kept_candidates_alone(lists):
    candidates, quick, final = lists
    TwoSteps(quick, final, 4).scores(CONTEXTS, candidates)
    (read,) = final.seen
    for number, rows in enumerate(read.rows):
        assert rows[rows >= 0].tolist() == kept_by_hand(candidates.rows[number], quick, 4)
        for place, row in enumerate(rows):
            if row >= 0:
                before = candidates.rows[number].tolist().index(row)
                assert np.array_equal(read.sources[number, :, place], candidates.sources[number, :, before])


def test_training_lists_are_cut_in_the_same_way(lists):
    candidates, quick, final = lists
    label = np.array([-1, 0, 3, -1, 8, 5])
    known = TrainingLists(WINDOWS, candidates, label)
    cut = keep_best(known, quick.scores(CONTEXTS, candidates), 4)
    TwoSteps(quick, final, 4).scores(CONTEXTS, candidates)
    assert np.array_equal(cut.candidates.rows, final.seen[0].rows)
    for number, place in enumerate(label):
        best = kept_by_hand(candidates.rows[number], quick, 4)
        row = candidates.rows[number][place]
        assert cut.label[number] == (best.index(row) if place >= 0 and row in best else -1)


def test_it_reads_what_its_parts_read(lists):
    _, quick, final = lists
    both = TwoSteps(quick, final, 4).over(BANK).counting(np.array([0]))
    assert (both.name, both.reads_text, both.counts_bank) == ("by row in two steps", False, False)
    assert both.kept == 4
    assert isinstance(TwoSteps(quick, Fusion(), 2), Reranker)
