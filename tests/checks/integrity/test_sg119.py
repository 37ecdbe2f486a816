"""SG119: what counts as looked up, and cases that cannot be examined; models are in ``tests/workflows``."""

import pytest
import worlds
from check_cases import row, small_case

from segue.checks.integrity.sg119_no_private_copy import AS_SURE, CHECK, JUMP, MOST_CHANCE, Jumps
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.chance import Chance


@pytest.mark.parametrize(
    ("test", "larger", "train", "looked_up"),
    [
        (JUMP, MOST_CHANCE, None, True),
        (JUMP - 1e-9, MOST_CHANCE, None, False),
        (JUMP, MOST_CHANCE - 1e-9, None, False),
        (JUMP, MOST_CHANCE, JUMP / AS_SURE, True),  # as large as in training documents would make it
        (JUMP, MOST_CHANCE, 1.01 * JUMP / AS_SURE, False),
    ],
)
def test_a_jump_counts_from_the_limits_on(test, larger, train, looked_up):
    assert Jumps(test, 0.0, larger, train).looked_up is looked_up


def test_entries_without_query_vectors_are_not_examined():
    bank = worlds.noise_world(documents=24, length=12)
    verdict = CHECK.examine(small_case(bank, row("chance", Chance(Pool(bank), 1))))
    assert verdict.outcome == "not-applicable"
    assert "no entry makes query vectors" in verdict.statement
