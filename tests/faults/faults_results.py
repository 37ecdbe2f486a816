"""Faults in results: models that know by heart or nothing at all, wins that are none, and too little to tell."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import worlds
from fault import Fault
from healthy import EFFORT, with_fold, with_row

from segue.checks import CaseEntry
from segue.checks.build_case import case_of_job
from segue.comparison.options import Option, choose_options
from segue.comparison.run import run_triage
from segue.evaluation.evaluate import evaluate
from segue.evaluation.gates import Condition, GateSettings
from segue.ranking.exact import target_cosines
from segue.ranking.pool import Pool
from segue.retrieval.retrievers import VectorRetriever
from segue.training.losses.loss import LossSettings, LossTerm
from segue.types import Windows
from segue.windows.windows import gather_contexts

SUBJECT = "mlp"


def run_again(healthy, folder, options, *, steps, validation=None, **changes):
    """Run other options on the healthy experiment; the first trained one is the subject."""
    names = [option.name for option in options]
    experiment = healthy.job.experiment
    if validation is not None:
        fold = dataclasses.replace(experiment.folds[0], validation=validation)
        experiment = dataclasses.replace(experiment, folds=(fold,))
    plan = folder.parent / f"{folder.name}-plan.json"
    record = {"steps": dict.fromkeys(names, steps), "steps_per_second": {}, "score_seconds": 0.0}
    plan.write_text(json.dumps({"format": 1, **record, "budget_minutes": 1.0}))
    job = dataclasses.replace(
        healthy.job.with_tables(triage=healthy.job.recipe.triage.model_copy(update={"plan": str(plan)}), **changes),
        experiment=experiment, out=folder, options=(*choose_options([]), *options),
    )  # fmt: skip
    case = case_of_job(job, run_triage(job), subject=names[0])
    rows = tuple(_as_fast(row, healthy.case) for row in case.entries)
    return dataclasses.replace(case, entries=rows, folds=healthy.case.folds, effort=EFFORT, _cache={})


def _as_fast(row, case):
    """Give a row the healthy latencies: how busy the machine is now has nothing to do with the fault."""
    (like,) = case.entries_named(row.name) or case.subject_entries
    timings = like.evaluation.timings
    return dataclasses.replace(row, evaluation=dataclasses.replace(row.evaluation, timings=timings, metrics={}))


def anchored(name, loss):
    return Option(name, "architecture", "an MLP from the anchor", "?", model="mlp", loss=loss, anchor=True)


def plain(name, loss, intent="candidate"):
    return Option(name, "loss", "an MLP without an anchor", "?", intent=intent, model="recipe", loss=loss)


def training(healthy, **changes):
    return healthy.job.recipe.training.model_copy(update={"patience": None, **changes})


def untrained_weights(healthy, folder):
    """Training ended after its first step."""
    return run_again(healthy, folder, [plain("infonce", "infonce")], steps=1)


def without_an_anchor(healthy, folder):
    """The option under examination is one that 33 documents are too few for."""
    return healthy.with_case(subject="ar-cosine")


def selected_on_training_windows(healthy, folder):
    """Trained long, without dropout, and stopped when its *training* windows scored best."""
    settings = training(healthy, learning_rate=5e-3, article_dropout=0.0, span_corruption=0.0)
    train = healthy.case.folds[0].train
    option = plain("infonce", "infonce")
    return run_again(healthy, folder, [option], steps=400, validation=train, training=settings)


def loss_behind_a_head(healthy, folder):
    """The loss reads projected vectors only; raw ones are searched, and the row says so."""
    loss = LossSettings(terms=(LossTerm(kind="infonce", weight=1.0, temperature=0.07, space="projected"),))
    option = plain("model", "recipe", "projected")
    model = healthy.job.recipe.model.model_copy(update={"anchor": False})
    settings = training(healthy, learning_rate=3e-4)
    return run_again(healthy, folder, [option], steps=200, loss=loss, model=model, training=settings)


def context_left_in(healthy, folder):
    """The subject declares that it answers passages it has just read."""
    case, (row,) = healthy.case, healthy.case.subject_entries
    contexts = gather_contexts(case.bank, case.folds[0].test, exclude="none")
    found = dataclasses.replace(
        row.evaluation, intent="context-left-in", exclude="none", metrics={},
        ranks=row.evaluation.ranks_by_pool["context-left-in"], rankings=row.retriever.rank(contexts, 50).rows,
    )  # fmt: skip
    return with_row(case, SUBJECT, evaluation=found, intent="context-left-in")


def second_editions(healthy, folder):
    """Each test document stands in the bank twice, the second time with its words in another order."""
    case = healthy.case
    bank, groups = _with_second_editions(case.bank, case.folds[0].split.test, case.groups)
    rows = tuple(_over(row, bank, groups, case.folds[0], healthy.job) for row in case.entries)
    return healthy.with_case(bank=bank, pool=Pool(bank), groups=groups, entries=rows)


def _with_second_editions(bank, documents, groups):
    chosen = np.concatenate([np.arange(bank.first_row[n], bank.first_row[n] + bank.num_rows[n]) for n in documents])
    texts = [" ".join(reversed(text.split())) for text in bank.texts(chosen)]
    lengths = np.concatenate([bank.num_rows, bank.num_rows[documents]])
    ids = [*bank.document_ids, *(f"{bank.document_ids[n]}, second edition" for n in documents)]
    vectors = np.concatenate([bank.vectors, bank.vectors[chosen]])
    made = worlds.make_bank(vectors, lengths, [*bank.passage_texts, *texts], document_ids=ids)
    both = worlds.MemoryBank(**{**made.__dict__, "space": bank.space, "vectors": vectors, "hash": bank.hash})
    return both, np.concatenate([groups, groups[documents]])


def _over(row, bank, groups, fold, job):
    retriever = row.retriever.over(bank)
    found = evaluate(
        retriever, bank, fold.test, groups=groups, settings=job.recipe.evaluation, fresh_documents=fold.split.test
    )
    found = dataclasses.replace(found, timings=row.evaluation.timings, metrics={})
    return dataclasses.replace(row, load=lambda: retriever, evaluation=found)


def cosine_is_highest_elsewhere(healthy, folder):
    """Two models from the anchor: one minimises 1 − cosine, the other tells the target from the rest."""
    options = [anchored(SUBJECT, "infonce"), anchored("model-mlp-ar", "ar-cosine")]
    return run_again(healthy, folder, options, steps=400)


def cosine_with_the_last_passage(healthy, folder):
    """What is recorded as validation cosine was taken with the last passage read instead of the target."""
    case = healthy.case
    windows = case.folds[0].validation
    last = Windows(windows.context, windows.context[:, -1])

    def recorded(row):
        if not row.validation or "cosine" not in row.validation:
            return row
        cosine = target_cosines(case.queries(row, "validation"), case.bank, last.target).mean()
        return dataclasses.replace(row, validation={**row.validation, "cosine": float(cosine)})

    return healthy.with_case(entries=tuple(recorded(row) for row in case.entries))


def training_passages_pushed_down(healthy, folder):
    """The subject is copy-last that never answers a passage it was trained on."""
    case, fold = healthy.case, healthy.case.folds[0]
    (like,) = case.entries_named("copy-last")
    retriever = VectorRetriever("pushes", "candidate", like.retriever.query, Pool(case.bank, fold.split.test))
    found = evaluate(retriever, case.bank, fold.test, groups=case.groups, settings=healthy.job.recipe.evaluation,
                     fresh_documents=fold.split.test)  # fmt: skip
    found = dataclasses.replace(found, pool_size=case.pool.size, timings=like.evaluation.timings, metrics={})
    row = dataclasses.replace(like, name="pushes", family="architecture", evaluation=found)
    return healthy.with_case(entries=(*case.entries, row), subject="pushes")


def the_reranker_did_it(healthy, folder):
    """The subject's reranker, put on copy-last, does better than on the subject."""
    case = run_again(healthy, folder, [anchored("reranker", "infonce")], steps=400)
    (found,) = case.subject_entries
    evaluation = dataclasses.replace(found.evaluation, name="copy-last-rerank")
    row = CaseEntry("copy-last-rerank", "candidate", 0, "architecture", found.load, evaluation)
    return healthy.with_case(entries=(*healthy.case.entries, row))


