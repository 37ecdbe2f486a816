"""SG218: a win that is gone among unseen documents, or under the same reranker, is none."""

import json
from math import comb

import numpy as np
import pytest
from check_cases import by_hand, small_case, with_rows
from worlds import noise_world

from segue.checks.diagnosis.sg218_win_on_unseen_documents import CHECK

CASE = small_case(noise_world(documents=24, length=6, dimension=4))


def examined(ours, theirs, *more, case=CASE):
    """Ranks are given as (among all, among fresh passages)."""
    rows = [by_hand(case, name, everywhere, fresh=fresh)
            for name, (everywhere, fresh) in {"model": ours, "copy-last": theirs}.items()]  # fmt: skip
    return CHECK.examine(with_rows(case, *rows, *more))


def test_a_win_that_is_gone_among_fresh_passages_is_an_issue():
    verdict = examined((4, 4), (20, 4))
    assert verdict.outcome == "issue"
    assert verdict.measured == 0.0
    assert verdict.details["pools"]["R@5"]["all"]["value"] == 1.0
    assert "No entry is reranked." in verdict.statement
    assert verdict.caveats == {"model": "Among passages of unseen documents alone the lead over copy-last is "
                                        "+0.0 points (95 % +0.0 to +0.0)."}  # fmt: skip
    json.dumps(verdict.details, allow_nan=False)


def test_a_win_in_both_pools_passes():
    verdict = examined((4, 2), (20, 15))
    assert (verdict.outcome, verdict.caveats) == ("passed", {})


def test_a_smaller_but_clear_win_survives():
    assert examined((1, 1), (20, 2)).outcome == "passed"  # in R@5 gone, in MRR 1 against 1/2


def test_where_there_is_no_win_there_is_none_to_survive():
    assert examined((20, 20), (4, 4)).outcome == "not-applicable"


def test_the_same_reranker_on_copy_last_takes_the_win():
    reranked = by_hand(CASE, "copy-last-rerank", 1)
    verdict = examined((9, 4), (20, 15), reranked)
    assert verdict.outcome == "issue"
    assert verdict.details["against_the_same_reranker"]["value"] == -1.0
    assert verdict.fix.startswith("serve copy-last-rerank")
    assert examined((4, 2), (20, 15), by_hand(CASE, "copy-last-rerank", 9)).outcome == "passed"
    verdict = examined((4, 2), (20, 15), by_hand(CASE, "copy-last-rerank", 4))
    assert verdict.outcome == "tip"
    assert verdict.fix.startswith("evaluate on more documents")


def test_a_win_that_eight_of_twelve_documents_keep_cannot_be_told():
    found, lost = [1, 50, 50, 50], [50, 50, 50, 50]
    ours, theirs = np.array(found * 8 + lost * 4), np.array(lost * 8 + found * 4)
    # Sign flips over equal leads, 8 against 4: p = 0.39; the lead shrinks in 4 documents of 12: p = 2/16.
    verdict = examined((np.array(found * 12), ours), (50, theirs))
    assert verdict.outcome == "tip"
    tests = verdict.details["pools"]["R@5"]
    assert tests["fresh"]["p"] == pytest.approx(2 * sum(comb(12, n) for n in range(5)) / 2**12)
    assert tests["shrink"]["p"] == pytest.approx(2 / 16)


def test_without_a_fresh_pool_or_with_one_document_nothing_is_said():
    rows = by_hand(CASE, "model", 1), by_hand(CASE, "copy-last", 20)
    assert CHECK.examine(with_rows(CASE, *rows)).outcome == "not-applicable"
    case = small_case(noise_world(documents=2, length=6, dimension=4), test=1)
    assert examined((4, 4), (20, 4), case=case).outcome == "not-applicable"
