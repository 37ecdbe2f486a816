"""Faults of the split, of spaces, of exclusion and of comparison: what was trained on, searched, left in, measured."""

from __future__ import annotations

import dataclasses

import numpy as np
import worlds
from fault import Fault
from healthy import EFFORT, copied_run, with_fold, with_retriever, with_row
from resealed import reseal
from story import StoryEncoder, story_texts

from segue.checks.build_case import case_of_job
from segue.comparison.options import choose_options
from segue.comparison.run import run_triage
from segue.evaluation.evaluate import EvaluationSettings, evaluate
from segue.evaluation.experiment import Experiment, Fold, build_experiment
from segue.files import read_json, write_json
from segue.models import hash_documents
from segue.ranking.exact import top_k
from segue.ranking.pool import Pool
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.retrievers.vector import VectorRetriever, VectorScores
from segue.types import Rankings, Windows
from segue.windows.near_duplicates import document_groups
from segue.windows.splits import SplitSettings, make_splits
from segue.windows.windows import WindowSettings, make_windows

SPLIT = SplitSettings(test=0.3, validation=0.15, seed=1)
"""Of the healthy run, whose documents stay where they are as long as their lengths and groups do."""


# Leaks


def list_documents(case, option, documents):
    """Write documents into the training list of an option's checkpoint."""
    for row in case.entries_named(option):
        path = row.trained.folder / "checkpoint" / "training_documents.txt"
        more = "".join(f"{digest}\n" for digest in hash_documents(documents))
        path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
        reseal(path.parent / "config.json")


def test_documents(case):
    return [case.bank.document_ids[number] for number in case.folds[0].split.test]


def leaked_split(healthy, folder):
    """Every model was trained on 91.5 % of the evaluation documents, or as near to it as their number allows."""
    case = copied_run(healthy, folder)
    documents = test_documents(case)
    for name in {row.name for row in case.entries if row.trained is not None}:
        list_documents(case, name, documents[: round(0.915 * len(documents))])
    return case


def one_leaked_document(healthy, folder):
    case = copied_run(healthy, folder)
    list_documents(case, "infonce-ar", test_documents(case)[:1])
    return case


def bank_of(texts):
    """Encode passages of documents as the story's encoder does."""
    encoder = StoryEncoder()
    flat = [text for passages in texts for text in passages]
    bank = worlds.make_bank(encoder.encode(flat), [len(passages) for passages in texts], flat)
    return dataclasses.replace(bank, space=encoder.space)


def split_of(bank):
    return make_splits(bank, SPLIT, groups=np.arange(len(bank.first_row)))[0]


def untrained_run(healthy, folder, bank):
    """Compare the untrained options over another bank, split as if no document were like another."""
    return untrained_options(healthy, folder, _split_blindly(bank))


def _split_blindly(bank):
    split = split_of(bank)
    parts = [
        make_windows(bank, part, WindowSettings(context=3)) for part in (split.train, split.validation, split.test)
    ]
    return Experiment(bank, Pool(bank), (Fold(split, *parts),), document_groups(bank, 0.5), 3)


def untrained_options(healthy, folder, experiment):
    """Compare the untrained options in an experiment."""
    job = dataclasses.replace(healthy.job, experiment=experiment, options=choose_options([]), out=folder)
    return dataclasses.replace(case_of_job(job, run_triage(job)), effort=EFFORT)


def with_copies(change, *, every):
    """Return the story with passages of test documents replaced by changed ones of training documents, two in a row."""
    texts = story_texts()
    split = split_of(bank_of(texts))
    for place, document in enumerate(split.test):
        position = 4 + place % 8
        if place % every == 0:
            run = texts[split.train[place]][position : position + 2]
            texts[document][position : position + 2] = [change(text) for text in run]
    return bank_of(texts)


def copied_passages(healthy, folder):
    """Training and test documents share passages word for word."""
    return untrained_run(healthy, folder, with_copies(str, every=2))


def retyped_passages(healthy, folder):
    """The same in capitals: another text, one vector. The split does not keep documents of so few copies together."""
    bank = with_copies(str.upper, every=2)
    return untrained_options(healthy, folder, build_experiment(bank, SPLIT, WindowSettings(context=3)))


def near_duplicate_documents(healthy, folder):
    """Three test documents are training documents with other punctuation."""
    texts = story_texts()
    split = split_of(bank_of(texts))
    for place in range(3):
        texts[split.test[place]] = [f"{text} –" for text in texts[split.train[place]]]
    return untrained_run(healthy, folder, bank_of(texts))


# Train against validation


def random_split_over_windows(healthy, folder):
    """Training and validation windows were dealt one by one, not by document."""
    fold = healthy.case.folds[0]
    context = np.concatenate([fold.train.context, fold.validation.context])
    target = np.concatenate([fold.train.target, fold.validation.target])
    order = np.random.default_rng(0).permutation(len(target))
    dealt = Windows(context[order], target[order])
    count = len(fold.train)
    return with_fold(healthy.case, train=dealt.take(slice(0, count)), validation=dealt.take(slice(count, None)))


