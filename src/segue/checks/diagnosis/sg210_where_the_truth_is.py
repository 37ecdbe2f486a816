"""SG210: where is the truth in the ranking, and who stands before it?"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import evaluation_of, percent, shown_evaluations
from segue.evaluation.intervals import bootstrap
from segue.evaluation.metrics import HISTOGRAM, rank_histogram
from segue.evaluation.result import Evaluation
from segue.types import Bank, Interval

KINDS = ("read already", "same document later", "same document earlier", "near-duplicate", "other document")
SAME = 0.995
"""Cosine with the target from which an impostor is a near-duplicate of it."""
TOO_MANY = 0.10
"""Share of lost windows from which passages already read (issue) or near-duplicates (tip) in first place matter."""
COUNTED = 256
"""Windows whose near-duplicates are counted in the whole bank, for chance."""


def examine(case: Case) -> Verdict:
    """Sort the windows by where the truth stands, and the best impostors by what they are."""
    ours = evaluation_of(case, case.subject)
    if ours is None:
        return not_applicable("no trained row was evaluated")
    shown = shown_evaluations(case)
    rows = {name: _entry(case, name, evaluation) for name, evaluation in shown.items()}
    chance = _chance(case, ours)
    details = {"rows": rows, "chance": chance, "cosine_of_near_duplicates": SAME}
    shares = _intervals(case, ours)
    said = _said(ours, shares, chance)
    read, near = (shares[kind] if shares else Interval(0.0) for kind in ("read already", "near-duplicate"))
    if read.low is not None and read.low > TOO_MANY:
        return Verdict("issue", said + _said_of_exclusion(ours), read.value, TOO_MANY, details)
    if near.low is not None and near.low > TOO_MANY:
        text = f"{said} Near-duplicates count as wrong answers, so the score is too low."
        return Verdict("tip", text, near.value, TOO_MANY, details)
    return Verdict("passed", said, read.value, TOO_MANY, details)


def impostors(bank: Bank, evaluation: Evaluation) -> Int[np.ndarray, "window"]:
    """Return the best-ranked row of each window that is not the target or a copy of it; -1 where there is none."""
    rankings = evaluation.rankings
    own = bank.duplicate_group[np.maximum(rankings, 0)] == bank.duplicate_group[evaluation.targets][:, None]
    other = (rankings >= 0) & ~own
    first = other.argmax(axis=1)
    return np.where(other.any(axis=1), rankings[np.arange(len(rankings)), first], -1).astype(np.int64)


def kinds_of(
    case: Case, targets: Int[np.ndarray, "window"], rows: Int[np.ndarray, "window"]
) -> Int[np.ndarray, "window"]:
    """Return the place in ``KINDS`` of each row, seen from its window's target."""
    bank = case.bank
    same = bank.document_of[rows] == bank.document_of[targets]
    conditions = [_is_read(case, targets, rows), same & (rows > targets), same, _is_near(case, targets, rows)]
    return np.select(conditions, [0, 1, 2, 3], default=4).astype(np.int64)


def _is_read(case: Case, targets: Int[np.ndarray, "window"], rows: Int[np.ndarray, "window"]) -> Bool[np.ndarray, "w"]:
    """Tell which rows are, or repeat the text of, one of the passages read (``data/windows.py`` explains which)."""
    before = targets[:, None] - np.arange(1, _context(case) + 1)
    inside = before >= case.bank.first_row[case.bank.document_of[targets]][:, None]
    groups = case.bank.duplicate_group
    return (inside & (groups[np.maximum(before, 0)] == groups[rows][:, None])).any(axis=1)


def _context(case: Case) -> int:
    return case.context if case.context is not None else int(case.folds[0].test.context.shape[1])


def _is_near(case: Case, targets: Int[np.ndarray, "window"], rows: Int[np.ndarray, "window"]) -> Bool[np.ndarray, "w"]:
    """Tell which rows have almost the target's vector, or are of a near-duplicate of its document."""
    near = np.einsum("bd,bd->b", case.bank.gather(targets), case.bank.gather(rows)) >= SAME
    if case.groups is None:
        return near
    document = case.bank.document_of
    return near | (case.groups[document[targets]] == case.groups[document[rows]])


def _classes(case: Case, evaluation: Evaluation) -> tuple[Int[np.ndarray, "lost"], Int[np.ndarray, "lost"]]:
    """Return the kind of the impostor of each window whose truth is not first, and which windows these are."""
    rows = impostors(case.bank, evaluation)
    lost = np.flatnonzero((evaluation.ranks > 1) & (rows >= 0))
    return kinds_of(case, evaluation.targets[lost], rows[lost]), lost


def _intervals(case: Case, evaluation: Evaluation) -> dict[str, Interval]:
    """Return the share of each kind among the impostors, over groups of documents; empty where nothing was lost."""
    kinds, lost = _classes(case, evaluation)
    if not len(lost):
        return {}
    # Shares have limits 0 and 1, which the bootstrap knows by the name of a recall.
    flags = {kind: {"R@1": (kinds == place).astype(np.float64)} for place, kind in enumerate(KINDS)}
    groups = evaluation.groups[lost]
    return {
        kind: bootstrap(flag, groups, resamples=case.effort.resamples, seed=case.seed)["R@1"]
        for kind, flag in flags.items()
    }


