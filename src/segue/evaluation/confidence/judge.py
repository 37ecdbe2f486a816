"""Evaluation of a confidence: share answered against share right, and calibration.

Input: for each query a confidence, whether the answer was right, a weight, and its group of documents. Output: plain
numbers with 95 % intervals over groups. Pure functions of these arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.evaluation.intervals import MINIMUM_GROUPS, TAIL, group_draws, group_sums, ratio_intervals
from segue.types import Interval

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(20))
"""Thresholds of the confidence, fixed in advance."""

BINS = 10
"""Bins of equal weight in which the calibration error compares confidence and truth."""


@dataclass(frozen=True)
class Answers:
    """Answers with their confidences.

    Attributes:
        confidence: probability that the answer is right, 0 to 1.
        right: whether it is.
        weights: weight of each query, above 0.
        groups: group of near-duplicate documents of each query, the unit of resampling.
    """

    confidence: Float[np.ndarray, "query"]
    right: Bool[np.ndarray, "query"]
    weights: Float[np.ndarray, "query"]
    groups: Int[np.ndarray, "query"]

    def __len__(self) -> int:
        return len(self.confidence)

    def take(self, which: Bool[np.ndarray, "query"]) -> Answers:
        """Return some of the answers."""
        return Answers(self.confidence[which], self.right[which], self.weights[which], self.groups[which])


Column = tuple[Float[np.ndarray, "query"], Float[np.ndarray, "query"]]
"""Terms of each query in the numerator and the denominator of a ratio."""
Columns = dict[Any, Column | None]
"""Ratios by name; None where there is none."""


def judge_confidence(answers: Answers, *, resamples: int = 10_000, seed: int = 1) -> Mapping[str, Any]:
    """Judge probabilities that an answer is right.

    Args:
        answers: at least one.
        resamples: draws of groups.
        seed: seed of the draws.

    Returns:
        ``right`` (share of right answers if all are given), ``brier`` (mean squared error; ``brier_constant`` is that
        of always saying the share right), ``auroc`` (None where all answers are right, or none is),
        ``calibration_error``, ``curve`` (for each threshold the share ``answered`` and the share ``right`` of those,
        None where none is) and ``reliability`` (for each bin the mean ``confidence`` and the share ``right``).
    """
    bins = equal_bins(answers.confidence, answers.weights)
    columns: Columns = {
        "right": _mean_of(answers, answers.right),
        "brier": _mean_of(answers, (answers.confidence - answers.right) ** 2),
        "auroc": auroc_column(answers),
    }
    columns |= {("answered", t): _mean_of(answers, answers.confidence >= t) for t in THRESHOLDS}
    columns |= {("right", t): _mean_of(answers, answers.right, among=answers.confidence >= t) for t in THRESHOLDS}
    columns |= {("bin", b): _mean_of(answers, answers.right, among=bins == b) for b in range(BINS)}
    found = intervals_of(columns, answers.groups, resamples=resamples, seed=seed)
    share = found["right"].value if found["right"] else 0.0
    return {
        **{name: to_json(found[name]) for name in ("right", "brier", "auroc")},
        "brier_constant": share * (1 - share),
        "calibration_error": to_json(calibration_error(answers, bins, resamples=resamples, seed=seed)),
        "curve": [
            {"threshold": t, "answered": to_json(found["answered", t]), "right": to_json(found["right", t])}
            for t in THRESHOLDS
        ],
        "reliability": [
            {
                "confidence": float(np.average(answers.confidence[bins == b], weights=answers.weights[bins == b])),
                "right": to_json(found["bin", b]),
            }
            for b in np.unique(bins)
        ],
    }


def shares_answered(answers: Answers, *, resamples: int = 10_000, seed: int = 1) -> list[Mapping[str, Any]]:
    """Return for each threshold the share of queries without an answer that would get one.

    Args:
        answers: to queries that have no right one.
        resamples: draws of groups.
        seed: seed of the draws.
    """
    columns: Columns = {t: _mean_of(answers, answers.confidence >= t) for t in THRESHOLDS}
    found = intervals_of(columns, answers.groups, resamples=resamples, seed=seed)
    return [{"threshold": t, "answered": to_json(found[t])} for t in THRESHOLDS]


def separation(answers: Answers, *, resamples: int = 10_000, seed: int = 1) -> Interval | None:
    """Return the AUROC with its interval: how often a right answer has more confidence than a wrong one.

    None where all answers are right, or none is.
    """
    return intervals_of({"auroc": auroc_column(answers)}, answers.groups, resamples=resamples, seed=seed)["auroc"]


def _mean_of(answers: Answers, values: np.ndarray, *, among: Bool[np.ndarray, "query"] | None = None) -> Column:
    """Return the weighted mean of values as a ratio, perhaps among some queries only."""
    weights = answers.weights if among is None else answers.weights * among
    return weights * values, weights


def intervals_of(
    columns: Columns, groups: Int[np.ndarray, "query"], *, resamples: int, seed: int
) -> dict[Any, Interval | None]:
    """Return each ratio of sums with its interval over groups; None where the denominator is 0.

    All ratios run from 0 to 1 and see the same resamples.
    """
    known = {name: column for name, column in columns.items() if column is not None and column[1].sum() > 0}
    if not known:
        return dict.fromkeys(columns)
    tops, bottoms = (np.stack([column[side] for column in known.values()], axis=1) for side in (0, 1))
    found = ratio_intervals(group_sums(tops, groups), group_sums(bottoms, groups), [(0.0, 1.0)] * len(known),
                            resamples=resamples, seed=seed)  # fmt: skip
    return dict.fromkeys(columns) | dict(zip(known, found, strict=True))


def auroc_column(answers: Answers) -> Column | None:
    """Write the AUROC as a ratio of sums over queries, so that groups can be resampled.

    A right answer's *placement* is the share of wrong ones with less confidence (ties count half), a wrong one's the
    share of right ones with more; both average to the AUROC A. With d = weight · W / (2 · weight of its kind), W the
    weight of all, the queries add up to Σ d · (2 · placement − A) / Σ d = A, and leaving groups out changes this
    ratio as it changes the AUROC to first order (DeLong et al., 1988; for clusters: Obuchowski, 1997).

    >>> top, bottom = auroc_column(Answers(np.array([0.2, 0.4, 0.9]), np.array([False, True, True]), np.ones(3),
    ...                                    np.arange(3)))
    >>> float(top.sum() / bottom.sum())
    1.0
    """
    right, weights = answers.right, answers.weights
    if right.all() or not right.any():
        return None
    placements = np.empty(len(answers))
    placements[right] = _share_below(answers.take(right), answers.take(~right))
    placements[~right] = 1 - _share_below(answers.take(~right), answers.take(right))
    area = float(np.average(placements[right], weights=weights[right]))
    of_kind = np.where(right, weights[right].sum(), weights[~right].sum())
    bottom = weights * weights.sum() / (2 * of_kind)
    return bottom * (2 * placements - area), bottom


def _share_below(ours: Answers, theirs: Answers) -> Float[np.ndarray, "ours"]:
    """Return for each of our confidences the weighted share of theirs below it; equal ones count half."""
    order = np.argsort(theirs.confidence, kind="stable")
    totals = np.concatenate([[0.0], np.cumsum(theirs.weights[order])])
    edges = [np.searchsorted(theirs.confidence[order], ours.confidence, side=side) for side in ("left", "right")]
    return (totals[edges[0]] + totals[edges[1]]) / (2 * totals[-1])


def equal_bins(
    confidence: Float[np.ndarray, "query"], weights: Float[np.ndarray, "query"], count: int = BINS
) -> Int[np.ndarray, "query"]:
    """Number the queries by bins of equal weight in the order of confidence; equal confidences share a bin.

    >>> equal_bins(np.array([0.1, 0.9, 0.4, 0.4]), np.ones(4), 2).tolist()
    [0, 1, 0, 0]
    """
    places = np.unique(confidence, return_inverse=True)[1]
    mass = np.bincount(places, weights)
    below = np.cumsum(mass) - mass
    return np.minimum((below / mass.sum() * count + 1e-9).astype(np.int64), count - 1)[places]


def calibration_error(
    answers: Answers, bins: Int[np.ndarray, "query"], *, resamples: int = 10_000, seed: int = 1
) -> Interval:
    """Return the expected calibration error: the weighted mean over bins of |mean confidence − share right|.

    The mean of absolute values is too large by the noise within the bins, and more so in every resample. So the lower
    end is the reflected one, 2 · estimate − upper quantile of the draws (Davison and Hinkley, 1997, 5.2), and the upper
    end that quantile itself. There are no ends below three groups.

    Args:
        answers: at least one.
        bins: number of each answer's bin.
        resamples: draws of groups.
        seed: seed of the draws.
    """
    gaps = answers.weights * (answers.confidence - answers.right)
    by_bin = (bins[:, None] == np.unique(bins)) * gaps[:, None]  # [query, bin]
    sums = group_sums(np.column_stack([by_bin, answers.weights]), answers.groups)
    value = float(np.abs(sums[:, :-1].sum(axis=0)).sum() / sums[:, -1].sum())
    if len(sums) < MINIMUM_GROUPS:
        return Interval(value)
    totals = np.concatenate([counts @ sums for counts in group_draws(len(sums), resamples=resamples, seed=seed)])
    drawn = np.abs(totals[:, :-1]).sum(axis=1) / totals[:, -1]
    farthest = float(np.quantile(drawn, 1 - TAIL))
    return Interval(value, float(np.clip(2 * value - farthest, 0.0, value)), max(value, farthest))


def to_json(interval: Interval | None) -> dict[str, float | None] | None:
    """Return an interval as plain numbers."""
    return None if interval is None else asdict(interval)
