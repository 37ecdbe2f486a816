"""``python -m benchmarks.phase1``: the original experiment as it was done, with a leaked split, and clean.

Three run folders with a report each. The first two have to be blocked by the integrity checks that were made for their
defects, the third must not be: a replay that comes out otherwise says so and is a failure of the checks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import segue
from benchmarks.phase1.as_done import AMN, CUTOFF, REPORTED, prepare, run_as_done
from benchmarks.phase1.clean_and_leaked import FIXED, measure_conflict, options_of, run_clean, run_leaked
from benchmarks.phase1.page import forms_lines, page
from benchmarks.surroundings import surroundings
from segue.bank.bank import PassageBank
from segue.checks import Effort
from segue.comparison.job import Job
from segue.comparison.plan import Plan, load_plan
from segue.errors import InputError, explain
from segue.files import write_json, write_text
from segue.hardware import Device, limit_threads
from segue.progress import Stages, quiet
from segue.recipe import Recipe, parse_recipe
from segue.workflows.demo import demo_recipe
from segue.workflows.prepare import built_bank, make_job, on_device, open_bank

FOLDERS = {"a": "a-as-it-was-done", "b": "b-leaked-split", "c": "c-clean"}
TITLES = {"a": "as it was done", "b": "a leaked split", "c": "clean"}
BLOCKS = {"a": ("SG101", "SG102", "SG103", "SG105", "SG111"), "b": ("SG104",)}
"""Checks that have to block a form; others may rightly join them."""
CAUSES = {"a": ("target-not-searched", "truth-is-wrong"), "b": ("leaked-split",)}


@dataclass(frozen=True)
class Budget:
    """How much a replay does: a fixed plan, in which no clock has a say.

    Attributes:
        steps: optimiser steps of each of the eight trainings.
        effort: of the check of gradients, which trains for itself.
        test: share of the documents that (b) and (c) evaluate on.
        keys_per_document: of the placeholder keys of (a).
        recipe: of corpus, model and statistics; None: the demo's.
    """

    steps: int = 240
    effort: Effort = field(default_factory=lambda: Effort(windows=500, steps=60, batches=6, resamples=1000))
    test: float = 0.25
    keys_per_document: int = 100
    recipe: Recipe | None = None


@dataclass(frozen=True)
class Replay:
    """What a replay came to.

    Attributes:
        path: its folder; ``README.md`` in it links the three reports.
        record: all numbers, as in ``replay.json``.
    """

    path: Path
    record: dict[str, Any]

    @property
    def unexpected(self) -> list[str]:
        """What came out otherwise than it must."""
        return list(self.record["unexpected"])

    @property
    def as_expected(self) -> bool:
        """Whether every form was blocked, or not, by what was made for it."""
        return not self.unexpected

    @property
    def lines(self) -> list[str]:
        """What the terminal prints."""
        return [*forms_lines(self.record), *self.unexpected, f"Replay: {self.path / 'README.md'}"]

    def to_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return self.record | {"run": str(self.path), "as_expected": self.as_expected}


def replay_phase1(
    out: Path | str,
    *,
    bank: PassageBank | Path | str | None = None,
    device: Device | None = None,
    stages: Stages = quiet,
    budget: Budget | None = None,
) -> Replay:
    """Repeat phase 1 of the original work in three forms; a killed replay goes on where it was.

    Args:
        out: folder of the three run folders.
        bank: a bank of the demo's recipe; None: built in ``out``, or gone on with.
        device: where models run.
        stages: shows progress.
        budget: how much is done.

    Raises:
        SegueError: with what is wrong, what was expected and what to do.
    """
    limit_threads()
    out, budget, began = Path(out), budget or Budget(), monotonic()
    recipe = on_device(_recipe(out, bank, budget), device)
    if bank is None:
        opened = open_bank(recipe, stages=stages)
    else:
        opened = bank if isinstance(bank, PassageBank) else built_bank(recipe)
    encoded = monotonic()
    forms = _forms(recipe, opened, out, budget, stages)
    record: dict[str, Any] = {
        "segue": segue.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "steps": budget.steps,
        "model": recipe.model.name,
        "size": recipe.model.size,
        "bank": {"documents": len(opened.document_ids), "passages": len(opened), "hash": opened.hash},
        "environment": surroundings(),
        "forms": forms,
        "seconds": {"reading and encoding": encoded - began, "replaying": monotonic() - encoded},
        "unexpected": unexpected(forms),
    }
    write_json(out / "replay.json", record)
    write_text(out / "README.md", page(record))
    return Replay(out, record)


def _recipe(out: Path, bank: PassageBank | Path | str | None, budget: Budget) -> Recipe:
    """Return the recipe of all forms: one split, the replay's options, and a plan that no clock made."""
    recipe = budget.recipe or _sample(out)
    named = REPORTED + FIXED
    _fix_plan(out / "plan.json", dict.fromkeys(named, budget.steps), minutes=recipe.triage.budget_minutes)
    tables: dict[str, dict[str, Any]] = {
        "split": {"folds": None, "test": budget.test},
        "triage": {"options": named, "plan": str(out / "plan.json")},
    }
    if bank is not None:
        tables["bank"] = {"path": str(bank.path if isinstance(bank, PassageBank) else bank)}
    return recipe.model_copy(
        update={name: getattr(recipe, name).model_copy(update=new) for name, new in tables.items()}
    )


