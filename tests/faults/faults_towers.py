"""Faults of two towers: a document side that is not the one the query side was trained with."""

from __future__ import annotations

import dataclasses

import torch
from fault import Fault
from healthy import STEPS, Healthy, calm_timings, with_row

from segue.checks import Case
from segue.checks.build_case import case_of_job
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.trained import train_option
from segue.comparison.job import FoldResult
from segue.comparison.options import OPTIONS
from segue.comparison.scoring import evaluate_on_test, score_on_validation, time_answers
from segue.models import load_predictor
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.predictor import PredictorDocuments, PredictorQuery

NAME = "two-tower"


def with_two_towers(healthy: Healthy, folder) -> Case:
    """Return the healthy case with a two-tower row beside the others, trained for real."""
    (option,) = (option for option in OPTIONS if option.name == NAME)
    job = dataclasses.replace(healthy.job, out=folder, options=(*healthy.job.options, option))
    (fold,), baselines = job.experiment.folds, Baselines(job)
    retriever, training = train_option(OptionOnFold(job, option, fold, baselines, option.loss, STEPS))
    evaluated = evaluate_on_test(job, option, fold, retriever)
    evaluation = calm_timings(evaluated.timed(time_answers(job, fold, retriever)))
    result = FoldResult("done", None, score_on_validation(retriever, job, fold), training, evaluation)
    alone = dataclasses.replace(job, options=(option,))
    (row,) = case_of_job(alone, {NAME: [result]}, baselines=baselines).entries
    return healthy.with_case(entries=(*healthy.case.entries, row))


def _searching(case: Case, bank_of) -> Case:
    """Let the two-tower row search the bank that ``bank_of(predictor)`` encodes, as it was then also evaluated."""
    (row,) = case.entries_named(NAME)
    predictor, _ = load_predictor(row.trained.folder / "checkpoint")
    plain = VectorRetriever(NAME, "candidate", PredictorQuery(predictor), Pool(case.bank))
    made = bank_of(predictor)
    retriever = plain if made is None else plain.reencoded(made)
    (fold,) = case.folds
    contexts = case.gather(case.bank, fold.test, exclude=case.exclude, texts=False)
    ranks = retriever.target_ranks(contexts, fold.test.target)
    evaluation = dataclasses.replace(row.evaluation, ranks=ranks, metrics={})
    return with_row(case, NAME, load=lambda: retriever, evaluation=evaluation)


def other_document_tower(healthy, folder):
    """The passages were encoded by the tower of another training, whose query tower stayed at home."""

    def other(predictor):
        torch.manual_seed(5)
        with torch.no_grad():
            head = predictor.documents.head.weight
            scale = head.std()
        other, _ = load_predictor(folder / "options" / NAME / "fold-0" / "checkpoint")
        with torch.no_grad():
            other.documents.head.weight.copy_(scale * torch.randn_like(head))
        return PredictorDocuments(other)

    return _searching(with_two_towers(healthy, folder), other)


def bank_not_encoded_again(healthy, folder):
    """The answers of the trained query tower were searched in the bank as it was before training."""
    return _searching(with_two_towers(healthy, folder), lambda predictor: None)


FAULTS = [
    Fault("two-towers", "nothing: a two-tower entry was added to the others", with_two_towers),
    Fault("other-document-tower", "the passages were encoded by the document tower of another training",
          other_document_tower, {"SG106": "issue", "SG110": "issue", "SG112": "issue"},
          "the space of the loss is not searched, and the ranks do not belong to any checkpoint",
          cause="spaces-differ"),
    Fault("bank-not-encoded-again", "the bank was not encoded again after the document tower was trained",
          bank_not_encoded_again, {"SG106": "issue", "SG110": "issue", "SG112": "issue"},
          "the space of the loss is not searched, and the ranks do not belong to any checkpoint", cause="spaces-differ",
          half="unseen"),
]  # fmt: skip
