"""SG118 raises when an answer depends on the rest of its batch, and passes where each query stands alone."""

import numpy as np
import pytest
import worlds
from check_cases import small_case, vectors_row

from segue.checks.integrity.sg118_answers_stand_alone import ALONE, CHECK
from segue.retrieval.retrievers.baselines import copy_last

BANK = worlds.noise_world(documents=6, length=6)  # 3 tested documents of 4 windows each: fewer than are queried alone


def without_the_mean_of_the_batch(contexts):
    last = contexts.vectors[:, -1]
    apart = last - last.mean(axis=0) + 1e-3 * last
    return (apart / np.linalg.norm(apart, axis=1, keepdims=True)).astype(np.float32)


def order_in_the_batch(contexts):
    turned = contexts.vectors[:, -1] * np.where(np.arange(len(contexts.vectors)) == 0, -1.0, 1.0)[:, None]
    return turned.astype(np.float32)


def test_queries_that_stand_alone_pass():
    verdict = CHECK.examine(small_case(BANK, vectors_row("copy-last", copy_last, BANK)))
    assert ALONE > 12
    assert (verdict.outcome, verdict.measured) == ("passed", 0.0)


def test_a_large_batch_passes_too():
    bank = worlds.noise_world(documents=20, length=12)
    verdict = CHECK.examine(small_case(bank, vectors_row("copy-last", copy_last, bank)))
    assert (verdict.outcome, verdict.measured) == ("passed", 0.0)


@pytest.mark.parametrize("query", [without_the_mean_of_the_batch, order_in_the_batch])
def test_queries_that_depend_on_their_batch_are_an_issue(query):
    verdict = CHECK.examine(small_case(BANK, vectors_row("model", query, BANK)))
    assert verdict.outcome == "issue"
    assert "model" in verdict.statement
    assert verdict.measured > 0
