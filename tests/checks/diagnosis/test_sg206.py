"""SG206: collapsed predictions are found, others are not, and few windows prove nothing."""

import numpy as np
import pytest
from check_cases import fixed_queries, small_case, vectors_row, with_rows
from worlds import make_bank, noise_world, unit

from segue.checks.diagnosis.sg206_predictions_collapsed import CHECK
from segue.evaluation.geometry import effective_rank, singular_values, spectrum
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.baselines import copy_last
from segue.retrieval.retrievers.bm25 import Bm25


def asked(vectors_of, *, documents=20, dimension=8):
    bank = noise_world(1, documents=documents, dimension=dimension)
    case = small_case(bank)
    vectors = unit(vectors_of(np.random.default_rng(0), len(case.folds[0].test), dimension))
    subject = vectors_row("model", fixed_queries(case, vectors), bank)
    return with_rows(case, subject, vectors_row("copy-last", copy_last, bank))


def full(generator, count, dimension):
    return generator.standard_normal((count, dimension))


def constant(generator, count, dimension):
    return np.ones((count, dimension))


def in_a_line(generator, count, dimension):
    return generator.standard_normal((count, 1)) * np.arange(1, dimension + 1)


def test_effective_rank_of_a_diagonal_is_the_entropy_by_hand():
    shares = np.array([3, 2, 1]) / 6
    by_hand = np.exp(-(shares * np.log(shares)).sum())
    assert effective_rank(singular_values(np.diag([3.0, 1.0, 2.0]))) == pytest.approx(by_hand)


@pytest.mark.parametrize("shape", [(7, 3), (3, 7)])
def test_singular_values_equal_those_of_the_decomposition(shape):
    vectors = np.random.default_rng(0).standard_normal(shape)
    assert np.allclose(singular_values(vectors)[: min(shape)], np.linalg.svd(vectors, compute_uv=False))


def test_a_spectrum_holds_shares_that_add_up_to_one():
    shares = spectrum(singular_values(np.random.default_rng(0).standard_normal((40, 6))))
    assert sum(shares) == pytest.approx(1)
    assert shares == sorted(shares, reverse=True)


def test_predictions_in_all_directions_pass():
    verdict = CHECK.examine(asked(full))
    assert verdict.outcome == "passed"
    assert verdict.measured == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("collapse", [constant, in_a_line])
def test_predictions_in_one_direction_have_collapsed(collapse):
    verdict = CHECK.examine(asked(collapse))
    assert verdict.outcome == "issue"
    assert verdict.details["rows"]["model"]["rank_predictions"] == pytest.approx(1, abs=1e-3)
    assert verdict.details["rows"]["copy-last"]["rank_predictions"] > 7
    assert "copy-last's" in verdict.statement
    assert "targets'" in verdict.statement


def test_a_few_documents_prove_nothing():
    verdict = CHECK.examine(asked(constant, documents=4))
    assert verdict.outcome == "passed"
    assert "Too few documents" in verdict.statement


def test_few_vectors_for_each_dimension_are_said():
    assert "few vectors for each dimension" in CHECK.examine(asked(full, dimension=64)).statement
    assert "few vectors for each dimension" not in CHECK.examine(asked(full, documents=40)).statement


def test_a_row_without_query_vectors_is_not_applicable():
    bank = make_bank(np.eye(6), [6], [f"word{n} and text" for n in range(6)])
    case = small_case(bank)
    subject = vectors_row("x", copy_last, bank)
    words = type(subject)("bm25", "candidate", 0, "baseline", lambda: Bm25(bank, Pool(bank)))
    assert CHECK.examine(with_rows(case, words)).outcome == "not-applicable"
