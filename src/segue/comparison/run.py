"""Compare options: train each under one plan, score each on test once.

Input: a ``Job``. Output: a run folder with one sub-folder per option and fold, and the results that ``summary.py``
sums up. Every option and fold is a task that is either complete or absent, so a killed run is resumed; ``tasks.py``
does them, side by side where there are processes. Choices (steps, decay, the winning loss, the winner) read validation
documents only; every test evaluation is logged. Answers are timed at the end, with nothing beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from pathlib import Path
from time import monotonic

from segue.comparison.calibration import FALLBACK_LOSS, calibrate
from segue.comparison.entries import load_retriever
from segue.comparison.entries.baselines import Baselines
from segue.comparison.job import FoldResult, Job, Results
from segue.comparison.options import READ_AGAIN, WINNING_LOSS, Option
from segue.comparison.plan import CLOCK_SLACK, COST_FILE, Plan, load_plan
from segue.comparison.scoring import time_answers
from segue.comparison.tasks import SECONDS_BETWEEN_NOTES, Task, Workers, open_workers, progress_in_words
from segue.comparison.tuning import require_extra
from segue.errors import InputError
from segue.evaluation.experiment import Fold, lock_split
from segue.hardware import threads
from segue.old_names import option_folder
from segue.progress import duration, quiet
from segue.storage import publish
from segue.types import Progress, no_progress


def run_triage(
    job: Job,
    *,
    baselines: Baselines | None = None,
    workers: Workers | None = None,
    progress: Progress = no_progress,
    say: Callable[[str], None] = quiet.say,
) -> Results:
    """Run every option on every fold; what an earlier run finished is read back. Then time the answers.

    Args:
        job: the comparison.
        baselines: the job's, where the caller uses them afterwards.
        workers: do the tasks, in whose number of threads this is called; None opens those that [compute] names.
        progress: called for every option and step.
        say: called with a line on each option that is finished.

    Raises:
        InputError: the run folder belongs to another split, or the named plan does not fit the options or [tuning].
        MissingExtraError: something is to be tuned, and Optuna is not installed.
        SettingsError: the budget is too small for the fewest steps, or for the trials of tuning.
        StorageError: the run folder cannot be written, or a process ended before its task did.
    """
    lock_split(job.experiment, job.out / "split.json")
    if job.recipe.triage.plan is not None:
        plan = load_plan(Path(job.recipe.triage.plan), options=_planned(job))  # fails before anything is trained
        if job.searched and not plan.trial_steps:
            raise InputError(f"{job.recipe.triage.plan} has no steps for the trials of [tuning]",
                             fix="leave [triage] plan out, or name the plan of a run that tuned")  # fmt: skip
    require_extra(job)
    baselines = baselines or Baselines(job)
    if workers is None:
        with open_workers(job, baselines) as opened, threads(opened.threads_each):
            return run_triage(job, baselines=baselines, workers=opened, progress=progress, say=say)
    run = _Run(job, workers, baselines, progress, say)
    in_order = sorted(job.options, key=lambda option: (_wave(option), not _is_long(option, workers)))
    run.all([option for option in in_order if _wave(option) == 0])
    run.plan = _settle_plan(run)
    run.all([option for option in in_order if _wave(option) > 0])
    run.time_answers()
    return {option.name: run.results(option) for option in job.options}


def _wave(option: Option) -> int:
    """Return an option's place in the order of work: what others depend on comes first."""
    if option.reuses_model or option.text:
        return 3
    return 0 if not option.trained else 2 if option.loss == WINNING_LOSS else 1


def _is_long(option: Option, workers: Workers) -> bool:
    """Return whether an option goes first in its wave, so that no process works alone at the wave's end.

    On one process the baselines go before the expensive ones, so that their numbers are seen first.
    """
    return option.crossfitted or (option.may_be_too_expensive and workers.at_once > 1)


