"""Compare options side by side: train each under one plan, score each on test once, recommend what measured best.

Enters: a ``Job`` (an experiment, the options, the settings). Leaves: a run folder with one sub-folder per option and
fold, and the results that ``comparison.py`` sums up. Every option and fold is a unit of work that is either whole or
not there, so a killed run goes on where it was. Choices (steps, decay, the winning loss, the winner) look at
validation documents only; every look at test documents is logged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from segue.comparison.calibration import FALLBACK_LOSS, calibrate
from segue.comparison.entries.reranked import Making, borrow, cascade_entrant, require_lender
from segue.comparison.entries.text import text_entrant
from segue.comparison.entries.trained import Baselines, score_on_validation, train_entrant
from segue.comparison.job import FoldResult, Job, Results
from segue.comparison.options import WINNING_LOSS, Option
from segue.comparison.plan import CLOCK_SLACK, Plan, load_plan
from segue.comparison.tuning.search import Search, require_extra, tune
from segue.errors import InputError, SegueError, StorageError, explain
from segue.evaluation.evaluate import Evaluation, evaluate
from segue.evaluation.experiment import Fold, lock_split
from segue.files import append_jsonl
from segue.retrieval.retrievers import Retriever
from segue.types import Progress, no_progress


def run_triage(job: Job, *, baselines: Baselines | None = None, progress: Progress = no_progress) -> Results:
    """Run every option on every fold; what an earlier run finished is read back.

    Args:
        job: the comparison.
        baselines: the job's, where the caller needs what they hold afterwards.
        progress: told of every option and step.

    Raises:
        InputError: the run folder belongs to another split.
        MissingExtraError: something is to be tuned, and Optuna is not installed.
        SettingsError: trials of tuning do not fit into their share of the budget.
    """
    lock_split(job.experiment, job.out / "split.json")
    if job.settings.plan is not None:
        _require_trials(job, load_plan(Path(job.settings.plan), options=_trained(job)))  # a wrong one is told at once
    require_extra(job)
    run = _Run(job, baselines or Baselines(job), progress)
    run.all(option for option in job.options if not option.trained and not option.borrows and not option.text)
    run.plan = _settle_plan(run)
    run.all(option for option in job.options if option.trained and option.loss != WINNING_LOSS)
    run.all(option for option in job.options if option.loss == WINNING_LOSS)
    run.all(option for option in job.options if option.borrows or option.text)
    return {option.name: run.results[option.name] for option in job.options}


class _Run:
    """The state of one pass over the options: results so far, the clock, the shared baselines."""

    def __init__(self, job: Job, baselines: Baselines, progress: Progress) -> None:
        self.job, self.progress = job, progress
        self.results: Results = {}
        self.plan: Plan | None = None
        self.began = monotonic()
        self.baselines = baselines

    def elapsed(self) -> float:
        return monotonic() - self.began

    def all(self, options: Iterable[Option]) -> None:
        for option in options:
            self.results[option.name] = [self.one(option, fold) for fold in self.job.experiment.folds]

    def one(self, option: Option, fold: Fold) -> FoldResult:
        """Run one option on one fold, or read it back."""
        folder = self.job.folder(option, fold)
        if (folder / "result.json").exists():
            return FoldResult.load(folder)
        result = self._fresh(option, fold)
        if result.evaluation is not None:  # what failed or was skipped is tried again by the next run
            result.save(folder)
        return result

    def _fresh(self, option: Option, fold: Fold) -> FoldResult:
        if option.trained and self.elapsed() > 60 * CLOCK_SLACK * self.job.settings.budget_minutes:
            return FoldResult("aborted", f"the clock passed {CLOCK_SLACK:g} × budget_minutes; run again to go on")
        try:
            return self._work(option, fold)
        except StorageError:
            raise  # a full disk says nothing about the option
        except SegueError as error:
            return FoldResult("failed" if option.trained else "skipped", str(error))

    def _work(self, option: Option, fold: Fold) -> FoldResult:
        note = self._note(option, fold)
        note(0, None, "")
        retriever, training = self._entrant(option, fold, note)
        validation = score_on_validation(retriever, self.job, fold)
        evaluation = look_at_test(self.job, option, fold, retriever)
        status = "under-trained" if training and training["under_trained"] else "done"
        return FoldResult(status, None, validation, training, evaluation)

    def _entrant(self, option: Option, fold: Fold, note: Progress) -> tuple[Retriever, dict[str, Any] | None]:
        """Train, fit or read back an option, and return it with what training did."""
        loss = winning_loss(self.job, self.results, fold) if option.loss == WINNING_LOSS else option.loss
        steps = self.plan.steps[option.name] if self.plan is not None and option.trained else 0
        if option.borrows:
            borrow(self.job, option, fold, lender=require_lender(best_model(self.job, self.results, fold), option))
        job = self._tuned(option, fold, loss, note)
        if option.text is not None:
            return text_entrant(self.job, option, fold, self.baselines, note)
        if option.reranking is not None:
            return cascade_entrant(Making(job, option, fold, self.baselines, loss, steps, note))
        if option.trained:
            return train_entrant(job, option, fold, loss=loss, steps=steps, baselines=self.baselines, progress=note)
        return self.baselines.retriever(option.name, fold), None

    def _tuned(self, option: Option, fold: Fold, loss: str | None, note: Progress) -> Job:
        """Return the job under which an option is trained: with the settings found for it where it is tuned."""
        if option not in self.job.searched:
            return self.job
        assert self.plan is not None
        return tune(Search(self.job, option, fold, loss, self.plan.trial_steps, self.baselines, note))

    def _note(self, option: Option, fold: Fold) -> Progress:
        """Turn an option's own progress into a line under the run's bar."""
        folds = len(self.job.experiment.folds)
        done = sum(len(results) for results in self.results.values()) + fold.number
        name = option.name if folds == 1 else f"{option.name}, fold {fold.number + 1} of {folds}"

        def note(step: int, total: int | None, text: str) -> None:
            steps = f" step {step}/{total}" if total else ""
            self.progress(done, folds * len(self.job.options), f"{name}{steps} {text}".strip())

        return note


def look_at_test(job: Job, option: Option, fold: Fold, retriever: Retriever) -> Evaluation:
    """Score a retriever on the fold's test windows, and log that it was done."""
    append_jsonl(
        job.out / "looks.jsonl",
        {"time": datetime.now(UTC).isoformat(timespec="seconds"), "option": option.name, "fold": fold.number},
    )
    experiment = job.experiment
    folds = len(experiment.folds)
    settings = job.evaluation.model_copy(update={"latency_queries": max(20, job.evaluation.latency_queries // folds)})
    return evaluate(
        retriever,
        experiment.bank,
        fold.test,
        settings=settings,
        groups=experiment.groups,
        fresh_documents=fold.split.test,
    )


def winning_loss(job: Job, results: Results, fold: Fold) -> str:
    """Return the loss of the option that did best by validation MRR on this fold, among the losses that may win."""
    scores: dict[str, float] = {}
    for option in job.options:
        if option.may_give_loss and option.name in results:
            validation = results[option.name][fold.number].validation
            if validation and option.loss:
                scores[option.loss] = validation["MRR"]
    return max(scores, key=scores.__getitem__) if scores else FALLBACK_LOSS


def best_model(job: Job, results: Results, fold: Fold) -> str | None:
    """Return the option whose predictor did best by validation MRR on this fold, among those that may be borrowed."""
    scores: dict[str, float] = {}
    for option in job.options:
        if option.lends and option.name in results and (validation := results[option.name][fold.number].validation):
            scores[option.name] = validation["MRR"]
    return max(scores, key=scores.__getitem__) if scores else None


def _trained(job: Job) -> tuple[str, ...]:
    return tuple(option.name for option in job.options if option.trained)


def _settle_plan(run: _Run) -> Plan | None:
    """Read this run's plan or the one the recipe names, else measure one; it is in the run folder ever after."""
    job = run.job
    trained = _trained(job)
    if not trained:
        return None
    path = job.out / "plan.json"
    known = load_plan(path, options=()) if path.exists() else None
    if known is not None and set(trained) <= set(known.steps) and (known.trial_steps or not job.searched):
        return known
    if job.settings.plan is not None:
        plan = load_plan(Path(job.settings.plan), options=trained)
    else:
        plan = calibrate(job, run.baselines, seconds_spent=run.elapsed(), progress=run.progress)
    if known is not None:
        plan = replace(plan, steps={**plan.steps, **known.steps}, trial_steps=known.trial_steps or plan.trial_steps)
    plan.save(path)
    return plan


def _require_trials(job: Job, plan: Plan) -> None:
    """Refuse a plan of another run that says nothing of trials where there are to be some.

    Raises:
        InputError: it has no steps for them.
    """
    if job.searched and not plan.trial_steps:
        raise InputError(explain(f"{job.settings.plan} has no steps for the trials of [tuning]",
                                 fix="leave [triage] plan out, or name the plan of a run that tuned"))  # fmt: skip
