"""SG210: where is the truth in the ranking, and what is ranked before it?

An *impostor* is the best-ranked passage that is not the target or a copy of it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from segue.checks.case import Case, pair_cosines
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import evaluation_of, percent, recall, share_interval, shown_evaluations
from segue.evaluation.metrics import HISTOGRAM, rank_histogram
from segue.evaluation.result import Evaluation
from segue.types import Bank, Interval

KINDS = ("read already", "same document later", "same document earlier", "near-duplicate", "other document")
NEAR_DUPLICATE_COSINE = 0.995
"""Cosine with the target from which an impostor is a near-duplicate of it."""
ALLOWED_SHARE = 0.10
"""Share of lost windows with a passage already read (issue) or a near-duplicate (tip) in first place."""
COUNTED = 256
"""Windows whose near-duplicates are counted in the whole bank, for chance."""


def examine(case: Case) -> Verdict:
    """Sort the windows by the rank of the truth, and the impostors by their kind."""
    ours = evaluation_of(case, case.subject)
    if ours is None:
        return not_applicable("no trained entry was evaluated")
    rows = {name: _entry_details(case, evaluation) for name, evaluation in shown_evaluations(case).items()}
    found, lost = _lost(case, ours)
    shares = {kind: share_interval(case, (found == place).astype(np.float64), ours.groups[lost])
              for place, kind in enumerate(KINDS) if len(lost)}  # fmt: skip
    chance = _chance(case, ours)
    details = {"rows": rows, "chance": chance, "cosine_of_near_duplicates": NEAR_DUPLICATE_COSINE}
    said = f"The truth of {ours.name} has median rank {np.median(ours.ranks):g} of {ours.pool_size:,}"
    kinds = [f"{kind} {percent(share.value)} (of all candidates {percent(chance[kind])})"
             for kind, share in sorted(shares.items(), key=lambda item: -item[1].value) if share.value > 0]  # fmt: skip
    said += f". Where it is not first, the first is: {', '.join(kinds)}." if kinds else "; it is first in every window."
    read, near = (shares.get(kind, Interval(0.0)) for kind in ("read already", "near-duplicate"))
    if read.low is not None and read.low > ALLOWED_SHARE:
        said += f" Passages that were read are among the candidates (exclusion: {ours.exclude})"
        other = ours.ranks_by_pool.get("prefix")
        without = None if other is None else percent(float((other <= 5).mean()))
        said += f": R@5 is {percent(recall(ours))}, and {without} without all that was read." if without else "."
        return Verdict("issue", said, read.value, ALLOWED_SHARE, details)
    if near.low is not None and near.low > ALLOWED_SHARE:
        text = f"{said} Near-duplicates count as wrong answers, so the score is too low."
        return Verdict("tip", text, near.value, ALLOWED_SHARE, details)
    return Verdict("passed", said, read.value, ALLOWED_SHARE, details)


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
    """Return the place in ``KINDS`` of each row, relative to its window's target."""
    bank, texts, groups = case.bank, case.bank.duplicate_group, case.document_groups[case.bank.document_of]
    before = targets[:, None] - np.arange(1, _context(case) + 1)  # what was read, see ``windows/windows.py``
    inside = before >= bank.first_row[bank.document_of[targets]][:, None]
    read = (inside & (texts[np.maximum(before, 0)] == texts[rows][:, None])).any(axis=1)
    same = bank.document_of[rows] == bank.document_of[targets]
    near = pair_cosines(bank.gather(targets), bank.gather(rows)) >= NEAR_DUPLICATE_COSINE
    conditions = [read, same & (rows > targets), same, near | (groups[targets] == groups[rows])]
    return np.select(conditions, [0, 1, 2, 3], default=4).astype(np.int64)


def _context(case: Case) -> int:
    return case.context if case.context is not None else int(case.folds[0].test.context.shape[1])


