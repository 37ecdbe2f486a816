"""SG211: does cosine mislead here?"""

from __future__ import annotations

import numpy as np

from segue.checks.case import Case
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import compare, evaluation_of, evaluations_of, paired_json, percent, points, recall
from segue.evaluation.intervals import correlation

SELECTORS = ("cosine", "MRR")


def examine(case: Case) -> Verdict:
    """Correlate cosine with rank over windows, and select among the options by either."""
    from scipy.stats import rankdata  # takes a second: imported where it is needed

    ours = evaluation_of(case, case.subject)
    scores = _validation(case)
    if ours is None or ours.cosine is None or len(scores) < 2:
        return not_applicable("there are no two options with a cosine to choose between")
    windows = correlation(rankdata(ours.cosine), rankdata(1.0 / ours.ranks), ours.groups,
                          case.generator("SG211 bootstrap"), resamples=case.effort.resamples)  # fmt: skip
    a, b = (rankdata([values[name] for values in scores.values()]) for name in SELECTORS)
    options = float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0
    by_cosine = max(scores, key=lambda option: scores[option]["cosine"])
    by_rank = max(scores, key=lambda option: scores[option]["MRR"])
    found = evaluations_of(case, (by_cosine, by_rank))
    test = compare(case, found[by_cosine], found[by_rank]) if len(found) == 2 else None  # one where both agree
    details = {
        "windows": windows,
        "options": options,
        "validation": scores,
        "chosen": {"cosine": by_cosine, "MRR": by_rank},
        "R@5 by cosine − by MRR": None if test is None else paired_json(test),
    }
    said = (f"Over windows of {ours.name}, cosine and reciprocal rank have a rank correlation of {windows.value:.2f}; "
            f"over {len(scores)} options, validation cosine and validation MRR of {options:.2f}.")  # fmt: skip
    if test is None:
        return Verdict("passed", f"{said} Both select {by_rank}.", 0.0, 0.0, details)
    said += (f" Cosine selects {by_cosine} (R@5 {percent(recall(found[by_cosine]))} on test), MRR {by_rank} "
             f"({percent(recall(found[by_rank]))}): {points(test.difference)}.")  # fmt: skip
    return Verdict("tip", said, test.difference.value, 0.0, details)


def _validation(case: Case) -> dict[str, dict[str, float]]:
    """Return validation cosine and MRR, averaged over folds, of the options that may be selected."""
    names = dict.fromkeys(entry.name for entry in case.non_controls if entry.intent == "candidate")
    found = {name: [entry.validation for entry in case.entries_named(name)] for name in names}
    return {
        name: {metric: float(np.mean([one[metric] for one in folds if one])) for metric in SELECTORS}
        for name, folds in found.items()
        if folds and all(one is not None and set(SELECTORS) <= set(one) for one in folds)
    }


CHECK = Check(
    code="SG211",
    title="Cosine against rank",
    question="Does cosine mislead here: would selecting by it select a worse retriever?",
    detection="Spearman's correlation of cosine and reciprocal rank over the subject's test windows (percentile "
    "interval over groups of documents), and of validation cosine and validation MRR over the options that may win. "
    "The option that is best by validation cosine is compared with the one that is best by validation MRR: R@5 on "
    "test, paired over groups of documents. Tip: the two select different options. It is never an issue, since Segue "
    "itself selects by MRR.",
    why="The mean of all passages that may follow has a high cosine with each of them and is nearest to none, so the "
    "model with the highest cosine can have the lowest recall.",
    healthy="cosine and MRR select the same option",
    fix="wherever you select by hand, do as Segue does: by validation MRR or recall, not by cosine",
    unit="R@5 lost by selecting by cosine",
    examine=examine,
    needs=("evaluations",),
)
