"""Form (a) of the replay: phase 1 as it was done, with every defect that a close reading found.

* The queried documents are not in the index; queries are stored vectors under placeholder keys, repaired.
* Train and validation are dealt at random over overlapping windows.
* Nothing is excluded from the candidates, and the projected loss is not declared.
* The "AMN baseline" queries with the truth.

Leaves a blocked report, and the numbers that the original report printed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from benchmarks.phase1.stored_queries import (
    QueryReader,
    StoredQueries,
    TruthAsQuery,
    evaluate_stored_queries,
    repair,
    rows_of_keys,
    store_queries,
)
from segue.bank.copies import BankCopy, copy_documents
from segue.checks import AUDIT, Case
from segue.checks.build_case import case_of_job
from segue.checks.run import run_checks
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.trained import train_option
from segue.comparison.job import FoldResult, Job, Results
from segue.comparison.options import Option, choose_options
from segue.comparison.record import Record, write_record
from segue.comparison.scoring import score_on_validation
from segue.comparison.summary import compare
from segue.errors import InputError, explain
from segue.evaluation.compatibility import project
from segue.evaluation.evaluate import evaluate
from segue.evaluation.experiment import Experiment, Fold
from segue.evaluation.intervals import paired
from segue.progress import Stages
from segue.ranking.pool import Pool
from segue.recipe import Recipe
from segue.reports import write_report
from segue.retrieval.retrievers import Retriever, VectorRetriever
from segue.types import Bank, Progress, Split, Windows
from segue.windows.near_duplicates import document_groups
from segue.windows.windows import WindowSettings, make_windows
from segue.workflows.check_record import checked
from segue.workflows.triage import measured_setup

REPORTED = ("ar-cosine", "infonce-projected")
"""The models of the original report."""
AMN = "amn-baseline"
SHARE_QUERIED = 500 / 8970
"""Share of the documents that is queried: 8471 to 8970 were queried, 1 to 8470 were indexed."""
MINIMUM_QUERIED = 16
"""Least number of queried documents: a sign test needs twelve."""
CUTOFF = "R@5"


@dataclass(frozen=True)
class AsDone:
    """The setup of form (a): what is trained and what is queried.

    Attributes:
        job: the index, its random deal over windows, and the models of the report.
        stored: the queries before the repair, with their real next vectors.
        reader: the queries after it.
        clean: the experiment whose bank holds the queried documents too.
        tested: the queries as windows of that bank, with the answers that are really next.
    """

    job: Job
    stored: StoredQueries
    reader: QueryReader
    clean: Experiment
    tested: Windows

    @property
    def index(self) -> Bank:
        """The bank without the queried documents."""
        return self.job.experiment.bank

    @property
    def fold(self) -> Fold:
        """The only fold."""
        return self.job.experiment.folds[0]


def prepare(clean: Job, out: Path, recipe: Recipe, *, keys_per_document: int) -> AsDone:
    """Take the last documents out of the bank, store queries about them, and repair these.

    Args:
        clean: its bank and settings are used.
        out: run folder of this form.
        recipe: of this form.
        keys_per_document: of the placeholder keys.

    Raises:
        InputError: the repair drops every query.
    """
    bank = clean.experiment.bank
    queried = _last_documents(bank)
    index = copy_documents(bank, np.arange(queried[0]))
    windows = make_windows(bank, queried, WindowSettings(context=recipe.windows.context))
    stored = store_queries(bank, windows, keys_per_document=keys_per_document)
    repaired = repair(stored, index)
    if len(repaired) == 0:
        raise InputError(explain("no placeholder key is in the index", got=f"{len(stored)} queries",
                                 fix="use documents of more passages, or fewer keys_per_document"))  # fmt: skip
    reader = QueryReader(repaired, index)
    job = replace(clean, experiment=_experiment(index, reader, recipe), options=_options(), out=out)
    return AsDone(job, stored, reader, clean.experiment, windows)


def _last_documents(bank: Bank) -> Int[np.ndarray, "queried"]:
    total = len(bank.document_ids)
    count = max(round(SHARE_QUERIED * total), min(MINIMUM_QUERIED, total // 2))
    return np.arange(total - count, total, dtype=np.int64)


def _experiment(index: BankCopy, reader: QueryReader, recipe: Recipe) -> Experiment:
    documents = np.arange(len(index.document_ids), dtype=np.int64)
    train, validation = _dealt_at_random(
        make_windows(index, documents, recipe.windows), recipe.split.validation, seed=recipe.split.seed
    )
    queried = np.unique(index.document_of[reader.windows.target]).astype(np.int64)
    fold = Fold(Split(documents, documents, queried), train, validation, reader.windows)
    groups = document_groups(index, recipe.split.near_duplicates)
    return Experiment(index, Pool(index), (fold,), groups, recipe.windows.context)


def _dealt_at_random(windows: Windows, share: float, *, seed: int) -> tuple[Windows, Windows]:
    """Deal overlapping windows, not documents, to training and validation."""
    order = np.random.default_rng(seed).permutation(len(windows))
    cut = round(share * len(windows))
    return windows.take(np.sort(order[cut:])), windows.take(np.sort(order[:cut]))


def _options() -> tuple[Option, ...]:
    """Return the report's models as it presented them: the projected one without a word about its space."""
    models = [replace(option, intent="candidate") for option in choose_options(REPORTED) if option.name in REPORTED]
    amn = Option(AMN, "baseline", "the true vectors as queries, called a model", "What was the baseline's 100 %?")
    return (amn, *models)