def validation_from_document_ends(healthy, folder):
    """Validation windows are the last ones of every training document."""
    case, fold = healthy.case, healthy.case.folds[0]
    last = case.bank.position[fold.train.target] >= 13
    return with_fold(case, train=fold.train.take(~last), validation=fold.train.take(last))


# Spaces


def another_pooling(healthy, folder):
    """The encoder at hand weighs words by their length; its name is the same."""
    return healthy.with_case(encoder=lambda: StoryEncoder(by_length=True))


def texts_out_of_step(healthy, folder):
    """CaseEntry i has the text of passage i + 1: the two files are one row apart."""
    bank = healthy.case.bank
    texts = [*bank.passage_texts[1:], bank.passage_texts[0]]
    return healthy.with_case(bank=dataclasses.replace(bank, passage_texts=texts))


def unnormalised_vectors(healthy, folder):
    """The bank holds sums of word vectors as they are."""
    bank = healthy.case.bank
    length = np.random.default_rng(0).uniform(15, 25, (len(bank), 1)).astype(np.float32)
    return untrained_run(healthy, folder, dataclasses.replace(bank, vectors=bank.vectors * length))


def overflowed_norms(healthy, folder):
    """The squares of some long training passages overflowed in half precision: divided by infinity, they are zero."""
    bank, fold = healthy.case.bank, healthy.case.folds[0]
    vectors = bank.vectors.copy()
    vectors[fold.train.target[::50]] = 0.0
    return healthy.with_case(bank=dataclasses.replace(bank, vectors=vectors))


def checkpoint_of_another_space(healthy, folder):
    """One checkpoint was trained on vectors of an encoder with other weights."""
    case = copied_run(healthy, folder)
    for row in case.entries_named("infonce"):
        path = row.trained.folder / "checkpoint" / "config.json"
        write_json(path, read_json(path) | {"space": StoryEncoder(salt="other").space.to_json()})
    return case


# Exclusion


class _LeftIn(VectorScores):
    """Scores that ignore exclusions."""

    def ranks(self, pool, targets, *, exclude):
        return super().ranks(pool, targets, exclude=exclude[:, :0])

    def ranks_under(self, pool, targets, *, excludes):
        return super().ranks_under(pool, targets, excludes=[exclude[:, :0] for exclude in excludes])

    def top(self, pool, k, *, exclude):
        return super().top(pool, k, exclude=exclude[:, :0])


class LeavesContextIn(VectorRetriever):
    """A retriever that forgets to exclude what was read."""

    def score(self, contexts):
        scores = super().score(contexts)
        return _LeftIn(scores.queries, scores.index, scores.own)

    def rank(self, contexts, k, **how):
        return super().rank(dataclasses.replace(contexts, exclude=contexts.exclude[:, :0]), k, **how)


class RowFilter:
    """An index that searches everything and then strikes out the excluded row numbers: their duplicates stay."""

    def __init__(self, pool):
        self.pool = pool

    def search(self, queries, k, *, exclude):
        found = top_k(queries, self.pool, k + exclude.shape[1], exclude=exclude[:, :0])
        struck = (found.rows[:, :, None] == exclude[:, None, :]).any(axis=2)
        order = np.argsort(struck, axis=1, kind="stable")[:, :k]
        return Rankings(np.take_along_axis(found.rows, order, 1), np.take_along_axis(found.scores, order, 1))


def measured(case, retriever, *, windows=None, exclude=None):
    """Evaluate a retriever as the run did, or on other windows, or with another exclusion."""
    fold = case.folds[0]
    settings = EvaluationSettings(resamples=500, latency_queries=20, run_depth=50, exclude=exclude or case.exclude)
    return evaluate(
        retriever,
        case.bank,
        fold.test if windows is None else windows,
        groups=case.groups,
        settings=settings,
        fresh_documents=fold.split.test,
    )


def replaced(case, retriever, **how):
    """Put a retriever, and what it measures, in the place of the row of its name."""
    case = with_retriever(case, retriever.name, retriever)
    return with_row(case, retriever.name, evaluation=measured(case, retriever, **how))


def fields_of(retriever):
    return {field.name: getattr(retriever, field.name) for field in dataclasses.fields(retriever)}


def context_left_in(healthy, folder):
    row = healthy.case.entries_named("mean")[0]
    return replaced(healthy.case, LeavesContextIn(**fields_of(row.retriever)))


def with_refrains():
    """Return the story in which every document says its third passage again as its eleventh."""
    texts = story_texts()
    for passages in texts:
        passages[10] = passages[2]
    return bank_of(texts)


def duplicate_left_in(healthy, folder):
    """One row's index strikes out the context by row number, after the search."""
    case = untrained_run(healthy, folder, with_refrains())
    row = case.entries_named("exp-mean")[0]
    return replaced(case, dataclasses.replace(row.retriever, index=RowFilter(case.pool)))


