"""SG209: does the prediction copy what was just read?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.checks.case import Case, CaseEntry, pair_cosines
from segue.checks.check import Check, Judgement, Verdict, not_applicable
from segue.checks.statistics import COPY_LAST, percent
from segue.evaluation.intervals import elsewhere, lower_limit
from segue.evaluation.metrics import mean as mean_if_any
from segue.retrieval.retrievers.baselines import copy_last, mean
from segue.types import Windows

OFFSETS = tuple(range(-4, 5))
"""Offsets from the last passage read: 0 is that passage, 1 the target."""
COPY_COSINE = 0.95
"""Cosine with a copy of the context from which the prediction is that copy."""
COPIES = {"last passage": "copy-last's answer", "mean": "the mean of the context"}
TIP_SHARE = 0.5
"""Share of windows whose nearest passage is the last one read, from which it is a tip."""


@dataclass(frozen=True)
class WithLimit:
    """A mean over windows and its lower limit; None with too few documents."""

    value: float
    low: float | None


@dataclass(frozen=True)
class Copying:
    """Places of an entry's predictions among the passages around them.

    Attributes:
        offsets: offsets of the passages around the last one read.
        nearest, cosine: share of windows in which each of them is the nearest; mean cosine with each, None without any.
        random: mean cosine with a random passage of the same document, and of another one.
        copies: mean cosine with what copying would answer.
    """

    offsets: tuple[int, ...]
    nearest: list[float]
    cosine: list[float | None]
    copying_ratio: float | None
    random: dict[str, float | None]
    copies: dict[str, WithLimit]
    nearest_is_last: WithLimit

    @property
    def copied(self) -> str:
        """The copy that predictions are nearest to."""
        return max(self.copies, key=lambda name: self.copies[name].value)


def examine(case: Case) -> Verdict:
    """Find the nearest offset of each prediction, on the subject and other entries."""
    own = [found for entry in case.subject_entries if (found := _copying(case, entry)) is not None]
    if not own:
        return not_applicable("the subject has no query vectors")
    worst = max(own, key=lambda found: found.copies[found.copied].value)
    rows = {entry.name: found for entry in case.shown if (found := _copying(case, entry)) is not None}
    outcome: Judgement = "passed"
    if (worst.nearest_is_last.low or 0.0) >= TIP_SHARE:
        outcome = "tip"
    if any((copy.low or 0.0) >= COPY_COSINE for copy in worst.copies.values()):
        outcome = "issue"
    details = {"rows": rows, "copied": worst.copied}
    return Verdict(outcome, _statement(worst, rows), worst.copies[worst.copied].value, COPY_COSINE, details)


def _statement(found: Copying, rows: Mapping[str, Copying]) -> str:
    last, target = OFFSETS.index(0), OFFSETS.index(1)
    said = ("Of the passages around it the prediction is nearest to the last one read in "
            f"{percent(found.nearest[last])} of windows, to an earlier one in {percent(sum(found.nearest[:last]))}, to "
            f"the target in {percent(found.nearest[target])}. Its mean cosine is {_number(found.cosine[last])} with "
            f"the last one read and {_number(found.cosine[target])} with the target, compared with "
            f"{_number(found.random['same document'])} with a random passage of the document and "
            f"{_number(found.random['other document'])} of another; with {COPIES[found.copied]} it is "
            f"{found.copies[found.copied].value:.3f}.")  # fmt: skip
    if found.copying_ratio is not None:
        other = rows[COPY_LAST].copying_ratio if COPY_LAST in rows else None
        said += f" Copying ratio {found.copying_ratio:.2f}" + (f", copy-last's {other:.2f}." if other else ".")
    return said


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _copying(case: Case, entry: CaseEntry) -> Copying | None:
    """Measure one entry; None for an entry without query vectors, or without windows."""
    windows = case.sample(case.fold_of(entry))
    queries = case.queries(entry) if len(windows) else None
    if queries is None:
        return None
    rows, present = around(case, windows)
    columns = [pair_cosines(queries, case.bank.gather(np.maximum(column, 0))) for column in rows.T]  # limits memory
    cosines = np.where(present, np.stack(columns, axis=1).astype(np.float64), np.nan)
    nearest = np.where(present, cosines, -np.inf).argmax(axis=1)
    contexts, groups = case.read(windows), case.groups_of(windows)
    copies = {"last passage": copy_last(contexts), "mean": mean(contexts)}
    ratio = entry.evaluation.metrics.get("copying ratio") if entry.evaluation is not None else None

    def with_limit(values: Float[np.ndarray, "window"]) -> WithLimit:
        return WithLimit(float(values.mean()), lower_limit(values, groups, resamples=case.effort.resamples))

    return Copying(
        OFFSETS,
        (np.bincount(nearest, minlength=len(OFFSETS)) / len(nearest)).tolist(),
        [mean_if_any(column) for column in cosines.T],
        None if ratio is None or not np.isfinite(ratio.value) else float(ratio.value),
        _at_random(case, windows, queries),
        {name: with_limit(pair_cosines(queries, vectors).astype(np.float64)) for name, vectors in copies.items()},
        with_limit((nearest == OFFSETS.index(0)).astype(np.float64)),
    )  # fmt: skip


def around(case: Case, windows: Windows) -> tuple[Int[np.ndarray, "window offset"], Bool[np.ndarray, "window offset"]]:
    """Return the rows around each last passage read, and which of them are live passages of its document."""
    last = windows.context[:, -1]
    rows = last[:, None] + np.array(OFFSETS)
    inside = (rows >= 0) & (rows < len(case.bank))
    held = np.where(inside, rows, 0)
    document = case.bank.document_of
    present = inside & (document[held] == document[last][:, None]) & case.bank.alive[held]
    return np.where(present, rows, -1), present


def _at_random(case: Case, windows: Windows, queries: Float[np.ndarray, "window dim"]) -> dict[str, float | None]:
    """Return the mean cosine with a random passage of the document, not one of those around, and of another one."""
    generator = case.generator("SG209 random")
    document = case.documents(windows)
    drawn = case.bank.first_row[document] + generator.integers(0, case.bank.num_rows[document])
    far = (abs(drawn - windows.context[:, -1]) > max(OFFSETS)) & case.bank.alive[drawn]
    groups = case.groups_of(windows)
    other = elsewhere(groups, generator)
    apart = groups[other] != groups
    return {
        "same document": mean_if_any(pair_cosines(queries[far], case.bank.gather(drawn[far]))),
        "other document": mean_if_any(pair_cosines(queries[apart], case.bank.gather(windows.target[other[apart]]))),
    }


CHECK = Check(
    code="SG209",
    title="Copying",
    question="Does the prediction copy what was just read?",
    detection="Offsets are counted from the last passage read: 0 is that passage, 1 the target. Each prediction is "
    f"compared with the passages at offsets {OFFSETS[0]} to {OFFSETS[-1]} of its document: which is nearest, and the "
    "mean cosine of each. An issue where the mean cosine with the last passage, or with the mean of the context, is "
    f"{COPY_COSINE:g} or more (lower limit, bootstrap over groups of documents); a tip where the last passage is "
    f"nearest in {TIP_SHARE:.0%} of windows or more. For comparison: random passages, and the copying ratio of Large "
    "Concept Models (Barrault et al., 2024).",
    why="The last passage is a good guess, and a model that learnt nothing else reaches the same score at a higher "
    "cost. If it is evaluated with the context left among the candidates, it even looks broken.",
    healthy="nearer to the target than copying is, and not a copy of the context",
    fix="train longer, with a contrastive loss and the context among the negatives; or serve copy-last",
    unit="cosine",
    examine=examine,
    needs=("windows", "entries"),
)
