"""Metrics and their bootstrap over documents, beside ir_measures and a loop.

Twelve options, 5,000 windows, all metrics per window, 10,000 resamples of documents. The other side computes every
window's metrics with ir_measures and resamples documents one draw after the other with NumPy. Its loop runs for a
hundredth of the resamples, and its seconds are multiplied: it is the same work for every resample.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from jaxtyping import Int

from benchmarks.speed.measurement import BenchSettings, Measurement
from benchmarks.speed.turns import Prepared, Side, take_turns
from segue.errors import MissingExtraError, explain
from segue.evaluation.intervals import bootstrap
from segue.evaluation.metrics import per_window
from segue.types import Progress

OPTIONS, WINDOWS, RESAMPLES, DOCUMENTS, DEPTH = 12, 5000, 10_000, 100, 50
TARGET = 20.0
_SHARE = 100


def measure(settings: BenchSettings, progress: Progress) -> list[Measurement]:
    """Return the row ``metrics-bootstrap``."""
    arguments = {
        "windows": max(200, round(WINDOWS * settings.scale)),
        "resamples": max(200, round(RESAMPLES * settings.scale)),
    }
    sides = [Side(prepare_ours, arguments, 1), Side(prepare_theirs, arguments, 1)]
    ours, theirs = take_turns(sides, repeats=settings.repeats, progress=progress)
    pairs = zip(ours.values["processor_seconds"], theirs.values["work_processor_seconds"], strict=True)
    ratios = tuple(other / own for own, other in pairs)
    about = {**arguments, "options": OPTIONS, "documents": DOCUMENTS}
    return [Measurement("metrics-bootstrap", "higher", TARGET, ratios, ours.to_json(), theirs.to_json(), about=about,
                whole=settings.scale == 1)]  # fmt: skip


def _ranks(windows: int) -> tuple[list[Int[np.ndarray, "window"]], Int[np.ndarray, "window"]]:
    """Return ranks of every option, and the documents of the windows."""
    generator = np.random.default_rng(3)
    ranks = [np.ceil(generator.lognormal(2.5, 2.0, windows)).astype(np.int64) for _ in range(OPTIONS)]
    return ranks, np.sort(generator.integers(DOCUMENTS, size=windows))


def prepare_ours(windows: int, resamples: int) -> Prepared:
    """Score and resample all options."""
    ranks, documents = _ranks(windows)

    def turn() -> dict[str, float]:
        for one in ranks:
            bootstrap(per_window(one), documents, resamples=resamples)
        return {}

    return Prepared(turn)


def prepare_theirs(windows: int, resamples: int) -> Prepared:
    """Score with ir_measures, resample in a loop."""
    try:
        import ir_measures
    except ImportError as error:
        raise MissingExtraError(explain("ir_measures is not installed", fix="pip install 'segue[dev]'")) from error
    ranks, documents = _ranks(windows)
    measures = [ir_measures.parse_measure(name) for name in
                ("R@1", "R@5", "R@10", "R@20", "R@50", "RR", "nDCG@10")]  # fmt: skip
    qrels = {str(window): {"target": 1} for window in range(windows)}
    few = max(1, resamples // _SHARE)

    def turn() -> dict[str, float]:
        scored, looped = 0.0, 0.0
        for one in ranks:
            began = time.process_time()
            values = _score(ir_measures, measures, qrels, one)
            scored += time.process_time() - began
            began = time.process_time()
            _loop(values, documents, few)
            looped += time.process_time() - began
        return {"work_processor_seconds": scored + looped * resamples / few}

    return Prepared(turn, {"engine": f"ir_measures; a loop over {few} of {resamples} resamples, multiplied"})


def _score(ir_measures: Any, measures: list[Any], qrels: Any, ranks: Int[np.ndarray, "window"]) -> np.ndarray:
    """Return [window, measure]; each run holds the target at its rank, and other passages before and after it."""
    run = {str(window): _answers(int(rank)) for window, rank in enumerate(ranks)}
    values = np.zeros((len(ranks), len(measures)))
    place = {measure: number for number, measure in enumerate(measures)}
    for scored in ir_measures.iter_calc(measures, qrels, run):
        values[int(scored.query_id), place[scored.measure]] = scored.value
    return values


def _answers(rank: int) -> dict[str, float]:
    return {("target" if place == rank else f"other {place}"): float(-place) for place in range(1, DEPTH + 1)}


def _loop(values: np.ndarray, documents: Int[np.ndarray, "window"], resamples: int) -> np.ndarray:
    generator = np.random.default_rng(4)
    members = [np.flatnonzero(documents == document) for document in range(DOCUMENTS)]
    means = []
    for _ in range(resamples):
        drawn = generator.integers(DOCUMENTS, size=DOCUMENTS)
        means.append(values[np.concatenate([members[document] for document in drawn])].mean(axis=0))
    return np.percentile(means, [2.5, 97.5], axis=0)