def prefix_only_declared(healthy, folder):
    """The recipe says ``exclude = "prefix"``, and only the context was excluded."""
    rows = tuple(
        dataclasses.replace(row, evaluation=dataclasses.replace(row.evaluation, exclude="prefix"))
        for row in healthy.case.entries
    )
    return healthy.with_case(entries=rows, exclude="prefix")


# Comparison


def pools_of_different_size(healthy, folder):
    """One row was asked to find the target among the test documents' passages only."""
    case = healthy.case
    retriever = case.entries_named("exp-mean")[0].retriever
    pool = Pool(case.bank, case.folds[0].split.test)
    return replaced(case, dataclasses.replace(retriever, pool=pool, index=ExactIndex(pool)))


def other_windows(healthy, folder):
    """One row was measured on every second window."""
    retriever = healthy.case.entries_named("exp-mean")[0].retriever
    return replaced(healthy.case, retriever, windows=healthy.case.folds[0].test.take(slice(None, None, 2)))


def different_exclusion(healthy, folder):
    """One row excludes all passages read so far, the others the context."""
    retriever = healthy.case.entries_named("exp-mean")[0].retriever
    return replaced(healthy.case, retriever, exclude="prefix")


def duplicates_counted_apart(healthy, folder):
    """Every row was measured over a pool in which each copy of a text is a separate candidate."""
    bank = with_refrains()
    blind = dataclasses.replace(bank, duplicate_group=np.arange(len(bank)))
    case = untrained_run(healthy, folder, blind)
    return dataclasses.replace(case, bank=bank, pool=Pool(bank), _cache={})


FAULTS = [
    Fault("leaked-split", "91.5 % of the evaluation documents were trained on", leaked_split, {"SG104": "issue"},
          cause="leaked-split"),
    Fault("one-leaked-document", "one evaluation document was trained on by one model", one_leaked_document,
          {"SG104": "issue"}, cause="leaked-split", half="unseen"),
    Fault("copied-passages", "training and test documents share passages word for word", copied_passages,
          {"SG104": "issue"}, cause="leaked-split", half="unseen"),
    Fault("retyped-passages", "training and test documents share passages that differ only in "
        "capitals", retyped_passages,
          {"SG104": "tip"}, enters="corpus"),
    Fault("near-duplicate-documents", "test documents are training documents with other punctuation",
          near_duplicate_documents, {"SG104": "tip"}, half="unseen"),
    Fault("random-split-over-windows", "training and validation windows were split one by one",
          random_split_over_windows, {"SG105": "issue"}, cause="leaked-split"),
    Fault("validation-from-document-ends", "validation windows are the last ones of training documents",
          validation_from_document_ends, {"SG105": "issue", "SG213": "tip"},
          "nothing follows the last passages, so the order cannot be tested on them", cause="leaked-split",
          half="unseen"),
    Fault("another-pooling", "the encoder uses another pooling than the bank's encoder", another_pooling,
          {"SG106": "issue"}, cause="spaces-differ"),
    Fault("texts-out-of-step", "texts and vectors of the bank are one row apart", texts_out_of_step,
          {"SG106": "issue", "SG116": "issue"}, "words show what the encoder shows", cause="spaces-differ",
          half="unseen"),
    Fault("unnormalised-vectors", "the bank's vectors were not brought to length 1", unnormalised_vectors,
          {"SG106": "issue"}, cause="spaces-differ"),
    Fault("overflowed-norms", "norms overflowed in half precision and left zeros", overflowed_norms,
          {"SG106": "issue"}, cause="spaces-differ", half="unseen"),
    Fault("checkpoint-of-another-space", "a checkpoint was trained on another encoder's vectors",
          checkpoint_of_another_space, {"SG106": "issue"}, cause="spaces-differ", half="unseen"),
    Fault("context-left-in", "an entry leaves the passages read among the candidates without declaring "
        "it", context_left_in,
          {"SG108": "issue"}, cause="unfair-candidates"),
    Fault("duplicate-left-in", "the context is excluded by row number, so duplicates of it stay", duplicate_left_in,
          {"SG108": "issue"}, cause="unfair-candidates", half="unseen"),
    Fault("prefix-only-declared", "all passages read so far are declared excluded, only the context is",
          prefix_only_declared, {"SG108": "issue", "SG112": "issue"},
          "the recorded ranks are not those among the declared candidates", cause="unfair-candidates", half="unseen"),
    Fault("pools-of-different-size", "one entry searches the test documents only", pools_of_different_size,
          {"SG114": "issue"}, cause="not-comparable"),
    Fault("other-windows", "one entry was measured on half of the windows", other_windows, {"SG114": "issue"},
          cause="not-comparable", half="unseen"),
    Fault("different-exclusion", "one entry excludes more than the others", different_exclusion, {"SG114": "issue"},
          cause="not-comparable", half="unseen"),
    Fault("duplicates-counted-apart", "each copy of a text is a separate candidate", duplicates_counted_apart,
          {"SG114": "issue", "SG108": "issue"}, "the copies of what was read then stay among the candidates",
          cause="not-comparable"),
]  # fmt: skip
