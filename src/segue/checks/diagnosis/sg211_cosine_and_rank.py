"""SG211: does cosine mislead here?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from segue.checks.case import Case
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import compare, evaluation_of, paired_json, percent, points, side
from segue.evaluation.intervals import FEWEST_GROUPS, PairedTest, group_sums
from segue.evaluation.result import Evaluation
from segue.types import Interval

SELECTORS = ("cosine", "MRR")


def examine(case: Case) -> Verdict:
    """Correlate cosine with rank over windows, and choose among the options by either."""
    ours = evaluation_of(case, case.subject)
    scores = _validation(case)
    if ours is None or ours.cosine is None or len(scores) < 2:
        return not_applicable("there are no two options with a cosine to choose between")
    windows = _over_windows(case, ours)
    chosen = {name: max(scores, key=lambda option: scores[option][name]) for name in SELECTORS}
    test = _loss_of_choice(case, chosen)
    options = _spearman(scores)
    details = {
        "windows": {"value": windows.value, "low": windows.low, "high": windows.high},
        "options": options,
        "validation": scores,
        "chosen": chosen,
        "R@5 by cosine − by MRR": None if test is None else paired_json(test),
    }
    said = (f"Over windows of {ours.name}, cosine and reciprocal rank have a rank correlation of {windows.value:.2f}; "
            f"over {len(scores)} options, validation cosine and validation MRR of {options:.2f}.")  # fmt: skip
    measured = None if test is None else test.difference.value
    if test is None:
        return Verdict("passed", f"{said} Both choose {chosen['MRR']}.", 0.0, 0.0, details)
    said += _said(case, chosen, test)
    return Verdict("issue" if side(test) < 0 else "tip", said, measured, 0.0, details)


def _validation(case: Case) -> dict[str, dict[str, float]]:
    """Return validation cosine and MRR, averaged over folds, of the options that may be chosen."""
    names = dict.fromkeys(row.name for row in case.non_controls if row.intent == "candidate")
    found = {name: [row.validation for row in case.entries_named(name)] for name in names}
    return {
        name: {metric: float(np.mean([one[metric] for one in folds if one])) for metric in SELECTORS}
        for name, folds in found.items()
        if folds and all(one is not None and set(SELECTORS) <= set(one) for one in folds)
    }


def _loss_of_choice(case: Case, chosen: dict[str, str]) -> PairedTest | None:
    """Test, on test documents, what choosing by cosine loses; None where it chooses the same."""
    by_cosine, by_rank = (evaluation_of(case, chosen[name]) for name in SELECTORS)
    if chosen["cosine"] == chosen["MRR"] or by_cosine is None or by_rank is None:
        return None
    return compare(case, by_cosine, by_rank)


def _spearman(scores: dict[str, dict[str, float]]) -> float:
    """Correlate the places of the options by cosine with those by MRR; 0 where all are equal in one of them."""
    a, b = (rankdata([values[name] for values in scores.values()]) for name in SELECTORS)
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0


def _over_windows(case: Case, evaluation: Evaluation) -> Interval:
    """Return Spearman's correlation of cosine and reciprocal rank, with its interval over groups of documents."""
    assert evaluation.cosine is not None, "asked before"
    a, b = rankdata(evaluation.cosine), rankdata(1.0 / evaluation.ranks)
    return correlation(a, b, evaluation.groups, case.generator("SG211 bootstrap"), resamples=case.effort.resamples)


def correlation(
    a: Float[np.ndarray, "window"],
    b: Float[np.ndarray, "window"],
    groups: Int[np.ndarray, "window"],
    generator: np.random.Generator,
    *,
    resamples: int,
) -> Interval:
    """Return Pearson's correlation with a percentile interval over groups drawn with replacement.

    >>> ends = correlation(np.arange(6.0), np.arange(6.0), np.arange(6) // 2, np.random.default_rng(0), resamples=99)
    >>> round(ends.value, 6), round(ends.low, 6), round(ends.high, 6)
    (1.0, 1.0, 1.0)
    """
    a, b = a - a.mean(), b - b.mean()
    sums = group_sums(np.stack([np.ones_like(a), a, b, a * a, b * b, a * b], axis=1), groups)
    value = float(_pearson(sums.sum(axis=0)[None])[0])
    if len(sums) < FEWEST_GROUPS:
        return Interval(value)
    drawn = generator.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=resamples)
    low, high = np.quantile(_pearson(drawn @ sums), [0.025, 0.975])
    return Interval(value, float(low), float(high))


def _pearson(totals: Float[np.ndarray, "draw six"]) -> Float[np.ndarray, "draw"]:
    """Return the correlation from n, Σa, Σb, Σa², Σb², Σab; 0 where one side does not vary."""
    n, a, b, aa, bb, ab = totals.T
    spread = np.sqrt(np.maximum(n * aa - a * a, 0.0) * np.maximum(n * bb - b * b, 0.0))
    return np.divide(n * ab - a * b, spread, out=np.zeros_like(spread), where=spread > 1e-9)


def _said(case: Case, chosen: dict[str, str], test: PairedTest) -> str:
    recall = {
        name: percent(float((found.ranks <= 5).mean()))
        for name, option in chosen.items()
        if (found := evaluation_of(case, option)) is not None
    }
    return (f" Cosine chooses {chosen['cosine']} (R@5 {recall['cosine']} on test), MRR {chosen['MRR']} "
            f"({recall['MRR']}): {points(test.difference)}.")  # fmt: skip


CHECK = Check(
    code="SG211",
    title="Cosine against rank",
    question="Does cosine mislead here: would choosing by it choose a worse retriever?",
    detection="Spearman's correlation of cosine and reciprocal rank over the subject's test windows (percentile "
    "interval over groups of documents), and of validation cosine and validation MRR over the options that may win. "
    "The option that is best by validation cosine is compared with the one that is best by validation MRR: R@5 on "
    "test, paired over groups of documents. Issue: it is clearly lower. Tip: the two choose differently, without a "
    "clear difference.",
    why="The mean of all that may follow has the highest cosine with each of it and is nearest to none: of the models "
    "this project grew from, the one with the highest cosine had one of the lowest recalls.",
    healthy="cosine and MRR choose the same option",
    fix="select checkpoints and options on validation MRR or recall, never on cosine",
    unit="R@5 lost by choosing by cosine",
    examine=examine,
    needs=("evaluations",),
)
