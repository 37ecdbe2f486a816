"""Checks of a row whose document tower encodes the passages: silent when both towers are one model, loud otherwise."""

import dataclasses

import numpy as np
import pytest
import worlds
from check_cases import evaluated, small_case, trained_row

from segue.checks.diagnosis import sg206_predictions_collapsed as sg206
from segue.checks.integrity import sg101_targets_in_the_index as sg101
from segue.checks.integrity import sg106_one_space as sg106
from segue.checks.integrity import sg110_loss_space_is_served as sg110
from segue.checks.integrity import sg112_same_model as sg112
from segue.checks.integrity import sg113_index_finds_the_exact as sg113
from segue.encoders.space import with_fingerprint
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import normalise
from segue.training.losses.loss import LOSSES

BANK = worlds.drift_world(documents=8, length=8)
CASE = small_case(BANK)
CHECKS = {"SG101": sg101, "SG106": sg106, "SG110": sg110, "SG112": sg112, "SG113": sg113}


def towers(folder, documents="linear", bank=BANK):
    """A row as it is evaluated and served: with an exact index over the re-encoded candidates."""
    found = trained_row(folder, bank, loss=LOSSES["infonce"], documents=documents)
    return evaluated(small_case(bank), with_retriever(found, found.retriever.indexed()))


def with_retriever(found, retriever):
    return dataclasses.replace(found, load=lambda: retriever)


def outcomes(*rows, bank=BANK):
    case = small_case(bank, *rows)
    return {code: module.CHECK.examine(case).outcome for code, module in CHECKS.items()}


SOUND = dict.fromkeys(CHECKS, "passed") | {"SG106": "not-applicable"}
"""Without an encoder, nothing says whether the bank's vectors are in its space; checkpoints and indexes are."""


@pytest.mark.parametrize("documents", ["linear", "mlp", "shared"])
def test_two_towers_of_one_model_pass(tmp_path, documents):
    assert outcomes(towers(tmp_path, documents)) == SOUND


def test_they_pass_where_the_space_has_a_fingerprint_too(tmp_path):
    bank = dataclasses.replace(BANK, space=with_fingerprint(BANK.space, BANK.vectors[:8]))
    assert outcomes(towers(tmp_path, bank=bank), bank=bank) == SOUND


def test_passages_of_another_tower_are_another_space_and_not_what_was_trained(tmp_path):
    own, other = towers(tmp_path / "own"), towers(tmp_path / "other")
    mixed = dataclasses.replace(own.retriever, index=None, pool=Pool(other.retriever.pool.bank))
    found = outcomes(evaluated(CASE, with_retriever(own, mixed)))
    assert found == {"SG101": "passed", "SG106": "issue", "SG110": "issue", "SG112": "issue",
                     "SG113": "not-applicable"}  # fmt: skip


def test_a_bank_that_was_not_encoded_again_is_found(tmp_path):
    own = towers(tmp_path)
    query = own.retriever.query
    plain = VectorRetriever("model", "candidate", query, Pool(BANK))
    verdict = sg110.CHECK.examine(small_case(BANK, with_retriever(own, plain)))
    assert "model searches passages that are not as its own document tower encodes them" in verdict.statement
    found = outcomes(evaluated(CASE, with_retriever(own, plain)))
    assert {code for code, outcome in found.items() if outcome == "issue"} == {"SG106", "SG110", "SG112"}


@pytest.mark.parametrize(("collapse", "outcome"), [(False, "passed"), (True, "issue")])
def test_collapse_is_judged_in_the_space_that_is_searched(tmp_path, collapse, outcome):
    own = towers(tmp_path)
    query = own.retriever.query
    one = np.ones((1, BANK.dimension), dtype=np.float32) / BANK.dimension**0.5

    def collapsed(contexts):
        return normalise(query(contexts) * 1e-3 + one)

    asked = with_retriever(own, dataclasses.replace(own.retriever, query=collapsed if collapse else query))
    case = small_case(BANK, asked, subject="model")
    verdict = sg206.CHECK.examine(case)
    assert verdict.outcome == outcome
    row = verdict.details["rows"]["model"]
    encoded = own.as_searched(BANK.gather(case.folds[0].test.target))
    assert row["rank_targets"] == pytest.approx(sg206.effective_rank(np.linalg.svd(encoded)[1]), rel=1e-4)


def test_ranks_on_record_that_the_two_towers_do_not_give_are_an_issue(tmp_path):
    own = towers(tmp_path)
    shifted = dataclasses.replace(own.evaluation, ranks=own.evaluation.ranks + 9, metrics={})
    verdict = sg112.CHECK.examine(small_case(BANK, dataclasses.replace(own, evaluation=shifted)))
    assert verdict.outcome == "issue"
    assert "differ from those of its two towers" in verdict.statement