def three_documents(healthy, folder):
    """Only three of the test documents were evaluated."""
    case = healthy.case
    test = case.folds[0].test
    kept = np.isin(case.bank.document_of[test.target], np.unique(case.bank.document_of[test.target])[:3])
    rows = tuple(dataclasses.replace(row, evaluation=_only(row.evaluation, kept)) for row in case.entries)
    return dataclasses.replace(with_fold(case, test=test.take(kept)), entries=rows)


def _only(evaluation, kept):
    arrays = ("targets", "documents", "groups", "ranks", "rankings", "cosine", "contrastive", "copying", "horizon")
    parts = {name: None if getattr(evaluation, name) is None else getattr(evaluation, name)[kept] for name in arrays}
    pools = {name: ranks[kept] for name, ranks in evaluation.ranks_by_pool.items()}
    return dataclasses.replace(evaluation, **parts, ranks_by_pool=pools, metrics={})


def finer_gate(healthy, folder):
    """A gate asks for two points over copy-last, and the option under examination leads by some."""
    gate = GateSettings(name="two-points", any_of=(Condition(metric="R@5", at_least=0.02, against="copy-last"),))
    return healthy.with_case(subject="ar-cosine", gates=(*healthy.case.gates, gate))


LOSES = "a model that does not beat its baselines leaves little for a reranker either"
HUBS = f"{LOSES}, and with such weights everything is answered with the same few passages"
FEW = "with so few groups no comparison is conclusive"

