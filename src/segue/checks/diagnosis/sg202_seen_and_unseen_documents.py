"""SG202: how much is lost from documents that were trained on to unseen ones?"""

from __future__ import annotations

import dataclasses
from math import sqrt
from typing import get_args

import numpy as np
from jaxtyping import Float

from segue.checks.case import Case, CaseEntry, Part
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import COPY_LAST, interval_json, percent, points
from segue.evaluation.intervals import paired
from segue.evaluation.metrics import summarise
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last
from segue.types import Interval

PARTS: tuple[Part, ...] = get_args(Part)
UNSEEN: tuple[Part, ...] = ("validation", "test")
NAMES = {"train": "seen", "validation": "validation", "test": "test"}
KEPT = 0.5
"""Share of its lead over copy-last that a model has to keep on unseen documents."""
CUTOFF = 5


def examine(case: Case) -> Verdict:
    """Ask the subject and copy-last about training, validation and test windows of the first fold, in one pool."""
    row = next((row for row in case.subject_entries if row.trained is not None), None)
    if row is None:
        return not_applicable("no row was trained")
    control = _copy_last(case, row)
    recall = {who.name: {part: _recall(case, who, part) for part in PARTS} for who in (row, control)}
    leads = {part: _lead(case, row, control, part) for part in PARTS}
    gaps = {part: difference(leads["train"], leads[part]) for part in UNSEEN}
    details = {
        "rows": {shown.name: _drops(case, shown) for shown in case.shown},
        "one_pool": recall,
        "lead": {NAMES[part]: interval_json(lead) for part, lead in leads.items()},
        "gap": {part: interval_json(gap) for part, gap in gaps.items()},
        "fold": row.fold,
    }
    said, kept = _said(recall, gaps), _kept(leads)
    if all(_most_is_lost(leads, part) for part in UNSEEN):
        left = percent(max(0.0, kept or 0.0))
        text = f"{said} Of its lead over copy-last {left} is left on test: it knows sequences by heart."
        return Verdict("issue", text, kept, KEPT, details)
    if all((gap.low or 0) > 0 for gap in gaps.values()):
        return Verdict("tip", f"{said} Part of its lead does not carry over to unseen documents.", kept, KEPT, details)
    return Verdict("passed", said, kept, KEPT, details)


def _copy_last(case: Case, row: CaseEntry) -> CaseEntry:
    """Return the fold's copy-last, which has no weights: what it loses, the documents are to blame for."""
    found = [other for other in case.entries_named(COPY_LAST) if other.fold == row.fold]
    if found:
        return found[0]
    retriever = VectorRetriever(COPY_LAST, "candidate", copy_last, case.pool)
    return CaseEntry(COPY_LAST, "candidate", row.fold, "baseline", lambda: retriever)


def _hits(case: Case, row: CaseEntry, part: Part) -> Float[np.ndarray, "window"]:
    return (case.ranks(row, part) <= CUTOFF).astype(np.float64)


def _recall(case: Case, row: CaseEntry, part: Part) -> float:
    return float(_hits(case, row, part).mean())


def _lead(case: Case, row: CaseEntry, control: CaseEntry, part: Part) -> Interval:
    """Return R@5 less that of copy-last on the same windows, with its interval over groups of documents."""
    groups = case.groups_of(case.sample(case.fold_of(row), part))
    ours, theirs = (_hits(case, who, part) for who in (row, control))
    return paired(ours, theirs, groups, resamples=case.effort.resamples, seed=case.seed).difference


def difference(a: Interval, b: Interval, *, weight: float = 1.0) -> Interval:
    """Return weight · a − b of two independent estimates, with its interval (MOVER: Zou and Donner, 2008).

    The lower end is the value − √((a − a.low)² + (b.high − b)²), the upper one likewise.

    >>> found = difference(Interval(0.9, 0.6, 1.0), Interval(0.3, 0.2, 0.7))
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.6, 0.1, 0.741)
    """
    value = weight * a.value - b.value
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Interval(value)
    down = sqrt((weight * (a.value - a.low)) ** 2 + (b.high - b.value) ** 2)
    up = sqrt((weight * (a.high - a.value)) ** 2 + (b.value - b.low) ** 2)
    return Interval(value, value - down, value + up)


def _most_is_lost(leads: dict[Part, Interval], part: Part) -> bool:
    """Tell whether clearly less than ``KEPT`` of a clear lead on seen documents is left."""
    low = difference(leads["train"], leads[part], weight=KEPT).low
    return low is not None and low > 0 and (leads["train"].low or 0) > 0


def _kept(leads: dict[Part, Interval]) -> float | None:
    """Return the share of the seen lead that test documents keep; None where there is no lead to keep."""
    return leads["test"].value / leads["train"].value if leads["train"].value > 0 else None


def _said(recall: dict[str, dict[Part, float]], gaps: dict[Part, Interval]) -> str:
    parts = ("train", *UNSEEN)
    (name, ours), (other, theirs) = recall.items()
    a, b = (", ".join(percent(values[part]) for part in parts) for values in (ours, theirs))
    return (f"R@5 on documents trained on, of validation and of test, in one pool: {name} {a}; {other} {b}. The lead "
            f"shrinks from seen to test documents by {points(gaps['test'])}.")  # fmt: skip


def _drops(case: Case, row: CaseEntry) -> dict[str, dict[str, float | None]]:
    """Return a line of the drop table: cosine, R@5 and MRR on seen, validation and test windows."""
    columns = {"seen": _measure(case, row), "validation": row.validation or {}, "test": _of_test(row)}
    return {
        metric: {part: _number(values.get(metric)) for part, values in columns.items()}
        for metric in ("cosine", "R@5", "MRR")
    }


def _measure(case: Case, row: CaseEntry) -> dict[str, float | None]:
    """Score a row on a sample of the windows it was trained on."""
    windows = case.sample(case.fold_of(row), "train")
    queries = case.queries(row, "train")
    cosine = None if queries is None else float(np.einsum("bd,bd->b", queries, case.truth(case.bank, windows)).mean())
    return {**summarise(case.ranks(row, "train")), "cosine": cosine}


def _of_test(row: CaseEntry) -> dict[str, float | None]:
    if row.evaluation is None:
        return {}
    return {name: dataclasses.asdict(interval)["value"] for name, interval in row.evaluation.metrics.items()}


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


CHECK = Check(
    code="SG202",
    title="Seen and unseen documents",
    question="How much is lost from documents that were trained on to unseen ones: does it memorise sequences?",
    detection="The subject and copy-last are asked about a sample of training, validation and test windows of the "
    "first fold, in one pool. The lead in R@5 over copy-last, paired, takes out that documents differ; each lead has "
    "its interval over groups of documents, their difference the interval of Zou and Donner (2008). Issue: on "
    f"validation and on test documents clearly less than {KEPT:.0%} of the seen lead is left. Tip: the lead is clearly "
    "smaller on both. A loss on test documents alone is no memory: look at the integrity checks.",
    why="A model that knows its training sequences by heart looks strong wherever training documents are asked about "
    "(91.5 % of them, in the report this project grew from) and fails on the first new article.",
    healthy="most of the lead over copy-last is left on unseen documents",
    fix="train shorter or smaller, with dropout, select on validation documents, and add training documents",
    unit="share of the seen lead left on test documents",
    examine=examine,
    needs=("windows", "trained"),
)