def _entry(case: Case, name: str, evaluation: Evaluation) -> dict[str, Any]:
    kinds, _ = _classes(case, evaluation)
    counts = np.bincount(kinds, minlength=len(KINDS))
    shares = rank_histogram(evaluation.ranks) or {}
    return {
        "histogram": {"edges": _edges(evaluation.pool_size), "share": list(shares.values())},
        "impostors": dict(zip(KINDS, (counts / max(1, len(kinds))).tolist(), strict=True)),
        "median_rank": float(np.median(evaluation.ranks)),
        "margin": _margin(case, case.entries_named(name)[0]),
        "lost": len(kinds),
    }


def _edges(pool_size: int) -> list[int]:
    """Return the first rank of each bin of the histogram, and the one after the last."""
    return [1, *(edge + 1 for edge in HISTOGRAM.values()), max(pool_size, max(HISTOGRAM.values()) + 1) + 1]


def _margin(case: Case, row: CaseEntry) -> float | None:
    """Return the mean score of the truth less that of the best impostor, on a sample of test windows of its fold."""
    queries = case.queries(row)
    if queries is None or row.evaluation is None:
        return None
    targets = case.sample(case.fold_of(row)).target
    place = {int(target): number for number, target in enumerate(row.evaluation.targets)}
    known = np.array([place.get(int(target), -1) for target in targets], dtype=np.int64)
    rows = np.where(known >= 0, impostors(case.bank, row.evaluation)[np.maximum(known, 0)], -1)
    kept = rows >= 0
    if not kept.any():
        return None
    apart = case.bank.gather(targets[kept]) - case.bank.gather(rows[kept])
    return float(np.einsum("bd,bd->b", queries[kept], apart).mean())


def _chance(case: Case, evaluation: Evaluation) -> dict[str, float]:
    """Return the share of each kind among the candidates, as the mean over windows."""
    bank, targets = case.bank, evaluation.targets
    first = bank.first_row[bank.document_of[targets]].astype(np.int64)
    last = first + bank.num_rows[bank.document_of[targets]]
    read = np.minimum(_context(case), targets - first)
    earlier = targets - first - read if evaluation.exclude != "prefix" else np.zeros_like(targets)
    left_in = read if evaluation.exclude == "none" else np.zeros_like(read)
    near = _near_in_bank(case, targets[np.linspace(0, len(targets) - 1, min(COUNTED, len(targets))).astype(np.int64)])
    counts = [left_in.mean(), (last - targets - 1).mean(), earlier.mean(), near]
    shares = [float(count) / evaluation.pool_size for count in counts]
    return dict(zip(KINDS, [*shares, 1.0 - sum(shares)], strict=True))


def _near_in_bank(case: Case, targets: Int[np.ndarray, "some"]) -> float:
    """Count the passages of other documents that are near-duplicates of a target, as the mean over targets."""
    wanted, bank = case.bank.gather(targets), case.bank
    document = bank.document_of[targets].astype(np.int64)
    groups = np.arange(len(bank.first_row)) if case.groups is None else case.groups
    total = 0
    for start, block in bank.blocks(8192):
        rows = np.arange(start, start + len(block))
        other = bank.document_of[rows][:, None] != document
        near = (block @ wanted.T >= SAME) | (groups[bank.document_of[rows]][:, None] == groups[document])
        total += int((near & other & bank.alive[rows][:, None]).sum())
    return total / max(1, len(targets))


def _said(ours: Evaluation, shares: dict[str, Interval], chance: dict[str, float]) -> str:
    median = f"The truth of {ours.name} has median rank {np.median(ours.ranks):g} of {ours.pool_size:,}"
    if not shares:
        return f"{median}; it is first in every window."
    order = sorted(shares, key=lambda kind: -shares[kind].value)
    parts = [f"{kind} {percent(shares[kind].value)} (of all candidates {percent(chance[kind])})"
             for kind in order if shares[kind].value > 0]  # fmt: skip
    return f"{median}. Where it is not first, the first is: {', '.join(parts)}."


def _said_of_exclusion(ours: Evaluation) -> str:
    said = f" Passages that were read stand among the candidates (exclusion: {ours.exclude})"
    other = ours.ranks_by_pool.get("prefix")
    if other is None:
        return f"{said}."
    return (f"{said}: R@5 is {percent(float((ours.ranks <= 5).mean()))}, and {percent(float((other <= 5).mean()))} "
            "without all that was read.")  # fmt: skip


CHECK = Check(
    code="SG210",
    title="Where the truth is",
    question="Where does the truth stand in the ranking, and who stands before it?",
    detection="From the stored rankings of all test windows: the distribution of the truth's rank, its score less that "
    "of the best impostor, and what the impostor is where the truth is not first: a passage read already (or its "
    "copy), a later or an earlier one of the same document, a near-duplicate (cosine with the target "
    f"≥ {SAME:g}, or of a near-duplicate document), or of another document; beside the share of each kind among the "
    f"candidates. Issue: the lower limit of the share read already is above {TOO_MANY:.0%}; tip: that of "
    "near-duplicates is (intervals over groups of documents).",
    why="A truth in second place behind a passage that was just read needs an exclusion, one behind a near-duplicate a "
    "better judgement, one behind another document a better model. Recall alone cannot tell them apart: in the work "
    "this project grew from, context passages left among the candidates held R@1 at 1 % beside an R@5 of 50 %.",
    healthy="no passage read already, and hardly any near-duplicate before the truth",
    fix="exclude what was read with its duplicates, judge near-duplicates as one, and look at the remaining impostors",
    unit="share of lost windows",
    examine=examine,
    needs=("evaluations",),
)
