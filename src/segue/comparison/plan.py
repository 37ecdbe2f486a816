"""The budget: how many steps each trained option gets, measured once and written down.

A calibration measures steps per second of every trained option and the cost of scoring; the plan follows from it and
from the recipe's minutes. The plan is a file: a resumed run reads it, another run can repeat it, and the clock never
changes a result (it only aborts, labelled). Every option gets the same number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from segue.comparison.options import Preset, choose_options
from segue.errors import InputError, SettingsError, explain
from segue.files import write_json
from segue.old_names import current_name, read_with_current_names
from segue.settings import Settings

FEWEST_STEPS = 20
"""No option gets fewer steps, whatever the budget: less would say nothing."""
CLOCK_SLACK = 2.0
"""The clock aborts what has not begun when this many budgets have passed."""


class TriageSettings(Settings):
    """The [triage] table."""

    options: Preset | tuple[str, ...] = Field(
        "core", description='"core", "phase1" (all that the original report compared and proposed), "all", or names'
    )
    budget_minutes: float = Field(30.0, gt=0, le=100_000, description="minutes for everything after encoding")
    encoder_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of budget_minutes that encoder-context may take; dearer, it is skipped (null: it may)",
    )
    plan: str | None = Field(None, description="plan.json of another run whose steps are repeated")
    validation_windows: int | None = Field(
        2000,
        ge=10,
        description="validation windows scored while training, evenly spread (null: all)",
    )

    @field_validator("options")
    @classmethod
    def _known(cls, options: Preset | tuple[str, ...]) -> Preset | tuple[str, ...]:
        if not isinstance(options, str):
            options = tuple(current_name(name) for name in options)
        choose_options(options)
        return options


@dataclass(frozen=True)
class Plan:
    """Steps per option, and the measurements they follow from.

    Attributes:
        steps: optimiser steps of each trained option, on every fold.
        steps_per_second: measured at calibration.
        score_seconds: one validation scoring, measured at calibration.
        budget_minutes: what the recipe asked for.
        fits: False where even the fewest steps exceed the budget.
        trial_steps: optimiser steps of each trial of tuning; 0 where nothing is tuned.
    """

    steps: Mapping[str, int]
    steps_per_second: Mapping[str, float]
    score_seconds: float
    budget_minutes: float
    fits: bool
    trial_steps: int = 0

    def save(self, path: Path) -> None:
        """Write the plan as JSON."""
        write_json(path, {"format": 1, **asdict(self)})


def load_plan(path: Path, *, options: tuple[str, ...]) -> Plan:
    """Read a plan.

    Raises:
        InputError: the file is missing, is not a plan, or lacks one of ``options``.
    """
    record = read_with_current_names(path)
    wrong = sorted({field.name for field in fields(Plan) if field.default is MISSING} - set(record))
    steps: Any = record.get("steps")
    if wrong or not _are_counts(steps):
        got = f"no {', '.join(wrong)}" if wrong else "steps that are not counts"
        fix = "name the plan.json of a run folder, or delete this one and run again"
        raise InputError(explain(f"{path} is not a plan", got=got, fix=fix))
    missing = [name for name in options if name not in steps]
    if missing or record.pop("format", None) != 1:
        raise InputError(
            explain(
                f"{path} is not a plan for these options",
                got=f"no steps for {', '.join(missing)}" if missing else "another format",
                fix="leave [triage] plan out, or name only options that the plan has",
            )
        )
    return Plan(**record)


def _are_counts(steps: object) -> bool:
    return isinstance(steps, dict) and all(isinstance(count, int) and count > 0 for count in steps.values())


def affordable_steps(
    steps_per_second: Mapping[str, float], *, most_steps: int, trainings: int, seconds: float, scoring: float
) -> int:
    """Return the steps, the same for every option, that fit into ``seconds``; below 0 where not even scoring does.

    Args:
        steps_per_second: measured, by option name.
        most_steps: where nothing is trained.
        trainings: of each option.
        seconds: for all of them together.
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
        steps_per_second: of the options that are tuned.
        most_steps: the recipe's limit.
        trainings: trials of each option, over all folds.
        seconds: for all of them together.
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
    if steps < min(FEWEST_STEPS, most_steps):
        what = "the trials of [tuning] do not fit into their share of the budget"
        trials = trainings * len(steps_per_second)
        got = f"{max(0, steps)} steps for each of {trials} trials in {max(0.0, seconds):.0f} s"
        fix = "raise [triage] budget_minutes or [tuning] share, or ask for fewer options, trials or folds"
        raise SettingsError(explain(what, got=got, expected=f"at least {FEWEST_STEPS}", fix=fix))
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
    more: Mapping[str, float] | None = None,
) -> Plan:
    """Give every option the same number of steps, as many as fit into ``seconds``.

    Args:
        steps_per_second: measured, by option name.
        most_steps: the recipe's limit (its epochs).
        folds: how often each option is trained.
        seconds: what is left of the budget for training.
        score_seconds: one validation scoring.
        scorings: validation scorings and their like per training.
        budget_minutes: recorded with the plan.
        more: steps per second of trainings beside the options' own, which get as many steps.

    >>> plan = make_plan({"a": 10.0, "b": 5.0}, most_steps=1000, folds=2, seconds=80.0, score_seconds=1.0,
    ...                  scorings=5, budget_minutes=2.0)
    >>> plan.steps  # 80 s - 2 options x 2 folds x 5 s = 60 s; a step of each, twice, takes 0.6 s
    {'a': 100, 'b': 100}
    """
    paid = {**steps_per_second, **(more or {})}
    affordable = affordable_steps(
        paid, most_steps=most_steps, trainings=folds, seconds=seconds, scoring=scorings * score_seconds
    )
    steps = min(most_steps, max(FEWEST_STEPS, affordable))
    return Plan(
        dict.fromkeys(steps_per_second, steps),
        dict(steps_per_second),
        score_seconds,
        budget_minutes,
        fits=affordable >= FEWEST_STEPS,
    )