def run_as_done(what: AsDone, recipe: Recipe, *, steps: int, stages: Stages) -> dict[str, Any]:
    """Train, ask, audit, write the blocked report, and return what the original report would have printed.

    Returns:
        ``blocked``, ``causes``, and by table: ``documents``, ``queries``, ``keys``, ``rows``, ``compatibility``.
    """
    out = what.job.out
    baselines = Baselines(what.job)
    with stages("(a) as it was done") as progress:
        retrievers, results = _results(what, baselines, steps=steps, progress=progress)
    case = _case(what, results, retrievers, baselines)
    with stages("(a) auditing") as progress:
        findings = run_checks(AUDIT, case, progress=progress)
    found = checked(findings, [], unsafe=False, subject=None)
    setup = dict(measured_setup(recipe, what.job, results, seconds={})) | {"exclude": "none"}
    record = Record(**setup, **dict(compare(what.job, results)), **dict(found))
    write_record(out / "triage.json", record)
    write_report(out)
    return {
        "blocked": list(found.blocked),
        "causes": [cause.name for cause in found.causes],
        **numbers(what, case, retrievers),
    }


def _results(
    what: AsDone, baselines: Baselines, *, steps: int, progress: Progress
) -> tuple[dict[str, Retriever], Results]:
    retrievers: dict[str, Retriever] = {}
    results: Results = {}
    for option in what.job.options:
        retriever: Retriever = _amn(what)
        training = None
        if option.trained:
            retriever, training = train_option(
                OptionOnFold(what.job, option, what.fold, baselines, option.loss, steps, progress)
            )
        evaluation = evaluate_stored_queries(retriever, what.index, what.reader, what.job.recipe.evaluation)
        validation = score_on_validation(retriever, what.job, what.fold)
        status = "under-trained" if training and training["under_trained"] else "done"
        retrievers[option.name] = retriever
        results[option.name] = [FoldResult(status, None, validation, training, evaluation)]
    return retrievers, results


def _amn(what: AsDone) -> VectorRetriever:
    """Return the baseline that knows the answers, those of validation included."""
    validation = store_queries(what.index, what.fold.validation)
    return VectorRetriever(AMN, "candidate", TruthAsQuery([what.reader.queries, validation]), what.job.experiment.pool)


def _case(what: AsDone, results: Results, retrievers: dict[str, Retriever], baselines: Baselines) -> Case:
    """Return the experiment for examination: queries from their file, nothing excluded, nothing declared."""
    case = case_of_job(what.job, results, subject=REPORTED[1], baselines=baselines)
    rows = tuple(replace(row, load=lambda: retrievers[AMN]) if row.name == AMN else row for row in case.entries)
    return replace(
        case,
        entries=rows,
        exclude="none",
        gather=what.reader.gather,
        truth=what.reader.truth,
        query_documents={what.fold.number: what.reader.queries.document_ids},
    )


def numbers(what: AsDone, case: Case, retrievers: Mapping[str, Retriever]) -> dict[str, Any]:
    """Return the tables of the original report with the controls it lacked."""
    index, stored, kept = what.index, what.stored, what.reader.queries
    return {
        "documents": {
            "indexed": len(index.document_ids),
            "queried": len(set(kept.document_ids)),
            "queried_and_indexed": len(set(kept.document_ids) & set(index.document_ids)),
        },
        "queries": {"stored": len(stored), "dropped": len(stored) - len(kept), "queried": len(kept)},
        "chance": {CUTOFF: min(1.0, 5 / what.job.experiment.pool.size)},
        "keys": _keys(what),
        "rows": {row.name: _row(what, case, row.name, retrievers[row.name]) for row in case.entries},
        "compatibility": _compatibility(what, case, retrievers[REPORTED[1]]),
    }


