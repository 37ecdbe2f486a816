"""SG106: rows that are no unit vectors, and spaces that differ, are found wherever they meet the bank."""

import dataclasses
import json

import numpy as np
import pytest
from check_cases import row, small_case, toy_checkpoint
from story import StoryEncoder, story_world
from worlds import make_bank, noise_world

from segue.checks import Case, CaseEntry
from segue.checks.integrity.sg106_one_space import CHECK
from segue.checks.run import run_checks
from segue.encoders.space import declared_space, require_same
from segue.errors import InputError
from segue.ranking.pool import Pool
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last


def story_case(**changes):
    case = small_case(story_world(documents=6), encoder=StoryEncoder)
    return dataclasses.replace(case, **changes)


def trained_in(case, folder, space):
    retriever = VectorRetriever("model", "candidate", copy_last, case.pool)
    return row("model", retriever, family="loss", trained=toy_checkpoint(folder, case.bank, space=space))


def test_the_encoder_of_the_bank_passes_beside_a_random_pair():
    verdict = CHECK.examine(story_case())
    assert verdict.outcome == "passed"
    again = verdict.details["encoded_again"]
    assert again["texts"] == 48
    assert again["lowest"] > 0.9999
    assert abs(again["random"]) < 0.5
    json.dumps(verdict.details, allow_nan=False)


@pytest.mark.parametrize("encoder", [StoryEncoder(by_length=True), StoryEncoder(salt="2"), StoryEncoder(16)])
def test_another_pooling_revision_or_dimension_is_an_issue(encoder):
    verdict = CHECK.examine(story_case(encoder=lambda: encoder))
    assert verdict.outcome == "issue"
    assert "bank and encoder differ" in verdict.statement


def test_texts_that_are_not_their_rows_are_an_issue_although_the_fingerprints_agree():
    case = story_case()
    texts = list(case.bank.passage_texts)
    texts[0], texts[-1] = texts[-1], texts[0]  # the first and the last row are always among the encoded ones
    verdict = CHECK.examine(dataclasses.replace(case, bank=dataclasses.replace(case.bank, passage_texts=texts)))
    assert verdict.outcome == "issue"
    assert verdict.details["encoded_again"]["apart"] == 2
    assert verdict.measured == verdict.details["encoded_again"]["lowest"] < 0.999


@pytest.mark.parametrize(
    ("value", "key"),
    [(np.inf, "not_finite"), (np.nan, "not_finite"), (0.0, "zero"), (2.0, "another_length")],
)
def test_every_row_is_measured_whatever_block_it_is_in(value, key):
    bank = noise_world(documents=6, length=10)
    for broken in (0, 31, 59):
        vectors = bank.vectors.copy()
        vectors[broken] = value
        verdict = CHECK.examine(Case(dataclasses.replace(bank, vectors=vectors), Pool(bank)))
        assert verdict.outcome == "issue"
        assert {name: verdict.details["rows"][name] for name in ("not_finite", "zero", "another_length")} == {
            "not_finite": 0, "zero": 0, "another_length": 0, key: 1
        }  # fmt: skip
        json.dumps(verdict.details, allow_nan=False)


def test_half_precision_is_near_enough_and_deleted_rows_do_not_count():
    bank = noise_world(documents=6, length=10)
    vectors = bank.vectors.astype(np.float16).astype(np.float32)
    vectors[7] = 0.0
    alive = bank.alive.copy()
    alive[7] = False
    bank = dataclasses.replace(bank, vectors=vectors, alive=alive)
    verdict = CHECK.examine(Case(bank, Pool(bank)))
    assert verdict.outcome == "not-applicable"  # the space is declared; nothing is wrong with the rows
    assert verdict.details["rows"]["rows"] == 59


def test_a_checkpoint_of_another_space_is_an_issue_and_one_that_states_none_a_tip(tmp_path):
    case = story_case()
    spaces = {"passed": case.bank.space, "issue": StoryEncoder(salt="other").space, "tip": None}
    for outcome, space in spaces.items():
        stated = None if space is None else space.to_json()
        asked = dataclasses.replace(case, entries=(trained_in(case, tmp_path / outcome, stated),))
        assert CHECK.examine(asked).outcome == outcome


def test_a_checkpoint_of_another_dimension_is_an_issue(tmp_path):
    case = story_case()
    small = story_world(documents=6, dimension=16)
    trained = toy_checkpoint(tmp_path, small, space=None)
    asked = dataclasses.replace(
        case, entries=(dataclasses.replace(trained_in(case, tmp_path / "x", None), trained=trained),)
    )
    verdict = CHECK.examine(asked)
    assert verdict.outcome == "issue"
    assert "32 dimensions against 16" in verdict.statement


