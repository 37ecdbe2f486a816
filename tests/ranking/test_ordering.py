"""Two rankings differ only where more than close scores changed places."""

import numpy as np
import pytest

from segue.ranking.ordering import differ_beyond_ties
from segue.types import Rankings


def ranking(rows, scores):
    return Rankings(np.array([rows]), np.array([scores]))


@pytest.mark.parametrize(
    ("theirs", "their_scores", "expected"),
    [
        ([7, 3, 4], [0.9, 0.5, 0.5], False),
        ([7, 4, 3], [0.9, 0.5, 0.5], False),  # equal scores in another order
        ([7, 3, 8], [0.9, 0.5, 0.5], False),  # another of the equal scores at the end
        ([3, 7, 4], [0.9, 0.5, 0.5], True),
        ([8, 3, 4], [0.9, 0.5, 0.5], True),
        ([7, 3, 4], [0.9, 0.6, 0.5], True),
        ([7, 3, -1], [0.9, 0.5, -np.inf], True),  # fewer answers
    ],
)
def test_rankings_differ_only_beyond_ties(theirs, their_scores, expected):
    ours = ranking([7, 3, 4], [0.9, 0.5, 0.5])
    assert differ_beyond_ties(ours, ranking(theirs, their_scores), tolerance=1e-5).tolist() == [expected]


def test_two_empty_rankings_agree():
    empty = ranking([-1], [-np.inf])
    assert differ_beyond_ties(empty, empty, tolerance=1e-5).tolist() == [False]
