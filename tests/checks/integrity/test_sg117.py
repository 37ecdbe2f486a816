"""SG117: documents that are slices of a text, and passages in the order of numbers as text."""

import numpy as np
import pytest
from check_cases import bank_case
from worlds import essay_texts_and_vectors, make_bank, noise_world

from segue.checks import Case
from segue.checks.integrity.sg117_documents_are_units import CHECK, _share
from segue.ranking.pool import Pool

TEXTS, VECTORS = essay_texts_and_vectors()


def case_of(vectors=VECTORS, texts=TEXTS):
    return bank_case(vectors, texts)


def test_whole_documents_in_order_pass():
    verdict = CHECK.examine(case_of())
    assert verdict.outcome == "passed"
    assert abs(verdict.measured) < 0.4


def test_slices_of_longer_texts_are_an_issue():
    flat = VECTORS.reshape(-1, VECTORS.shape[-1])
    bank = make_bank(flat[: 37 * 17], [37] * 17)  # essays of 16 passages: most slices end inside one
    verdict = CHECK.examine(Case(bank, Pool(bank)))
    assert verdict.outcome == "issue"
    assert verdict.measured > 0.7


def test_whole_documents_in_the_order_of_their_names_are_no_issue_though_neighbours_share_a_subject():
    """Four subjects of ten documents each: the ends of two documents are alike, and so are all their passages."""
    generator = np.random.default_rng(5)
    subjects = np.repeat(generator.standard_normal((4, 48)), 10, axis=0)
    vectors = subjects[:, None] + 0.5 * generator.standard_normal((40, 16, 48))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    ends = np.einsum("dk,dk->d", vectors[:-1, -1], vectors[1:, 0]).mean()
    within = np.einsum("dpk,dpk->dp", vectors[:, :-1], vectors[:, 1:]).mean()
    assert ends > 0.7 * within
    assert CHECK.examine(case_of(vectors.astype(np.float32), TEXTS)).outcome == "tip"


@pytest.mark.parametrize("first", [0, 1])
def test_an_order_of_numbers_as_text_is_an_issue(first):
    length = VECTORS.shape[1]
    order = np.array(sorted(range(first, length + first), key=str)) - first
    verdict = CHECK.examine(case_of(VECTORS[:, order], [[part[place] for place in order] for part in TEXTS]))
    assert (verdict.outcome, verdict.measured > 0, verdict.threshold) == ("issue", True, 0.0)
    assert "sorted as text" in verdict.statement


def test_noise_and_few_documents_are_not_judged():
    for bank in (noise_world(documents=20, length=8), noise_world(documents=5, length=8)):
        assert CHECK.examine(Case(bank, Pool(bank))).outcome == "not-applicable"


def test_likeness_across_ends_is_measured_from_different_documents_to_neighbours():
    """Mean 0.3 between 0.2 and 0.6: a quarter; deviations of 0.1, 20 of them."""
    share, error = _share(np.array([0.2, 0.4] * 10), within=0.6, apart=0.2)
    assert share == pytest.approx(0.25)
    assert error == pytest.approx(0.1 * (20 / 19) ** 0.5 / 20**0.5 / 0.4)