def _lost(case: Case, evaluation: Evaluation) -> tuple[Int[np.ndarray, "lost"], Int[np.ndarray, "lost"]]:
    """Return the kind of the impostor of each window whose truth is not first, and which windows these are."""
    rows = impostors(case.bank, evaluation)
    lost = np.flatnonzero((evaluation.ranks > 1) & (rows >= 0))
    return kinds_of(case, evaluation.targets[lost], rows[lost]), lost


def _entry_details(case: Case, evaluation: Evaluation) -> dict[str, object]:
    kinds, _ = _lost(case, evaluation)
    counts = np.bincount(kinds, minlength=len(KINDS))
    last = max(evaluation.pool_size, max(HISTOGRAM.values()) + 1)
    edges = [1, *(edge + 1 for edge in HISTOGRAM.values()), last + 1]  # first rank of each bin
    return {
        "histogram": {"edges": edges, "share": list((rank_histogram(evaluation.ranks) or {}).values())},
        "impostors": dict(zip(KINDS, (counts / max(1, len(kinds))).tolist(), strict=True)),
        "median_rank": float(np.median(evaluation.ranks)),
        "lost": len(kinds),
    }


def _chance(case: Case, evaluation: Evaluation) -> dict[str, float]:
    """Return the share of each kind among the candidates, as the mean over windows."""
    bank, targets = case.bank, evaluation.targets
    first = bank.first_row[bank.document_of[targets]].astype(np.int64)
    last = first + bank.num_rows[bank.document_of[targets]]
    read = np.minimum(_context(case), targets - first)
    earlier = (targets - first - read) * (evaluation.exclude != "prefix")
    left_in = read * (evaluation.exclude == "none")
    near = _near_in_bank(case, targets[np.linspace(0, len(targets) - 1, min(COUNTED, len(targets))).astype(np.int64)])
    counts = [left_in.mean(), (last - targets - 1).mean(), earlier.mean(), near]
    shares = [float(count) / evaluation.pool_size for count in counts]
    return dict(zip(KINDS, [*shares, 1.0 - sum(shares)], strict=True))


def _near_in_bank(case: Case, targets: Int[np.ndarray, "some"]) -> float:
    """Count the passages of other documents that are near-duplicates of a target, as the mean over targets."""
    wanted, bank = case.bank.gather(targets), case.bank
    document, groups = bank.document_of, case.document_groups[bank.document_of]  # of each row
    total = 0
    for start, block in bank.blocks(8192):
        rows = np.arange(start, start + len(block))[:, None]
        near = (block @ wanted.T >= NEAR_DUPLICATE_COSINE) | (groups[rows] == groups[targets])
        total += int((near & (document[rows] != document[targets]) & bank.alive[rows]).sum())
    return total / max(1, len(targets))


CHECK = Check(
    code="SG210",
    title="Where the truth is",
    question="Where is the truth in the ranking, and what is ranked before it?",
    detection="From the stored rankings of all test windows: the distribution of the truth's rank, and what the "
    "impostor is where the truth is not first: a passage read already (or its copy), a later or an earlier one of the "
    f"same document, a near-duplicate (cosine with the target ≥ {NEAR_DUPLICATE_COSINE:g}, or of a near-duplicate "
    "document), or of another document; compared with the share of each kind among the candidates. Issue: the lower "
    f"limit of the share read already is above {ALLOWED_SHARE:.0%}; tip: that of near-duplicates is (intervals over "
    "groups of documents).",
    why="If a passage that was just read is ranked before the truth, it has to be excluded. If a near-duplicate is, "
    "near-duplicates have to be judged as one. If another document is, the model has to improve. Recall alone cannot "
    "distinguish these cases.",
    healthy="no passage that was read, and hardly any near-duplicate, before the truth",
    fix="exclude what was read with its duplicates, judge near-duplicates as one, and read the remaining impostors",
    unit="share of lost windows",
    examine=examine,
    needs=("evaluations",),
)