FAULTS = [
    Fault("untrained-weights", "training ended after one step", untrained_weights,
          {"SG201": "issue", "SG208": "issue", "SG216": "issue"}, HUBS, cause="under-trained"),
    Fault("no-anchor", "the subject has no anchor and 33 training documents", without_an_anchor,
          {"SG201": "issue", "SG202": "issue", "SG216": "tip"}, LOSES, cause="memorises", half="unseen"),
    Fault("selected-on-training-windows", "trained long, stopped by the score of its training windows",
          selected_on_training_windows, {"SG201": "issue", "SG202": "issue", "SG216": "tip"}, LOSES,
          cause="memorises"),
    Fault("loss-behind-a-head", "the loss reads projected vectors only, raw ones are searched", loss_behind_a_head,
          {"SG203": "issue", "SG201": "issue", "SG208": "issue", "SG216": "issue"}, HUBS,
          cause="loss-space-not-served"),
    Fault("context-left-in-declared", "what was read stays among the subject's candidates, as declared",
          context_left_in, {"SG210": "issue", "SG201": "tip"},
          "passages read are ranked before the truth, so baselines that exclude them are as good"),
    Fault("second-editions", "test documents are in the bank twice, the second time with their words in another "
        "order", second_editions,
          {"SG104": "tip", "SG210": "tip", "SG201": "tip"},
          "the copies are near-duplicates; they lower the rank of every truth, and with it the lead",
          half="unseen"),
    Fault("cosine-is-highest-elsewhere", "the option with the highest cosine retrieves worse",
          cosine_is_highest_elsewhere, {"SG211": "tip", "SG202": "tip"},
          "trained twice as long, it also knows more of its training sequences"),
    Fault("cosine-with-the-last-passage", "validation cosine was taken with the last passage, not the target",
          cosine_with_the_last_passage, {"SG211": "tip"}, half="unseen"),
    Fault("training-passages-pushed-down", "copy-last that never answers a passage it was trained on",
          training_passages_pushed_down, {"SG218": "issue", "SG201": "issue", "SG209": "issue"},
          "it copies, and stays below better baselines wherever training passages go", cause="fresh-pool"),
    Fault("the-reranker-did-it", "copy-last under the same reranker is better", the_reranker_did_it,
          {"SG218": "issue"}, cause="weak-model", half="unseen"),
    Fault("three-documents", "three test documents were evaluated", three_documents,
          {"SG219": "issue", "SG201": "tip", "SG103": "tip"}, FEW, cause="too-few-documents"),
    Fault("finer-gate", "a gate requires two points, and there are too few documents to show such a "
        "difference", finer_gate,
          {"SG219": "issue", "SG201": "issue", "SG202": "issue", "SG216": "tip"},
          f"{LOSES}, and this one has no anchor and 33 training documents", cause="too-few-documents", half="unseen"),
]  # fmt: skip