class _Run:
    """One pass over the options: results so far, the clock, the shared baselines."""

    def __init__(
        self, job: Job, workers: Workers, baselines: Baselines, progress: Progress, say: Callable[[str], None]
    ) -> None:
        self.job, self.workers, self.baselines = job, workers, baselines
        self.progress, self.say = progress, say
        self.found: dict[str, dict[int, FoldResult]] = {option.name: {} for option in job.options}
        self.plan: Plan | None = None
        self.began = monotonic()

    def elapsed(self) -> float:
        return monotonic() - self.began

    def results(self, option: Option) -> list[FoldResult]:
        """Return the results of an option, fold by fold."""
        return [self.found[option.name][fold.number] for fold in self.job.experiment.folds]

    def all(self, options: Sequence[Option]) -> None:
        """Do every option on every fold, each as soon as there is a free worker and what it needs is known."""
        waiting = [(option, fold) for option in options for fold in self.job.experiment.folds]
        running: dict[Future[FoldResult], Task] = {}
        while waiting or running:
            ready = next((place for place, one in enumerate(waiting) if self._is_ready(*one)), None)
            if ready is not None and len(running) < self.workers.at_once:
                option, fold = waiting.pop(ready)
                known = self._known(option, fold)
                if known is not None:
                    self._keep(option, fold, known)
                else:
                    task = self._task(option, fold)
                    note = self._note(task)
                    note(0, None, "")
                    running[self.workers.submit(task, note)] = task
                continue
            done, _ = wait(running, timeout=SECONDS_BETWEEN_NOTES, return_when=FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                self._keep(task.option, task.fold, future.result())
            if running:
                first = next(iter(running.values()))
                self._note(first)(0, None, self.workers.note(first))

    def _is_ready(self, option: Option, fold: Fold) -> bool:
        """Return whether the results that an option's loss or model is chosen by are there, and its measured cost."""
        first = self.job.experiment.folds[0]
        if option.may_be_too_expensive and fold.number != first.number and first.number not in self.found[option.name]:
            return (option_folder(self.job.out / "options", option.name) / COST_FILE).exists()
        chosen_among = [other.name for other in self.job.options
                        if (option.loss == WINNING_LOSS and other.loss_candidate)
                        or (option.reuses_model and (other.reusable or other.name in READ_AGAIN))]  # fmt: skip
        return all(fold.number in self.found[name] for name in chosen_among)

    def _known(self, option: Option, fold: Fold) -> FoldResult | None:
        """Return the result of an earlier run, or that there is no time left; None where there is work to do."""
        folder = self.job.folder(option, fold)
        if (folder / "result.json").exists():
            return FoldResult.load(folder)
        if option.trained and self.elapsed() > 60 * CLOCK_SLACK * self.job.recipe.triage.budget_minutes:
            return FoldResult(
                "aborted", f"the run took more than {CLOCK_SLACK:g} × budget_minutes; run again to resume"
            )
        return None

    def _task(self, option: Option, fold: Fold) -> Task:
        scores = {name: found[fold.number].validation for name, found in self.found.items() if fold.number in found}
        loss = winning_loss(self.job, scores) if option.loss == WINNING_LOSS else option.loss
        model = best_model(self.job, scores) if option.reuses_model else None
        if option.text == "cross-encoder":
            model = next((name for name in READ_AGAIN if scores.get(name)), READ_AGAIN[-1])
        planned = self.plan if option.planned else None
        return Task(option, fold, loss, model, steps=planned.steps[option.name] if planned else 0,
                    trial_steps=planned.trial_steps if planned else 0)  # fmt: skip

    def _keep(self, option: Option, fold: Fold, result: FoldResult) -> None:
        self.found[option.name][fold.number] = result
        publish(self.job.out)
        if len(self.found[option.name]) == len(self.job.experiment.folds):
            self.say(outcome_line(option.name, self.results(option)))

    def _note(self, task: Task) -> Progress:
        """Turn a task's own progress into a line under the run's bar."""
        folds = len(self.job.experiment.folds)
        done = sum(len(found) for found in self.found.values())

        def note(step: int, total: int | None, text: str) -> None:
            words = f"{task.name(folds)} {progress_in_words(step, total, text)}"
            self.progress(done, folds * len(self.job.options), words.strip())

        return note

    def time_answers(self) -> None:
        """Time the answers of what was evaluated and not timed yet, one at a time and with nothing beside it."""
        if not self.job.recipe.evaluation.latency_queries:
            return
        everything = len(self.job.options) * len(self.job.experiment.folds)
        for option in self.job.options:
            for fold, result in zip(self.job.experiment.folds, self.results(option), strict=True):
                if result.evaluation is not None and not result.evaluation.timings:
                    self.progress(everything, everything, f"timing the answers of {option.name}")
                    timings = time_answers(self.job, fold, load_retriever(self.job, option, fold, self.baselines))
                    folder = self.job.folder(option, fold)
                    self.found[option.name][fold.number] = result.timed(timings, folder)


def outcome_line(name: str, folds: Sequence[FoldResult]) -> str:
    """Return an option's R@5 on validation documents, in the mean of its folds, or why it has none.

    >>> outcome_line("mean", [FoldResult("done", None, {"R@5": 0.25}), FoldResult("done", None, {"R@5": 0.5})])
    'mean: R@5 37.5 on validation documents'
    """
    found = [fold.validation["R@5"] for fold in folds if fold.validation]
    lacking = next((fold for fold in folds if not fold.validation), None)
    if lacking is not None:
        some = f" ({len(folds) - len(found)} of {len(folds)} folds)" if found else ""
        return f"{name}: {lacking.status}{some}: {lacking.reason}"
    trained = [fold.training for fold in folds if fold.training]
    seconds = sum(training["seconds"] for training in trained)
    cost = f", {trained[0]['steps']:,} steps in {duration(seconds)}" if trained else ""
    return f"{name}: R@5 {100 * sum(found) / len(found):.1f} on validation documents{cost}"


FoldScores = Mapping[str, Mapping[str, float] | None]
"""Validation metrics of options on one fold, by name; None where an option has none."""


def winning_loss(job: Job, scores: FoldScores) -> str:
    """Return the loss of the loss candidate with the best validation MRR."""
    best = _best([option for option in job.options if option.loss_candidate], scores)
    return FALLBACK_LOSS if best is None else str(best.loss)


def best_model(job: Job, scores: FoldScores) -> str | None:
    """Return the reusable option with the best validation MRR, or None."""
    best = _best([option for option in job.options if option.reusable], scores)
    return None if best is None else best.name


def _best(options: Sequence[Option], scores: FoldScores) -> Option | None:
    """Return the option with the best validation MRR, the first of equals; None where none was scored."""
    found = {option: validation["MRR"] for option in options if (validation := scores.get(option.name))}
    return max(found, key=found.__getitem__) if found else None


def _planned(job: Job) -> tuple[str, ...]:
    return tuple(option.name for option in job.options if option.planned)


def _settle_plan(run: _Run) -> Plan | None:
    """Load the run's plan or the one that the recipe names, otherwise calibrate; save it in the run folder."""
    job = run.job
    trained = _planned(job)
    if not trained:
        return None
    path = job.out / "plan.json"
    known = load_plan(path, options=()) if path.exists() else None
    if known is not None and set(trained) <= set(known.steps) and (known.trial_steps or not job.searched):
        return known
    if job.recipe.triage.plan is not None:
        plan = load_plan(Path(job.recipe.triage.plan), options=trained)
    else:
        plan = calibrate(job, run.baselines, seconds_spent=run.elapsed(), at_once=run.workers.at_once,
                         progress=run.progress)  # fmt: skip
    if known is not None:
        plan = replace(plan, steps={**plan.steps, **known.steps}, trial_steps=known.trial_steps or plan.trial_steps)
    plan.save(path)
    return plan
