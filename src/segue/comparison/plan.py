"""The plan: optimiser steps of each trained option, from the recipe's minutes and a calibration.

Every option gets the same number of steps. The plan is a file: a resumed run reads it, and another run can repeat it.
The clock does not change a result; it only aborts what has not begun.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from segue.comparison.job import Job
from segue.errors import InputError, SettingsError
from segue.files import read_json, write_json
from segue.old_names import current_name, option_folder
from segue.storage import pull

MINIMUM_STEPS = 20
"""Minimum number of steps of an option, at any budget."""
CLOCK_SLACK = 2.0
"""Number of budgets after which options that have not begun are aborted."""


COST_FILE = "cost.json"
"""File in the folder of an option whose cost was measured."""


@dataclass(frozen=True)
class Plan:
    """Steps per option, and the measurements they follow from.

    Attributes:
        steps: optimiser steps of each trained option, on every fold.
        steps_per_second: measured at calibration.
        score_seconds: seconds of one validation scoring, measured at calibration.
        budget_minutes: the recipe's budget.
        trial_steps: optimiser steps of each trial of tuning; 0 where nothing is tuned.
    """

    steps: Mapping[str, int]
    steps_per_second: Mapping[str, float]
    score_seconds: float
    budget_minutes: float
    trial_steps: int = 0

    def save(self, path: Path) -> None:
        """Write the plan as JSON."""
        write_json(path, {"format": 1, **asdict(self)})


def load_plan(path: Path, *, options: tuple[str, ...]) -> Plan:
    """Read a plan.

    Raises:
        InputError: the file is missing, is not a plan, or lacks one of ``options``.
    """
    record = read_json(pull(path))
    for key in ("steps", "steps_per_second"):
        if isinstance(record.get(key), dict):
            record[key] = {current_name(name): value for name, value in record[key].items()}
    wrong = sorted({field.name for field in fields(Plan) if field.default is MISSING} - set(record))
    steps: Any = record.get("steps")
    counts = isinstance(steps, dict) and all(isinstance(count, int) and count > 0 for count in steps.values())
    if wrong or not counts:
        got = f"no {', '.join(wrong)}" if wrong else "steps that are not counts"
        fix = "name the plan.json of a run folder, or delete this one and run again"
        raise InputError(f"{path} is not a plan", got=got, fix=fix)
    missing = [name for name in options if name not in steps]
    if missing or record.pop("format", None) != 1:
        raise InputError(
            f"{path} is not a plan for these options",
            got=f"no steps for {', '.join(missing)}" if missing else "another format",
            fix="leave [triage] plan out, or name only options that the plan has",
        )
    record.pop("fits", None)  # of version 0.1
    return Plan(**record)


def affordable_steps(
    steps_per_second: Mapping[str, float], *, most_steps: int, trainings: int, seconds: float, scoring: float
) -> int:
    """Return the steps, the same for every option, that fit into ``seconds``; below 0 where not even scoring does.

    Args:
        steps_per_second: measured, by option name.
        most_steps: returned where nothing is trained.
        trainings: trainings of each option.
        seconds: seconds for all of them together.
        scoring: seconds of scoring in each training.
    """
    left = seconds - trainings * len(steps_per_second) * scoring
    cost = trainings * sum(1.0 / rate for rate in steps_per_second.values())
    return math.floor(left / cost + 1e-9) if cost else most_steps


def plan_trials(
    steps_per_second: Mapping[str, float], *, most_steps: int, trainings: int, seconds: float, scoring: float
) -> tuple[int, float]:
    """Return the steps of a trial of tuning, and the seconds that all trials take.

    Args:
        steps_per_second: speeds of the options that are tuned.
        most_steps: the recipe's limit.
        trainings: trials of each option, over all folds.
        seconds: seconds for all of them together.
        scoring: seconds of scoring in each trial.

    Raises:
        SettingsError: a trial would get fewer than the fewest steps.

    >>> plan_trials({"a": 10.0, "b": 5.0}, most_steps=1000, trainings=4, seconds=80.0, scoring=2.5)  # 20 s score
    (50, 80.0)
    """
    affordable = affordable_steps(
        steps_per_second, most_steps=most_steps, trainings=trainings, seconds=seconds, scoring=scoring
    )
    steps = min(most_steps, affordable)
    if steps < min(MINIMUM_STEPS, most_steps):
        what = "the trials of [tuning] do not fit into their share of the budget"
        trials = trainings * len(steps_per_second)
        got = f"{max(0, steps)} steps for each of {trials} trials in {max(0.0, seconds):.0f} s"
        fix = "raise [triage] budget_minutes or [tuning] share, or use fewer options, trials or folds"
        raise SettingsError(what, got=got, expected=f"at least {MINIMUM_STEPS}", fix=fix)
    cost = sum(trainings * (scoring + steps / rate) for rate in steps_per_second.values())
    return steps, cost


def make_plan(
    steps_per_second: Mapping[str, float],
    *,
    most_steps: int,
    folds: int,
    seconds: float,
    score_seconds: float,
    scorings: int,
    budget_minutes: float,
    at_once: int = 1,
    chain: int = 1,
    more: Mapping[str, float] | None = None,
) -> Plan:
    """Give every option the same number of steps, as many as fit into ``seconds``.

    Args:
        steps_per_second: measured, by option name.
        most_steps: the recipe's limit (its epochs).
        folds: trainings of each option.
        seconds: the part of the budget that is left for training.
        score_seconds: seconds of one validation scoring.
        scorings: validation scorings and the like per training.
        budget_minutes: recorded with the plan.
        at_once: trainings that run side by side, where there are so many.
        chain: most trainings that have to follow one another.
        more: steps per second of trainings that are not options, with as many steps.

    Raises:
        SettingsError: not even the fewest steps fit; the message has the minutes that they need.

    >>> plan = make_plan({"a": 10.0, "b": 5.0}, most_steps=1000, folds=2, seconds=80.0, score_seconds=1.0,
    ...                  scorings=5, budget_minutes=2.0)
    >>> plan.steps  # 80 s - 2 options x 2 folds x 5 s = 60 s; a step of each, twice, takes 0.6 s
    {'a': 100, 'b': 100}
    """
    paid = {**steps_per_second, **(more or {})}
    least, scoring = min(MINIMUM_STEPS, most_steps), scorings * score_seconds
    side_by_side = min(at_once, folds * len(paid) / chain)
    affordable = affordable_steps(
        paid, most_steps=most_steps, trainings=folds, seconds=seconds * side_by_side, scoring=scoring
    )
    if affordable < least:
        needed = folds * sum(scoring + least / rate for rate in paid.values()) / side_by_side
        minutes = budget_minutes + (needed - seconds) / 60
        raise SettingsError(
            "the budget is too small to train anything",
            got=f"[triage] budget_minutes = {budget_minutes:g}",
            expected=f"at least {minutes:.1f}, for {least} steps of each of {len(paid)} trainings on {folds} "
            f"fold{'s' if folds > 1 else ''} on this machine",
            fix=f"set budget_minutes = {math.ceil(1.2 * minutes)} or more, or compare fewer options",
        )
    steps = min(most_steps, affordable)
    return Plan(dict.fromkeys(steps_per_second, steps), dict(steps_per_second), score_seconds, budget_minutes)


def require_affordable(job: Job, name: str, *, share: float, cost: Callable[[], float], fix: str) -> None:
    """Refuse an option that exceeds its share of the budget.

    The cost is kept in the option's folder (``cost.json``), so that a resumed run decides as before.

    Args:
        job: the comparison.
        name: the option's name.
        share: share of budget_minutes that it may take.
        cost: measures the seconds that it takes on all folds.
        fix: what makes it cheaper.

    Raises:
        InputError: states the minutes it would take and the budget at which it runs.
    """
    path = option_folder(job.out / "options", name) / COST_FILE
    if not path.exists():
        write_json(path, {"format": 1, "seconds": cost()})
    seconds = float(read_json(path)["seconds"])
    allowed = 60 * job.recipe.triage.budget_minutes * share
    if seconds > allowed:
        raise InputError(
            f"{name} is over budget",
            got=f"about {seconds / 60:.1f} minutes on this machine",
            expected=f"at most {allowed / 60:.1f} ({share:.0%} of budget_minutes)",
            fix=f"set [triage] budget_minutes = {math.ceil(seconds / 60 / share)}, or {fix}",
        )
