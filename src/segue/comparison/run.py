"""Compare options: train each under one plan, score each on test once.

Input: a ``Job``. Output: a run folder with one sub-folder per option and fold, and the results that ``summary.py``
sums up. Every option and fold is a unit of work that is either complete or absent, so a killed run is resumed. Choices
(steps, decay, the winning loss, the winner) read validation documents only; every test evaluation is logged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

from segue.comparison.calibration import FALLBACK_LOSS, calibrate
from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.reranked import CascadeBuilder, record_model_used
from segue.comparison.entries.text import train_text_option
from segue.comparison.entries.trained import train_option
from segue.comparison.job import FoldResult, FoldTraining, Job, Results
from segue.comparison.options import WINNING_LOSS, Option
from segue.comparison.plan import CLOCK_SLACK, Plan, load_plan
from segue.comparison.scoring import evaluate_on_test, score_on_validation
from segue.comparison.tuning import require_extra, tune
from segue.errors import InputError, SegueError, StorageError
from segue.evaluation.experiment import Fold, lock_split
from segue.progress import duration, quiet
from segue.retrieval.retrievers import Retriever
from segue.types import Progress, no_progress


def run_triage(
    job: Job,
    *,
    baselines: Baselines | None = None,
    progress: Progress = no_progress,
    say: Callable[[str], None] = quiet.say,
) -> Results:
    """Run every option on every fold; what an earlier run finished is read back.

    Args:
        job: the comparison.
        baselines: the job's, where the caller uses them afterwards.
        progress: called for every option and step.
        say: called with a line on each option that is finished.

    Raises:
        InputError: the run folder belongs to another split, or the named plan does not fit the options or [tuning].
        MissingExtraError: something is to be tuned, and Optuna is not installed.
        SettingsError: trials of tuning do not fit into their share of the budget.
    """
    lock_split(job.experiment, job.out / "split.json")
    if job.recipe.triage.plan is not None:
        plan = load_plan(Path(job.recipe.triage.plan), options=_trained(job))  # fails before anything is trained
        if job.searched and not plan.trial_steps:
            raise InputError(f"{job.recipe.triage.plan} has no steps for the trials of [tuning]",
                             fix="leave [triage] plan out, or name the plan of a run that tuned")  # fmt: skip
    require_extra(job)
    run = _Run(job, baselines or Baselines(job), progress, say)
    run.all(option for option in job.options if not option.trained and not option.reuses_model and not option.text)
    run.plan = _settle_plan(run)
    run.all(option for option in job.options if option.trained and option.loss != WINNING_LOSS)
    run.all(option for option in job.options if option.loss == WINNING_LOSS)
    run.all(option for option in job.options if option.reuses_model or option.text)
    return {option.name: run.results[option.name] for option in job.options}


class _Run:
    """One pass over the options: results so far, the clock, the shared baselines."""

    def __init__(self, job: Job, baselines: Baselines, progress: Progress, say: Callable[[str], None]) -> None:
        self.job, self.progress, self.say = job, progress, say
        self.results: Results = {}
        self.plan: Plan | None = None
        self.began = monotonic()
        self.baselines = baselines

    def elapsed(self) -> float:
        return monotonic() - self.began

    def all(self, options: Iterable[Option]) -> None:
        for option in options:
            self.results[option.name] = [self.one(option, fold) for fold in self.job.experiment.folds]
            self.say(outcome_line(option.name, self.results[option.name]))

    def one(self, option: Option, fold: Fold) -> FoldResult:
        """Run one option on one fold, or read it back."""
        folder = self.job.folder(option, fold)
        if (folder / "result.json").exists():
            return FoldResult.load(folder)
        result = self._fresh(option, fold)
        if result.evaluation is not None:  # the next run tries again what failed or was skipped
            result.save(folder)
        return result

    def _fresh(self, option: Option, fold: Fold) -> FoldResult:
        if option.trained and self.elapsed() > 60 * CLOCK_SLACK * self.job.recipe.triage.budget_minutes:
            return FoldResult(
                "aborted", f"the run took more than {CLOCK_SLACK:g} × budget_minutes; run again to resume"
            )
        try:
            return self._work(option, fold)
        except StorageError:
            raise  # a full disk is no fault of the option
        except SegueError as error:
            return FoldResult("failed" if option.trained else "skipped", str(error))

    def _work(self, option: Option, fold: Fold) -> FoldResult:
        note = self._note(option, fold)
        note(0, None, "")
        retriever, training = self._retriever(option, fold, note)
        validation = score_on_validation(retriever, self.job, fold)
        evaluation = evaluate_on_test(self.job, option, fold, retriever)
        status = "under-trained" if training and training["under_trained"] else "done"
        return FoldResult(status, None, validation, training, evaluation)

    def _retriever(self, option: Option, fold: Fold, note: Progress) -> tuple[Retriever, FoldTraining | None]:
        """Train, fit or read back an option; return it with the record of its training."""
        loss = winning_loss(self.job, self.results, fold) if option.loss == WINNING_LOSS else option.loss
        steps = self.plan.steps[option.name] if self.plan is not None and option.trained else 0
        if option.reuses_model:
            record_model_used(self.job, option, fold, best=best_model(self.job, self.results, fold))
        unit = OptionOnFold(self.job, option, fold, self.baselines, loss, steps, note)
        if option in self.job.searched:
            assert self.plan is not None
            unit = replace(unit, job=tune(replace(unit, steps=self.plan.trial_steps)))
        if option.text is not None:
            return train_text_option(unit)
        if option.reranking is not None:
            return CascadeBuilder(unit).build()
        if option.trained:
            return train_option(unit)
        return self.baselines.retriever(option.name, fold), None

    def _note(self, option: Option, fold: Fold) -> Progress:
        """Turn an option's own progress into a line under the run's bar."""
        folds = len(self.job.experiment.folds)
        done = sum(len(results) for results in self.results.values()) + fold.number
        name = option.name if folds == 1 else f"{option.name}, fold {fold.number + 1} of {folds}"

        def note(step: int, total: int | None, text: str) -> None:
            steps = f" step {step}/{total}" if total else ""
            self.progress(done, folds * len(self.job.options), f"{name}{steps} {text}".strip())

        return note


def outcome_line(name: str, folds: Sequence[FoldResult]) -> str:
    """Return an option's R@5 on validation documents, in the mean of its folds, or why it has none.

    >>> outcome_line("mean", [FoldResult("done", None, {"R@5": 0.25}), FoldResult("done", None, {"R@5": 0.5})])
    'mean: R@5 37.5 on validation documents'
    """
    found = [fold.validation["R@5"] for fold in folds if fold.validation]
    if not found:
        return f"{name}: {folds[0].status}: {folds[0].reason}"
    trained = [fold.training for fold in folds if fold.training]
    seconds = sum(training["seconds"] for training in trained)
    cost = f", {trained[0]['steps']:,} steps in {duration(seconds)}" if trained else ""
    return f"{name}: R@5 {100 * sum(found) / len(found):.1f} on validation documents{cost}"


def winning_loss(job: Job, results: Results, fold: Fold) -> str:
    """Return the loss of the loss candidate with the best validation MRR on this fold."""
    best = _best([option for option in job.options if option.loss_candidate], results, fold)
    return FALLBACK_LOSS if best is None else str(best.loss)


def best_model(job: Job, results: Results, fold: Fold) -> str | None:
    """Return the reusable option with the best validation MRR on this fold, or None."""
    best = _best([option for option in job.options if option.reusable], results, fold)
    return None if best is None else best.name


def _best(options: Sequence[Option], results: Results, fold: Fold) -> Option | None:
    """Return the option with the best validation MRR on a fold, the first of equals; None where none was scored."""
    found = {option: results[option.name][fold.number].validation for option in options if option.name in results}
    scores = {option: validation["MRR"] for option, validation in found.items() if validation}
    return max(scores, key=scores.__getitem__) if scores else None


def _trained(job: Job) -> tuple[str, ...]:
    return tuple(option.name for option in job.options if option.trained)


def _settle_plan(run: _Run) -> Plan | None:
    """Load the run's plan or the one that the recipe names, otherwise calibrate; save it in the run folder."""
    job = run.job
    trained = _trained(job)
    if not trained:
        return None
    path = job.out / "plan.json"
    known = load_plan(path, options=()) if path.exists() else None
    if known is not None and set(trained) <= set(known.steps) and (known.trial_steps or not job.searched):
        return known
    if job.recipe.triage.plan is not None:
        plan = load_plan(Path(job.recipe.triage.plan), options=trained)
    else:
        plan = calibrate(job, run.baselines, seconds_spent=run.elapsed(), progress=run.progress)
    if known is not None:
        plan = replace(plan, steps={**plan.steps, **known.steps}, trial_steps=known.trial_steps or plan.trial_steps)
    plan.save(path)
    return plan