def test_an_index_over_vectors_of_another_encoder_is_an_issue():
    case = story_case()
    other = StoryEncoder(salt="other")
    bank = dataclasses.replace(case.bank, vectors=other.encode(case.bank.passage_texts), space=other.space)
    for pool, index in ((Pool(bank), None), (case.pool, ExactIndex(Pool(bank)))):
        retriever = VectorRetriever("copy-last", "candidate", copy_last, pool, index)
        verdict = CHECK.examine(dataclasses.replace(case, entries=(row("copy-last", retriever),)))
        assert verdict.outcome == "issue"
        assert "bank and index of copy-last differ" in verdict.statement


def test_a_declared_space_cannot_be_compared_and_that_is_said():
    bank = noise_world(documents=6, length=10)
    assert bank.space.declared
    verdict = CHECK.examine(small_case(bank))
    assert verdict.outcome == "not-applicable"
    assert "the space is declared, so the encoder was not compared" in verdict.statement


def test_vectors_without_texts_are_compared_by_fingerprint_alone():
    case = story_case()
    bank = dataclasses.replace(case.bank, passage_texts=None)
    verdict = CHECK.examine(dataclasses.replace(case, bank=bank))
    assert verdict.outcome == "passed"
    assert "no texts to encode again" in verdict.statement
    wrong = dataclasses.replace(case, bank=bank, encoder=lambda: StoryEncoder(by_length=True))
    assert CHECK.examine(wrong).outcome == "issue"


def test_a_bank_that_states_another_dimension_is_an_issue():
    bank = dataclasses.replace(noise_world(documents=4, length=4), space=declared_space("a synthetic world", 99))
    assert "states 99 dimensions and holds 16" in CHECK.examine(Case(bank, Pool(bank))).statement


def test_an_encoder_that_cannot_be_loaded_is_a_reason_unless_something_else_is_wrong():
    def missing():
        raise InputError("no such encoder")

    case = story_case(encoder=missing)
    (finding,) = run_checks([CHECK], case)
    assert finding.outcome == "skipped"
    assert "no such encoder" in finding.statement
    broken = dataclasses.replace(case, bank=dataclasses.replace(case.bank, vectors=case.bank.vectors * 2))
    (finding,) = run_checks([CHECK], broken)
    assert finding.outcome == "issue"


def test_one_passage_has_no_random_pair():
    case = story_case()
    bank = case.bank
    alive = np.zeros(len(bank), dtype=bool)
    alive[3] = True
    verdict = CHECK.examine(dataclasses.replace(case, bank=dataclasses.replace(bank, alive=alive)))
    assert verdict.outcome == "passed"
    assert verdict.details["encoded_again"]["random"] is None


def test_an_encoder_that_is_refused_for_its_space_is_an_issue_though_a_row_needs_it():
    def refused():
        require_same(case.bank.space, StoryEncoder(by_length=True).space, "the bank and the recipe's encoder")

    case = story_case()
    needing = CaseEntry("encoder-context", "candidate", 0, "baseline", refused)
    found = run_checks([CHECK], dataclasses.replace(case, encoder=refused, entries=(needing,)))
    assert [finding.outcome for finding in found] == ["issue"]
    assert "in the same embedding space" in found[0].statement
    found = run_checks([CHECK], dataclasses.replace(case, entries=(needing,)))
    assert [finding.outcome for finding in found] == ["skipped"], "a row that could not be asked vouches for nothing"


def test_the_shortest_and_the_longest_row_are_stated():
    bank = noise_world(documents=6, length=10)
    vectors = bank.vectors.copy()
    vectors[17], vectors[40] = 8 * vectors[17], vectors[40] / 4
    verdict = CHECK.examine(Case(dataclasses.replace(bank, vectors=vectors), Pool(bank)))
    assert verdict.details["rows"]["longest"] == pytest.approx(8.0, rel=1e-5)
    assert verdict.details["rows"]["shortest"] == pytest.approx(0.25, rel=1e-5)
    assert "(0.25 to 8)" in verdict.statement


def test_documents_whose_vectors_share_no_direction_are_from_two_encoders():
    """Every other document uses the first 6 of 24 dimensions, the rest the next 6: all cosines between them are 0."""
    vectors = np.zeros((16, 8, 24))
    generator = np.random.default_rng(0)
    vectors[::2, :, :6] = generator.standard_normal((8, 8, 6))
    vectors[1::2, :, 6:12] = generator.standard_normal((8, 8, 6))
    bank = make_bank(vectors.reshape(-1, 24), [8] * 16)
    verdict = CHECK.examine(Case(bank, Pool(bank)))
    assert verdict.outcome == "issue"
    assert "8 of 16 documents have vectors unrelated to the others'" in verdict.statement
    assert "0.00 between them" in verdict.statement
