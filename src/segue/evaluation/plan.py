"""The budget: how many steps each trained option gets, measured once and written down.

A calibration measures steps per second of every trained option and the cost of scoring; the plan follows from it and
from the recipe's minutes. The plan is a file: a resumed run reads it, another run can repeat it, and the clock never
changes a result (it only aborts, labelled). Every option gets the same number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from segue.errors import InputError, explain
from segue.evaluation.options import choose_options
from segue.run_folder import read_json, write_json
from segue.settings import Settings

FEWEST_STEPS = 20
"""No option gets fewer steps, whatever the budget: less would say nothing."""
CLOCK_SLACK = 2.0
"""The clock aborts what has not begun when this many budgets have passed."""


class TriageSettings(Settings):
    """The [triage] table."""

    options: Literal["all"] | tuple[str, ...] = Field("all", description='"all", or a list of option names')
    budget_minutes: float = Field(30.0, gt=0, le=100_000, description="minutes for everything after encoding")
    plan: str | None = Field(None, description="plan.json of another run whose steps are repeated")
    validation_windows: int | None = Field(
        2000,
        ge=10,
        description="validation windows scored while training, evenly spread (null: all)",
    )

    @field_validator("options")
    @classmethod
    def _known(cls, options: Literal["all"] | tuple[str, ...]) -> Literal["all"] | tuple[str, ...]:
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
    """

    steps: Mapping[str, int]
    steps_per_second: Mapping[str, float]
    score_seconds: float
    budget_minutes: float
    fits: bool

    def save(self, path: Path) -> None:
        """Write the plan as JSON."""
        write_json(path, {"format": 1, **asdict(self)})


def load_plan(path: Path, *, options: tuple[str, ...]) -> Plan:
    """Read a plan.

    Raises:
        InputError: the file is missing, is not a plan, or lacks one of ``options``.
    """
    record = read_json(path)
    wrong = sorted({field.name for field in fields(Plan)} - set(record))
    steps = record.get("steps")
    if wrong or not _are_counts(steps):
        got = f"no {', '.join(wrong)}" if wrong else "steps that are not counts"
        mend = "name the plan.json of a run folder, or delete this one and run again"
        raise InputError(explain(f"{path} is not a plan", got=got, mend=mend))
    missing = [name for name in options if name not in steps]
    if missing or record.pop("format", None) != 1:
        raise InputError(
            explain(
                f"{path} is not a plan for these options",
                got=f"no steps for {', '.join(missing)}" if missing else "another format",
                mend="leave [triage] plan out, or name only options that the plan has",
            )
        )
    return Plan(**record)


def _are_counts(steps: object) -> bool:
    return isinstance(steps, dict) and all(isinstance(count, int) and count > 0 for count in steps.values())


def make_plan(
    steps_per_second: Mapping[str, float],
    *,
    most_steps: int,
    folds: int,
    seconds: float,
    score_seconds: float,
    scorings: int,
    budget_minutes: float,
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

    >>> plan = make_plan({"a": 10.0, "b": 5.0}, most_steps=1000, folds=2, seconds=80.0, score_seconds=1.0,
    ...                  scorings=5, budget_minutes=2.0)
    >>> plan.steps  # 80 s - 2 options x 2 folds x 5 s = 60 s; a step of each, twice, takes 0.6 s
    {'a': 100, 'b': 100}
    """
    trainings = folds * len(steps_per_second)
    left = seconds - trainings * scorings * score_seconds
    cost = folds * sum(1.0 / rate for rate in steps_per_second.values())
    affordable = math.floor(left / cost + 1e-9) if cost else most_steps
    steps = min(most_steps, max(FEWEST_STEPS, affordable))
    return Plan(
        dict.fromkeys(steps_per_second, steps),
        dict(steps_per_second),
        score_seconds,
        budget_minutes,
        fits=affordable >= FEWEST_STEPS,
    )
