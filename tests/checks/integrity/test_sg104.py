"""SG104: one evaluation document in a list of training documents blocks; copies and near-duplicates are counted."""

import dataclasses
import json

import numpy as np
import pytest
from check_cases import row, small_case, toy_checkpoint
from worlds import make_bank, noise_world

from segue.checks.integrity.sg104_leaked_documents import CHECK
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last


def trained_row(name, case, folder, documents):
    retriever = VectorRetriever(name, "candidate", copy_last, case.pool)
    return row(name, retriever, family="loss", trained=toy_checkpoint(folder / name, case.bank, documents=documents))


def with_lists(case, folder, **lists):
    rows = tuple(trained_row(name, case, folder, documents) for name, documents in lists.items())
    return dataclasses.replace(case, entries=rows)


def ids(case, part):
    return [case.bank.document_ids[number] for number in getattr(case.folds[0].split, part)]


def test_a_clean_list_passes_and_says_that_its_hashes_were_found(tmp_path):
    case = small_case(noise_world(documents=10, length=6))
    case = with_lists(case, tmp_path, model=ids(case, "train"))
    verdict = CHECK.examine(case)
    assert (verdict.outcome, verdict.measured) == ("passed", 0.0)
    (listed,) = verdict.details["lists"]
    assert listed["rows"] == ["the split", "model"]
    assert (listed["documents"], listed["listed"], listed["listed_in_bank"]) == (5, 2, 2)
    assert listed["targets"] == 5 * 4
    json.dumps(verdict.details, allow_nan=False)


def test_one_leaked_document_of_one_row_is_an_issue(tmp_path):
    case = small_case(noise_world(documents=10, length=6))
    train, test = ids(case, "train"), ids(case, "test")
    case = with_lists(case, tmp_path, clean=train, leaked=[*train, test[2]])
    verdict = CHECK.examine(case)
    assert verdict.outcome == "issue"
    assert verdict.measured == pytest.approx(1 / 5)
    assert verdict.statement.startswith("leaked was trained on 1 of 5 evaluation documents (20.0 %)")


def test_a_split_that_trains_on_test_documents_is_an_issue_without_any_checkpoint():
    case = small_case(noise_world(documents=10, length=6))
    (fold,) = case.folds
    leaked = dataclasses.replace(fold, train=fold.test.take(slice(0, 4)))  # the four windows of one document
    verdict = CHECK.examine(dataclasses.replace(case, folds=(leaked,)))
    assert verdict.outcome == "issue"
    assert verdict.measured == pytest.approx(1 / 5)
    assert verdict.statement.startswith("The split trains on 1 of 5")


def test_an_asked_document_that_the_bank_does_not_hold_is_compared_by_its_id(tmp_path):
    case = small_case(noise_world(documents=10, length=6))
    asked = {0: ["Albedo"] * len(case.folds[0].test)}
    case = with_lists(dataclasses.replace(case, query_documents=asked), tmp_path, model=["Albedo"])
    verdict = CHECK.examine(case)
    assert verdict.outcome == "issue"
    assert verdict.details["lists"][1]["documents_trained_on"] == 1


def copied(count, change=str):
    """Ten documents of eight noise passages; the first ``count`` targets of the last document copy the first one."""
    world = noise_world(documents=10, length=8)
    texts, vectors = list(world.passage_texts), world.vectors.copy()
    for place in range(2, 2 + count):
        texts[72 + place], vectors[72 + place] = change(texts[place]), vectors[place]
    return make_bank(vectors, [8] * 10, texts)


def test_a_run_of_passages_copied_from_training_is_an_issue_above_one_per_cent():
    verdict = CHECK.examine(small_case(copied(3)))
    assert verdict.outcome == "issue"
    assert verdict.measured == pytest.approx(3 / 30)  # five test documents of six targets
    assert verdict.threshold == 0.01


def test_a_copy_or_two_are_too_few_to_tell():
    verdict = CHECK.examine(small_case(copied(2)))
    assert verdict.outcome == "tip"
    assert "2 copied targets are too few" in verdict.statement


def test_a_phrase_that_recurs_alone_is_no_leak():
    world = noise_world(documents=10, length=8)
    texts, vectors = list(world.passage_texts), world.vectors.copy()
    for document in (5, 6, 7, 8, 9):
        texts[8 * document + 4], vectors[8 * document + 4] = texts[3], vectors[3]  # after other passages each time
    verdict = CHECK.examine(small_case(make_bank(vectors, [8] * 10, texts)))
    assert verdict.outcome == "passed"
    (listed,) = verdict.details["lists"]
    assert (listed["targets_word_for_word"], listed["targets_copied"]) == (5, 0)


def test_other_words_of_the_same_vector_are_a_tip():
    verdict = CHECK.examine(small_case(copied(4, str.upper)))
    assert verdict.outcome == "tip"
    (listed,) = verdict.details["lists"]
    assert (listed["targets_word_for_word"], listed["targets_nearly"], listed["targets_sampled"]) == (0, 4, 30)


def test_vectors_alone_are_compared_by_row_and_by_cosine():
    bank = dataclasses.replace(copied(4, str.upper), passage_texts=None)
    verdict = CHECK.examine(small_case(bank))
    assert verdict.outcome == "tip"
    assert "no texts" in verdict.statement


def test_a_document_grouped_with_a_training_document_is_a_tip():
    case = small_case(noise_world(documents=10, length=6))
    groups = np.arange(10)
    groups[9] = 0
    verdict = CHECK.examine(dataclasses.replace(case, groups=groups))
    assert verdict.outcome == "tip"
    assert "1 evaluation documents have a near-duplicate that was trained on" in verdict.statement


@pytest.mark.parametrize(
    ("documents", "said"), [([], "model: the checkpoint lists no training documents"), (["Elsewhere"], "none of")]
)
def test_a_list_that_says_nothing_is_a_tip(tmp_path, documents, said):
    case = small_case(noise_world(documents=10, length=6))
    verdict = CHECK.examine(with_lists(case, tmp_path, model=documents))
    assert verdict.outcome == "tip"
    assert said in verdict.statement


def test_documents_that_selected_the_model_are_a_tip():
    case = small_case(noise_world(documents=10, length=6))
    (fold,) = case.folds
    split = dataclasses.replace(fold.split, validation=fold.split.test[:1])
    verdict = CHECK.examine(dataclasses.replace(case, folds=(dataclasses.replace(fold, split=split),)))
    assert verdict.outcome == "tip"
    assert "1 evaluation documents are validation documents too" in verdict.statement


def test_a_single_test_window_and_broken_vectors_do_not_crash():
    bank = noise_world(documents=4, length=3)
    bank.vectors[0], bank.vectors[9] = np.inf, 0.0
    case = small_case(bank, test=1)
    assert len(case.folds[0].test) == 1
    assert CHECK.examine(case).outcome == "passed"