def _keys(what: AsDone) -> dict[str, Any]:
    """Compare each stored target, before the repair, with the row at its key and with the row at another key."""
    kept = what.stored.take(rows_of_keys(what.index, what.stored.keys) >= 0)
    return matched_and_random(kept.targets, what.reader.queries.targets, kept.groups)


def matched_and_random(
    first: Float[np.ndarray, "window dim"],
    second: Float[np.ndarray, "window dim"],
    groups: Int[np.ndarray, "window"],
) -> dict[str, Any]:
    """Return the mean cosine of pairs, that with the second halves of all other groups, and the difference.

    The difference has its interval over groups.

    >>> vectors = np.repeat(np.eye(3), 2, axis=0)
    >>> found = matched_and_random(vectors, vectors, np.array([0, 0, 1, 1, 2, 2]))
    >>> found["matched"], found["random"], found["difference"]["value"]
    (1.0, 0.0, 1.0)
    """
    matched = np.einsum("wd,wd->w", first, second, dtype=np.float64)
    random = np.einsum("wd,wd->w", first, _mean_of_others(second, groups))
    return {
        "matched": float(matched.mean()),
        "random": float(random.mean()),
        "difference": asdict(paired(matched, random, groups).difference),
    }


def _mean_of_others(
    vectors: Float[np.ndarray, "window dim"], groups: Int[np.ndarray, "window"]
) -> Float[np.ndarray, "window dim"]:
    """Return for each window the mean vector of the windows of all other groups."""
    own = np.unique(groups, return_inverse=True)[1]
    sums = np.zeros((own.max() + 1, vectors.shape[1]))
    np.add.at(sums, own, vectors)
    count = np.bincount(own)
    return ((sums.sum(axis=0) - sums) / np.maximum(1, len(own) - count)[:, None])[own]


def _row(what: AsDone, case: Case, name: str, retriever: Retriever) -> dict[str, Any]:
    (row,) = case.entries_named(name)
    assert row.evaluation is not None
    metrics = {key: asdict(row.evaluation.metrics[key]) for key in ("R@1", CUTOFF, "R@10", "Contain@50", "MRR")}
    pairs = matched_and_random(_queries(what, retriever), what.reader.queries.targets, what.reader.queries.groups)
    trained = {} if row.trained is None else {
        "last_step": _last_step(row.trained.record), "fixed": _fixed(what, retriever)
    }  # fmt: skip
    return {"metrics": metrics, "cosine": pairs, "validation": dict(row.validation or {}), **trained}


def _fixed(what: AsDone, retriever: Retriever) -> dict[str, Any]:
    """Ask the same weights about the same documents, now indexed, with the passages that are really next as truth."""
    bank = what.clean.bank
    settings = what.job.recipe.evaluation.model_copy(update={"latency_queries": 0})
    found = evaluate(retriever.over(bank), bank, what.tested, groups=what.clean.groups, settings=settings)
    return {name: asdict(found.metrics[name]) for name in (CUTOFF, "cosine")}


def _queries(what: AsDone, retriever: Retriever) -> Float[np.ndarray, "window dim"]:
    queries = retriever.score(what.reader.gather(what.index, what.reader.windows, exclude="none")).queries
    assert queries is not None, "every row of this form has query vectors"
    return queries


def _last_step(record: dict[str, Any]) -> dict[str, float]:
    """Return what a training's terms came to at its end, and ln of the batch: InfoNCE at chance."""
    last = record["curve"][-1]
    terms = {name.removeprefix("loss/"): value for name, value in last.items() if name.startswith("loss/")}
    return terms | {"InfoNCE at chance": math.log(record["batch_size"])}


def _compatibility(what: AsDone, case: Case, retriever: Retriever) -> dict[str, Any]:
    """Return the report's compatibility test on the stored queries, and the same on pairs that belong together."""
    (row,) = case.entries_named(REPORTED[1])
    assert row.trained is not None
    loss, joined = row.trained.loss, what.reader.queries
    queries = _queries(what, retriever)
    return {
        "stored queries": {
            "raw": matched_and_random(queries, joined.targets, joined.groups),
            "projected": matched_and_random(project(loss, queries), project(loss, joined.targets), joined.groups),
        },
        "validation windows": {name: row.trained.record["compatibility"][name] for name in ("raw", "projected")},
    }