def _sample(out: Path) -> Recipe:
    """Return the demo's recipe with whole articles and the training of the original report."""
    tables = demo_recipe(out).model_dump(mode="json")
    tables["passages"] |= {"maximum_passages": None}
    tables["training"] |= {"batch_size": 256, "learning_rate": 1e-3}
    return parse_recipe(tables)


def _fix_plan(path: Path, steps: dict[str, int], *, minutes: float) -> None:
    """Write the plan, or compare it with that of the replay which is gone on with."""
    if path.exists() and (known := dict(load_plan(path, options=()).steps)) != steps:
        raise InputError(explain(f"{path.parent} holds a replay of another plan", got=steps, expected=known,
                                 fix="choose another --out folder, or delete this one"))  # fmt: skip
    Plan(steps, {}, 0.0, minutes).save(path)


def _forms(recipe: Recipe, bank: PassageBank, out: Path, budget: Budget, stages: Stages) -> dict[str, Any]:
    """Run the forms; (c) first, since (b) is measured against it."""
    titled = {form: _titled(recipe, form) for form in FOLDERS}
    clean = run_clean(titled["c"], bank, out / FOLDERS["c"], stages=stages)
    honest = _clean_job(titled["c"], bank, out / FOLDERS["c"])
    clean["conflict"] = measure_conflict(honest, budget.effort, stages=stages)
    leaked = run_leaked(titled["b"], bank, out / FOLDERS["b"], honest=honest, stages=stages)
    what = prepare(honest, out / FOLDERS["a"], titled["a"], keys_per_document=budget.keys_per_document)
    done = run_as_done(what, titled["a"], steps=budget.steps, stages=stages)
    forms = {"a": done, "b": leaked, "c": clean}
    return {form: {"folder": FOLDERS[form], "title": TITLES[form], **found} for form, found in forms.items()}


def _titled(recipe: Recipe, form: str) -> Recipe:
    return recipe.model_copy(update={"title": f"Phase 1 replayed ({form}): {TITLES[form]}"})


def _clean_job(recipe: Recipe, bank: PassageBank, out: Path) -> Job:
    return make_job(recipe, bank, options_of(REPORTED + FIXED), out)


def unexpected(forms: dict[str, Any]) -> list[str]:
    """Return what came out otherwise than it must, as sentences."""
    missing = [
        f"({form}) was not blocked by {code}." for form, codes in BLOCKS.items() for code in codes
        if code not in forms[form]["blocked"]
    ]  # fmt: skip
    unnamed = [
        f"({form}) does not name the cause {name}." for form, names in CAUSES.items() for name in names
        if name not in forms[form]["causes"]
    ]  # fmt: skip
    wrong = [f"(c) is blocked by {', '.join(forms['c']['blocked'])}."] if forms["c"]["blocked"] else []
    return [*missing, *unnamed, *wrong, *_wrong_numbers(forms)]


def _wrong_numbers(forms: dict[str, Any]) -> list[str]:
    chance = forms["a"]["chance"][CUTOFF]
    above = [
        f"(a) {name}'s {CUTOFF} is {row['metrics'][CUTOFF]['value']:.2%}, above chance ({chance:.2%})."
        for name, row in forms["a"]["rows"].items()
        if name != AMN and row["metrics"][CUTOFF]["value"] > chance and (row["metrics"][CUTOFF]["low"] or 0) > chance
    ]
    lost = [
        f"(a) {name} finds no more than chance even where the answers are indexed."
        for name, row in forms["a"]["rows"].items()
        if "fixed" in row and row["fixed"][CUTOFF]["value"] <= chance
    ]
    honest = [
        f"(b) {name} gains nothing by the leak."
        for name, row in forms["b"]["rows"].items()
        if row["leaked"]["value"] <= row["honest"]["value"]
    ]
    return above + lost + honest
