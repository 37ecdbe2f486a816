"""SG115: what of the target was read: words that overlap, vectors that look ahead."""

from itertools import pairwise

import numpy as np
import pytest
from check_cases import bank_case
from worlds import essay_texts_and_vectors, noise_world

from segue.checks import Case
from segue.checks.integrity import sg115_target_unread as sg115
from segue.checks.integrity.sg115_target_unread import CHECK, overlapping
from segue.ranking.pool import Pool

TEXTS, VECTORS = essay_texts_and_vectors()


def case_of(vectors=VECTORS, texts=TEXTS):
    return bank_case(vectors, texts)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("a b c d e", "b c d e f", True),  # the last four words
        ("a b c d e", "c d e f g", False),  # three: a phrase
        ("a b c d e", "a b c d e", True),
        ("a b c d e f", "x b c d e f", False),  # inside, not at the beginning
        ("", "a b c d", False),
    ],
)
def test_an_overlap_is_four_words_from_the_end_of_one_passage_to_the_beginning_of_the_next(before, after, same):
    assert overlapping(before, after) is same


def overlapped(documents):
    """Begin every passage of the first documents with the last five words of the one before."""
    return [
        [part[0], *(f"{' '.join(before.split()[-5:])} {after}" for before, after in pairwise(part))]
        if number < documents
        else part
        for number, part in enumerate(TEXTS)
    ]


def test_a_few_overlaps_are_allowed_and_many_are_not():
    shares = [CHECK.examine(case_of(texts=overlapped(documents))) for documents in (0, 3, 5)]
    before = shares[0].measured
    assert before < 0.01  # drawn words repeat by chance
    assert [verdict.outcome for verdict in shares] == ["passed", "passed", "issue"]
    assert [verdict.measured - before for verdict in shares[1:]] == pytest.approx([3 / 40, 5 / 40], abs=0.002)


def test_looking_back_is_no_issue_and_looking_ahead_is():
    back, ahead = VECTORS.copy(), VECTORS.copy()
    back[:, 1:] += 0.5 * VECTORS[:, :-1]
    ahead[:, :-1] += 0.5 * VECTORS[:, 1:]
    units = [part / np.linalg.norm(part, axis=-1, keepdims=True) for part in (back, ahead)]
    assert [CHECK.examine(case_of(unit)).outcome for unit in units] == ["passed", "issue"]


def test_too_few_documents_are_not_judged():
    bank = noise_world(documents=5, length=8)
    assert CHECK.examine(Case(bank, Pool(bank))).outcome == "not-applicable"


def test_exactly_the_allowed_share_of_overlaps_passes(monkeypatch):
    case = case_of(texts=overlapped(5))
    monkeypatch.setattr(sg115, "ALLOWED", CHECK.examine(case).measured)
    assert CHECK.examine(case).outcome == "passed"


def test_words_that_say_nothing_find_no_look_ahead():
    bank = noise_world(documents=20, length=8)
    verdict = CHECK.examine(Case(bank, Pool(bank)))
    assert (verdict.outcome, verdict.details["look_ahead"], verdict.details["look_ahead_score"]) == ("passed", 0.0, 0.0)
