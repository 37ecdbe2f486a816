"""SG116: vectors of a neighbour's text, or of another document's, are counted document by document."""

import dataclasses

import numpy as np
import pytest
from check_cases import bank_case
from sklearn.linear_model import Ridge
from worlds import essay_texts_and_vectors, noise_world

from segue.checks import Case
from segue.checks.integrity import words
from segue.checks.integrity.sg116_vectors_of_their_texts import CHECK
from segue.evaluation.intervals import standard_score
from segue.ranking.pool import Pool

TEXTS, VECTORS = essay_texts_and_vectors()


def case_of(vectors=VECTORS, texts=TEXTS):
    return bank_case(vectors, texts)


def test_sound_data_pass_with_no_document():
    verdict = CHECK.examine(case_of())
    assert (verdict.outcome, verdict.measured) == ("passed", 0.0)
    assert verdict.details["cosine"] > verdict.details["cosine_elsewhere"]


@pytest.mark.parametrize(("axis", "counted"), [(1, "shifted"), (0, "of_other_documents")])
def test_the_share_of_spoilt_documents_is_found(axis, counted):
    vectors = VECTORS.copy()
    vectors[:8] = np.roll(VECTORS[:8], 1, axis=axis)
    verdict = CHECK.examine(case_of(vectors))
    assert verdict.outcome == "issue"
    assert 4 / 40 <= verdict.details[counted] <= 9 / 40  # short documents do not all show it


def test_words_that_say_nothing_judge_nothing():
    bank = noise_world(documents=20, length=8)
    assert CHECK.examine(Case(bank, Pool(bank))).outcome == "not-applicable"
    alike = dataclasses.replace(bank, passage_texts=["the same words"] * len(bank))
    assert CHECK.examine(Case(alike, Pool(alike))).outcome == "not-applicable"


def test_a_standard_score_is_the_mean_over_its_error():
    values = np.array([0.5, 1.0, 4.0, -2.0])
    assert standard_score(values) == pytest.approx(values.mean() / (np.std(values, ddof=1) / 2))
    assert (standard_score(values[:1]), standard_score(np.ones(4))) == (0.0, 0.0)


def test_vectors_are_mapped_by_the_ridge_regression_of_the_other_parts():
    generator = np.random.default_rng(0)
    given, vectors = generator.standard_normal((60, 5)), generator.standard_normal((60, 3))
    part = np.arange(60) % words.PARTS
    expected = np.empty_like(vectors)
    for number in range(words.PARTS):
        fitted, centre = given[part != number], vectors[part != number].mean(axis=0)
        ridge = Ridge(alpha=words.RIDGE * len(fitted) / 5, fit_intercept=False)
        expected[part == number] = ridge.fit(fitted, vectors[part != number] - centre).predict(given[part == number])
    found = words._mapped(given, vectors, part)
    assert found == pytest.approx(expected / np.linalg.norm(expected, axis=1, keepdims=True), abs=1e-9)
