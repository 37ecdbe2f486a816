"""Metrics: pure functions of the rank of the right passage.

Input: one rank per window (1 = best), counted over the whole pool by the ranking rule. Output: fractions, never per
cent; None (or NaN inside an array of windows) where nothing can be computed, never 0.

Each window has exactly one relevant candidate, so ``R@k`` is ``Success@k`` of ir_measures (which equals its ``R@k``
here), ``MRR`` the mean of its ``RR``, ``nDCG@10`` its ``nDCG@10``. ``Contain@50`` is ``Success@50``
of the same exact ranks. ``docs/metrics.md`` holds the definitions in one table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.errors import InputError

CUTOFFS: Mapping[str, int] = {"R@1": 1, "R@5": 5, "R@10": 10, "R@20": 20, "Contain@50": 50}
"""Cutoffs of success: the share of windows with the target among the first k."""

HORIZON_CUTOFFS: Mapping[str, int] = {f"horizon R@{cutoff}": cutoff for cutoff in (1, 5, 10)}
"""Cutoffs of horizon recall: the share of windows with any of the next three passages among the first k."""

RATIOS: Mapping[str, tuple[str, str]] = {"Eff@5": ("R@5", "Contain@50")}
"""Quotients of two means; Eff@5 is the share of the targets among the first 50 that are among the first 5."""

HISTOGRAM: Mapping[str, int] = {"1": 1, "2–5": 5, "6–10": 10, "11–50": 50, "51–100": 100, "101–1000": 1000}
"""Upper edges of the bins of ranks; the bin above is ``>1000``."""

STAGES = ("encode", "predict", "search", "rerank", "read", "total")
"""Stages of an answer; one that a retriever does not have is left out, never 0."""

KNOWN_METRICS = (
    *CUTOFFS, *RATIOS, *HORIZON_CUTOFFS, "MRR", "nDCG@10", "median rank", "cosine", "contrastive accuracy",
    "copying ratio", *(f"{stage}_p{share}_ms" for stage in STAGES for share in (50, 95, 99)),
)  # fmt: skip
"""Names of all metrics but your own."""

_TIE = 1e-6
"""Squared distances of unit vectors nearer than this are ties."""

_FRACTION = re.compile(r"(horizon )?(R|Success|Contain|Eff|nDCG)@\d+|MRR|contrastive accuracy")


def per_window(ranks: Int[np.ndarray, "window"], *, depth: int | None = None) -> dict[str, Float[np.ndarray, "window"]]:
    """Score every window by itself: ``R@1 … R@20``, ``Contain@50``, ``MRR`` (1 / rank) and ``nDCG@10``.

    With one relevant candidate nDCG@10 is 1 / log2(1 + rank) up to rank 10, else 0 (Järvelin and Kekäläinen, 2002).

    Args:
        ranks: rank of the target, from 1.
        depth: score as a run file cut after that many places would (a target below it counts 0); None: all places.

    Raises:
        InputError: a rank below 1.

    >>> {name: value.tolist() for name, value in per_window(np.array([1, 4])).items()}["MRR"]
    [1.0, 0.25]
    """
    _require_ranks(ranks)
    seen = ranks <= (np.inf if depth is None else depth)
    values = {name: (seen & (ranks <= cutoff)).astype(np.float64) for name, cutoff in CUTOFFS.items()}
    values["MRR"] = np.where(seen, 1.0 / ranks, 0.0)
    values["nDCG@10"] = np.where(seen & (ranks <= 10), 1.0 / np.log2(1.0 + ranks), 0.0)
    return values


def _require_ranks(ranks: Int[np.ndarray, "..."]) -> None:
    """Refuse ranks below 1."""
    if ranks.size and ranks.min() < 1:
        raise InputError("a rank is out of range", got=int(ranks.min()), expected="1 or more", fix="count ranks from 1")


def mean(values: Float[np.ndarray, "window"]) -> float | None:
    """Average over the windows that have the metric (NaN: none); None without any.

    >>> mean(np.array([1.0, np.nan, 0.0])), mean(np.array([]))
    (0.5, None)
    """
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def summarise(ranks: Int[np.ndarray, "window"], *, depth: int | None = None) -> dict[str, float | None]:
    """Average over windows (micro), with ``Eff@5`` and ``median rank``.

    >>> summary = summarise(np.array([1, 4, 30, 900]))
    >>> summary["R@5"], summary["Contain@50"], round(summary["Eff@5"], 3), summary["median rank"]
    (0.5, 0.75, 0.667, 17.0)
    >>> summarise(np.array([], dtype=int))["R@5"] is None
    True
    """
    summary = _with_ratios({name: mean(value) for name, value in per_window(ranks, depth=depth).items()})
    return {**summary, "median rank": float(np.median(ranks)) if len(ranks) else None}


def summarise_macro(ranks: Int[np.ndarray, "window"], documents: Int[np.ndarray, "window"]) -> dict[str, float | None]:
    """Average within each document, then over documents (macro): a long document weighs as a short one.

    >>> summarise_macro(np.array([1, 1, 1, 900]), np.array([7, 7, 7, 8]))["R@5"]
    0.5
    """
    return _with_ratios({name: mean(by_document(value, documents)[0]) for name, value in per_window(ranks).items()})


def _with_ratios(means: Mapping[str, float | None]) -> dict[str, float | None]:
    """Add the quotients of means; one over nothing is None."""
    ratios: dict[str, float | None] = {}
    for name, (numerator, denominator) in RATIOS.items():
        top, bottom = means[numerator], means[denominator]
        ratios[name] = None if top is None or not bottom else top / bottom
    return {**means, **ratios}


def by_document(
    values: Float[np.ndarray, "window"], documents: Int[np.ndarray, "window"]
) -> tuple[Float[np.ndarray, "document"], Int[np.ndarray, "document"]]:
    """Average within each document; returns the means and the document numbers, ascending.

    >>> by_document(np.array([1.0, 0.0, 1.0]), np.array([4, 4, 2]))[0].tolist()
    [1.0, 0.5]
    """
    known = ~np.isnan(values)
    numbers, places = np.unique(documents[known], return_inverse=True)
    return np.bincount(places, values[known]) / np.bincount(places), numbers


def best_ranks(ranks: Int[np.ndarray, "window horizon"]) -> Int[np.ndarray, "window"]:
    """Return the best rank among the next passages; -1 marks one that does not exist (end of the document).

    >>> best_ranks(np.array([[9, 3, 40], [7, -1, -1]])).tolist()
    [3, 7]
    """
    absent = ranks == -1
    if absent.all(axis=1).any():
        raise InputError("a window has no next passage", fix="leave out windows without a target")
    best = np.where(absent, np.iinfo(ranks.dtype).max, ranks).min(axis=1)
    _require_ranks(best)
    return best


def horizon_per_window(best: Int[np.ndarray, "window"]) -> dict[str, Float[np.ndarray, "window"]]:
    """Score 1 where any of the next passages is within the cutoff (for prefetching), else 0.

    >>> horizon_per_window(np.array([3, 7]))["horizon R@5"].tolist()
    [1.0, 0.0]
    """
    return {name: (best <= cutoff).astype(np.float64) for name, cutoff in HORIZON_CUTOFFS.items()}


def recall_curve(ranks: Int[np.ndarray, "window"], cutoffs: Sequence[int]) -> list[float | None]:
    """Return R@k for each cutoff.

    >>> recall_curve(np.array([1, 4, 30, 900]), [1, 5, 50])
    [0.25, 0.5, 0.75]
    """
    _require_ranks(ranks)
    return [mean((ranks <= cutoff).astype(np.float64)) for cutoff in cutoffs]


def rank_histogram(ranks: Int[np.ndarray, "window"]) -> dict[str, float] | None:
    """Return the share of windows in each bin of ranks; None without windows.

    >>> rank_histogram(np.array([1, 4, 5, 2000]))["2–5"]
    0.5
    """
    _require_ranks(ranks)
    if not len(ranks):
        return None
    places = np.searchsorted(list(HISTOGRAM.values()), ranks)
    shares = np.bincount(places, minlength=len(HISTOGRAM) + 1) / len(ranks)
    return dict(zip([*HISTOGRAM, ">1000"], shares.tolist(), strict=True))


def chance(pool_size: int) -> dict[str, float]:
    """Return the expected metrics of a random order of ``pool_size`` candidates.

    >>> round(chance(100)["R@5"], 3), round(chance(2)["MRR"], 3)
    (0.05, 0.75)
    """
    ranks = np.arange(1, pool_size + 1)
    means = {name: float(value.mean()) for name, value in per_window(ranks).items()}
    quotients = {name: means[top] / means[bottom] for name, (top, bottom) in RATIOS.items()}
    return {**means, **quotients, "median rank": (pool_size + 1) / 2}


def metric_range(name: str) -> tuple[float, float]:
    """Return the smallest and largest value a metric can take; infinite where there is no limit.

    >>> metric_range("R@5"), metric_range("cosine"), metric_range("copying ratio")
    ((0.0, 1.0), (-1.0, 1.0), (-inf, inf))
    """
    if _FRACTION.fullmatch(name):
        return 0.0, 1.0
    return {"cosine": (-1.0, 1.0), "median rank": (1.0, np.inf)}.get(name, (-np.inf, np.inf))


def contrastive_accuracy(
    predictions: Float[np.ndarray, "window dim"],
    targets: Float[np.ndarray, "window dim"],
    rows: Int[np.ndarray, "window"],
    *,
    neighbours: Int[np.ndarray, "window neighbour"],
    block: int = 1024,
) -> Float[np.ndarray, "window"]:
    """Return the share of the other targets that are further from the prediction than the truth is.

    CA of Large Concept Models (arXiv 2412.08821, section on metrics): other targets of the set are compared by
    Euclidean distance, the truth and its neighbours left out. Equal distances count against the prediction.
    Never holds more than ``block`` × ``block`` distances.

    Args:
        predictions: predicted vectors (normalised or not).
        targets: the true vectors.
        rows: bank row of each target; every window whose target has that row is left out with it.
        neighbours: bank rows that are not compared either (the passages before and after the truth, the context),
            padded with -1.
        block: windows compared at a time.

    Returns:
        Fractions; NaN where no other target is left to compare.
    """
    hidden = np.concatenate([rows[:, None], neighbours], axis=1)  # [window, 1 + neighbour]
    answers = np.empty(len(rows))
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        ours, own = predictions[part], targets[part]
        truth = np.einsum("bd,bd->b", own, own) - 2 * np.einsum("bd,bd->b", ours, own)  # without ‖ours‖²
        window, place = _occurrences(hidden[part], rows)
        further = np.zeros(len(truth), dtype=np.int64)
        for first in range(0, len(rows), block):
            others = targets[first : first + block]
            distances = np.einsum("od,od->o", others, others)[None, :] - 2 * (ours @ others.T)
            here = (place >= first) & (place < first + block)
            distances[window[here], place[here] - first] = -np.inf  # never further
            further += np.count_nonzero(distances > truth[:, None] + _TIE, axis=1)
        compared = len(rows) - np.bincount(window, minlength=len(truth))
        answers[part] = np.where(compared > 0, further / np.maximum(compared, 1), np.nan)
    return answers


def _occurrences(
    hidden: Int[np.ndarray, "batch hidden"], rows: Int[np.ndarray, "window"]
) -> tuple[Int[np.ndarray, "pair"], Int[np.ndarray, "pair"]]:
    """Find the hidden rows in ``rows``: pairs of (window of the batch, place in rows), each once.

    >>> [column.tolist() for column in _occurrences(np.array([[5, 7], [-1, 7]]), np.array([7, 9, 5]))]
    [[0, 0, 1], [0, 2, 0]]
    """
    order = np.argsort(rows, kind="stable")
    first, last = (np.searchsorted(rows[order], hidden, side=side) for side in ("left", "right"))
    pairs = []
    for step in range(int((last - first).max(initial=0))):
        window, column = np.nonzero(first + step < last)
        pairs.append(np.stack([window, order[first[window, column] + step]], axis=1))
    if not pairs:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    found = np.unique(np.concatenate(pairs), axis=0)
    return found[:, 0], found[:, 1]


def copying_ratio(
    predictions: Float[np.ndarray, "window dim"],
    targets: Float[np.ndarray, "window dim"],
    contexts: Float[np.ndarray, "window context dim"],
    mask: Bool[np.ndarray, "window context"],
    *,
    smallest: float = 0.05,
) -> Float[np.ndarray, "window"]:
    """Compare how near the prediction and the truth are to what was read: above 1 the model copies.

    PAR of Large Concept Models (arXiv 2412.08821, section on metrics): the largest cosine of the prediction to a
    context passage, divided by the largest cosine of the truth to one.

    Args:
        predictions: unit vectors.
        targets: unit vectors.
        contexts: unit vectors, anything where ``mask`` is False.
        mask: True where there is a passage.
        smallest: below this largest cosine of the truth the quotient is noise; such windows have none.

    Returns:
        Quotients; NaN where there is none.
    """
    ours = _largest_cosine(predictions, contexts, mask)
    theirs = _largest_cosine(targets, contexts, mask)
    return np.where(theirs >= smallest, ours / np.where(theirs >= smallest, theirs, 1.0), np.nan)


def _largest_cosine(
    vectors: Float[np.ndarray, "window dim"],
    contexts: Float[np.ndarray, "window context dim"],
    mask: Bool[np.ndarray, "window context"],
) -> Float[np.ndarray, "window"]:
    """Return the largest cosine to a passage of the context; -inf without any."""
    cosines = np.einsum("wd,wcd->wc", vectors, contexts, dtype=np.float64)
    return np.where(mask, cosines, -np.inf).max(axis=1, initial=-np.inf)
