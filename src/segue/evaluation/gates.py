"""Gates: thresholds and paired comparisons that end in pass, fail, or not enough evidence.

Input: for each option its ranks, groups of documents and measured scalars (:class:`Judged`). Output: one
:class:`GateOutcome` per gate.

A condition passes when its estimate and its whole 95 % interval are on the right side of the threshold *and* its
two-sided p-value is below 0.05 after Holm's adjustment over all conditions of all gates judged together. It fails when
the same holds on the wrong side. Otherwise there is not enough evidence. An under-trained reference is no evidence
either: a difference to it is a difference to a lower bound. A gate with several conditions passes when any passes and
fails when all fail (``docs/metrics.md`` has a worked example).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field, field_validator, model_validator
from scipy.special import ndtr

from segue.errors import InputError, SettingsError
from segue.evaluation.intervals import bootstrap, group_sums, holm, median_rank, paired, sign_flip
from segue.evaluation.metrics import KNOWN_METRICS, RATIOS, per_window
from segue.old_names import current_name
from segue.parts import PartName, load_part
from segue.settings import Settings
from segue.types import Interval

Outcome = Literal["pass", "fail", "not-enough-evidence"]

LEVEL = 0.05
"""Significance level of two-sided tests."""


class Condition(Settings):
    """One comparison: a metric, or its difference to another option, against a threshold."""

    metric: str = Field(description="name of a metric as in the tables, e.g. R@5, MRR, search_p95_ms")
    at_least: float | None = Field(default=None, description="passes above it, in the metric's unit")
    at_most: float | None = Field(default=None, description="passes below it, in the metric's unit")
    against: str | None = Field(default=None, description="an option's name: the difference to it is judged")

    @field_validator("against")
    @classmethod
    def _current(cls, against: str | None) -> str | None:
        return against and current_name(against)

    @field_validator("metric")
    @classmethod
    def _is_known(cls, metric: str, info: Any) -> str:
        known = (*KNOWN_METRICS, *(info.context or {}).get("metrics", ()))  # those of the recipe
        if metric not in known:
            near = get_close_matches(metric, known, n=1, cutoff=0.4)
            raise ValueError(f"unknown metric {metric!r}{f', did you mean {near[0]!r}?' if near else ''}")
        return metric

    @model_validator(mode="after")
    def _has_one_threshold(self) -> Condition:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"give exactly one of at_least and at_most for {self.metric}")
        return self

    @property
    def threshold(self) -> float:
        """Threshold of the condition, upper or lower."""
        return self.at_least if self.at_least is not None else self.at_most  # type: ignore[return-value]

    def __str__(self) -> str:
        """Return the condition in words.

        >>> str(Condition(metric="R@5", at_least=0.1, against="ar-cosine"))
        'ΔR@5 over ar-cosine ≥ 0.1'
        """
        quantity = f"Δ{self.metric} over {self.against}" if self.against else self.metric
        return f"{quantity} {'≥' if self.at_least is not None else '≤'} {self.threshold:g}"


class GateSettings(Settings):
    """A named gate: passes when any of its conditions does, or as a function of your own decides."""

    name: str = Field(min_length=1, description="name in tables and JSON")
    any_of: tuple[Condition, ...] = Field((), description="conditions, one of which has to pass")
    decide: PartName | None = Field(None, description="instead of conditions: the import path of a gate of your own")
    source: str = Field("", description="where the thresholds come from; printed beside the outcome")

    @model_validator(mode="after")
    def _has_one_rule(self) -> GateSettings:
        if bool(self.any_of) == (self.decide is not None):
            raise ValueError(f"give exactly one of any_of and decide for the gate {self.name!r}")
        return self

    def __str__(self) -> str:
        """Return the conditions in words, or what decides."""
        return ", or ".join(map(str, self.any_of)) or f"decided by {self.decide}"


ORIGINAL = "the original report"
PHASE_1 = GateSettings(
    name="phase-1",
    any_of=(
        Condition(metric="R@5", at_least=0.10, against="ar-cosine"),
        Condition(metric="MRR", at_least=0.05, against="ar-cosine"),
    ),
    source=f"{ORIGINAL}: the gain that it required of InfoNCE over the cosine loss alone",
)
CONTAIN = GateSettings(name="contain", any_of=(Condition(metric="Contain@50", at_least=0.60),), source=ORIGINAL)
EFFICIENCY = GateSettings(name="efficiency", any_of=(Condition(metric="Eff@5", at_least=0.68),), source=ORIGINAL)
RECALL = GateSettings(name="recall", any_of=(Condition(metric="R@5", at_least=0.40),), source=ORIGINAL)
LATENCY = GateSettings(
    name="latency",
    any_of=(Condition(metric="search_p95_ms", at_most=1.45),),
    source=f"{ORIGINAL}: the P95 of its own system (1.1 ms) plus a margin; set your own",
)
SHIP = GateSettings(
    name="ship",
    any_of=(Condition(metric="R@5", at_least=0.30), Condition(metric="MRR", at_least=0.20)),
    source=f"{ORIGINAL}: for serving, on documents that were not trained on",
)

STANDARD_GATES = (PHASE_1, CONTAIN, RECALL, LATENCY, SHIP)
"""Gates without a recipe's own. They leave out Eff@5, since a low Contain@50 raises it."""

REPORT_GATES = (PHASE_1, CONTAIN, EFFICIENCY, RECALL, LATENCY, SHIP)
"""All gates of the phase-1 report."""


@dataclass(frozen=True)
class Judged:
    """Measurements of one option that gates read.

    Attributes:
        ranks: rank of the target of each window.
        groups: group of near-duplicate documents of each window.
        targets: row of each window's target; compared options must have equal ones. None: not checked.
        values: further metrics per window (cosine …), None where not computed; ranks give the others.
        scalars: quantities measured otherwise, with their intervals (latencies in ms).
        under_trained: whether training ended while validation still rose, so that the measurements are lower bounds.
        limits: smallest and largest value of metrics of your own, by name.
    """

    ranks: Int[np.ndarray, "window"]
    groups: Int[np.ndarray, "window"]
    targets: Int[np.ndarray, "window"] | None = None
    values: Mapping[str, Float[np.ndarray, "window"] | None] = field(default_factory=dict)
    scalars: Mapping[str, Interval] = field(default_factory=dict)
    under_trained: bool = False
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def value(self, metric: str) -> Float[np.ndarray, "window"] | None:
        """Return a metric per window; None where it was not computed or has no value per window."""
        return self.values[metric] if metric in self.values else per_window(self.ranks).get(metric)


@dataclass(frozen=True)
class Decision:
    """What a gate of your own returns.

    Attributes:
        outcome: ``pass``, ``fail`` or ``not-enough-evidence``.
        reason: why, in a sentence.
        value: what was measured, with its interval; None where it is not a number.
        threshold: what the value is compared with.
    """

    outcome: Outcome
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None


NUMBERS = ("value", "low", "high", "threshold")
Decide = Callable[[Judged, Mapping[str, Judged]], Decision]
"""A gate of your own: takes what was measured of the judged option, and of every other one by name."""


@dataclass(frozen=True)
class ConditionOutcome:
    """Outcome of one condition; numbers are None where nothing could be measured."""

    condition: Condition
    outcome: Outcome
    value: float | None
    low: float | None
    high: float | None
    p_adjusted: float | None
    reason: str


@dataclass(frozen=True)
class GateOutcome:
    """Outcome of a gate; ``value`` … ``threshold`` are those of the condition that decided it.

    The numbers are None where nothing could be measured, and where a gate of your own gives none.
    """

    name: str
    candidate: str
    outcome: Outcome
    value: float | None
    low: float | None
    high: float | None
    threshold: float | None
    text: str
    reason: str
    source: str = ""
    conditions: tuple[ConditionOutcome, ...] = ()

    def to_json(self) -> dict[str, str | float | None]:
        """Return the gate as the JSON of triage and evaluate has it."""
        names = ("name", "outcome", "candidate", "value", "low", "high", "threshold", "text", "reason",
                 "source")  # fmt: skip
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class _Evidence:
    """Measurement of a condition before its p-value is adjusted."""

    interval: Interval | None
    p_value: float | None
    missing: str = ""


def judge(
    gates: Sequence[GateSettings],
    judged: Mapping[str, Judged],
    candidate: str,
    *,
    resamples: int = 10_000,
    seed: int = 1,
) -> list[GateOutcome]:
    """Judge one option by several gates.

    Args:
        gates: p-values are adjusted over all conditions; gates of your own adjust theirs themselves.
        judged: measurements of each option, by name; options that a gate compares with may be missing.
        candidate: the option that is judged.
        resamples: draws for the intervals.
        seed: seed of draws and sign flips.

    Raises:
        InputError: the candidate is not among ``judged``.
        SettingsError: a gate of your own cannot be loaded.
    """
    if candidate not in judged:
        names = ", ".join(judged) or "none"
        raise InputError("no such option to judge", got=candidate, expected=f"one of {names}")
    conditions = [condition for gate in gates for condition in gate.any_of]
    evidence = [_measure(condition, judged, candidate, resamples=resamples, seed=seed) for condition in conditions]
    ended = [
        _decide(condition, found, p)
        for condition, found, p in zip(conditions, evidence, _adjust(evidence), strict=True)
    ]
    outcomes, start = [], 0
    for gate in gates:
        stop = start + len(gate.any_of)
        outcomes.append(_combine(gate, candidate, tuple(ended[start:stop])) if gate.any_of
                        else _decided(gate, judged, candidate))  # fmt: skip
        start = stop
    return outcomes


def load_gate(gate: GateSettings) -> Decide | None:
    """Return the function behind a gate of your own; None for a gate of conditions.

    Raises:
        SettingsError: it cannot be loaded, or is no function.
    """
    if gate.decide is None:
        return None
    found = load_part("gate", gate.decide)
    if isinstance(found, type) or not callable(found):
        raise SettingsError(f"what decides the gate {gate.name!r} is no function", got=repr(found),
                            expected="a function of (option, others) that returns a Decision")  # fmt: skip
    decide: Decide = found
    return decide


def _decided(gate: GateSettings, judged: Mapping[str, Judged], candidate: str) -> GateOutcome:
    """Let a gate of your own decide; what it does not decide has not enough evidence, for the reason it states."""
    decide = load_gate(gate)
    assert decide is not None, "only gates without conditions are decided by a function"
    others = {name: other for name, other in judged.items() if name != candidate}
    try:
        found = decide(judged[candidate], others)
        numbers = {name: None if (number := getattr(found, name)) is None else float(number) for name in NUMBERS}
        if (
            found.outcome not in get_args(Outcome)
            or not np.isfinite([n for n in numbers.values() if n is not None]).all()
        ):
            raise ValueError(f"it returned {found}")
    except Exception as error:  # it is the user's code
        found = Decision("not-enough-evidence", f"the gate failed: {type(error).__name__}: {error}")
        numbers = dict.fromkeys(NUMBERS)
    value, low, high, threshold = (numbers[name] for name in NUMBERS)
    return GateOutcome(gate.name, candidate, found.outcome, value, low, high, threshold, str(gate), str(found.reason),
                       gate.source)  # fmt: skip


def _adjust(evidence: Sequence[_Evidence]) -> list[float | None]:
    """Adjust the p-values of the conditions that could be tested."""
    tested = [place for place, found in enumerate(evidence) if found.p_value is not None]
    adjusted: list[float | None] = [None] * len(evidence)
    for place, p in zip(tested, holm([evidence[place].p_value or 0.0 for place in tested]), strict=True):
        adjusted[place] = p
    return adjusted


def _measure(
    condition: Condition, judged: Mapping[str, Judged], candidate: str, *, resamples: int, seed: int
) -> _Evidence:
    """Return the interval and the p-value of one condition, or the reason why there are none."""
    ours = judged[candidate]
    if condition.against is not None:
        return _compare(condition, ours, judged.get(condition.against), resamples=resamples, seed=seed)
    if condition.metric in ours.scalars:
        interval = ours.scalars[condition.metric]
        return _Evidence(interval, _p_of_interval(interval, condition.threshold))
    if condition.metric == "median rank":
        middle = median_rank(ours.ranks, ours.groups, resamples=resamples, seed=seed)
        return _Evidence(middle, _p_of_interval(middle, condition.threshold), "" if middle else "no windows")
    return _measure_ratio(condition, ours, resamples=resamples, seed=seed)


def _measure_ratio(condition: Condition, ours: Judged, *, resamples: int, seed: int) -> _Evidence:
    """Measure a mean over windows, or a quotient of two means; both are ratios of sums over groups."""
    top, bottom = RATIOS.get(condition.metric, (condition.metric, None))
    names = [top] if bottom is None else [top, bottom]
    found = {name: ours.value(name) for name in names}
    values = {name: value for name, value in found.items() if value is not None}
    if len(values) < len(names):
        return _Evidence(None, None, f"{condition.metric} was not computed")
    intervals = bootstrap(values, ours.groups, limits=ours.limits, resamples=resamples, seed=seed)
    interval = intervals.get(condition.metric)
    if interval is None:
        return _Evidence(None, None, f"{condition.metric} has no value in any window")
    known = ~np.isnan(values[top])
    size = known.astype(np.float64) if bottom is None else values[bottom]
    excess = np.nan_to_num(values[top]) - condition.threshold * size
    return _Evidence(interval, sign_flip(group_sums(excess[:, None], ours.groups)[:, 0], seed=seed)[0])


def _compare(condition: Condition, ours: Judged, theirs: Judged | None, *, resamples: int, seed: int) -> _Evidence:
    """Measure the paired difference to another option."""
    if theirs is None:
        return _Evidence(None, None, f"{condition.against} was not evaluated")
    if theirs.under_trained:
        return _Evidence(None, None, f"{condition.against} is under-trained: its numbers are lower bounds")
    other_targets = False
    if ours.targets is not None and theirs.targets is not None:
        other_targets = not np.array_equal(ours.targets, theirs.targets)
    if other_targets or not np.array_equal(ours.groups, theirs.groups):
        return _Evidence(None, None, f"{condition.against} was evaluated on other windows")
    a, b = ours.value(condition.metric), theirs.value(condition.metric)
    if a is None or b is None or not (~np.isnan(a + b)).any():
        return _Evidence(None, None, f"{condition.metric} has no value per window in both options")
    test = paired(a, b, ours.groups, condition.threshold, resamples=resamples, seed=seed)
    return _Evidence(test.difference, test.p_value)


def _p_of_interval(interval: Interval | None, threshold: float) -> float | None:
    """Return the two-sided p-value of a 95 % interval, normal on the threshold's side (Altman and Bland, 2011)."""
    if interval is None or interval.low is None or interval.high is None:
        return None
    half = interval.value - interval.low if threshold < interval.value else interval.high - interval.value
    if half == 0:
        return 1.0 if interval.value == threshold else 0.0
    return float(2 * ndtr(-1.959964 * abs(interval.value - threshold) / half))


def _decide(condition: Condition, found: _Evidence, p: float | None) -> ConditionOutcome:
    """Apply the rule to one condition."""
    interval = found.interval
    if interval is None:
        return ConditionOutcome(condition, "not-enough-evidence", None, None, None, None, found.missing)
    numbers = (interval.value, interval.low, interval.high, p)
    if interval.low is None or interval.high is None or p is None:
        reason = "too few documents or repetitions for an interval"
        return ConditionOutcome(condition, "not-enough-evidence", *numbers, reason)
    side = _side(interval.low, interval.high, condition)
    if side == 0 or p >= LEVEL:
        reason = "the interval contains the threshold" if side == 0 else f"adjusted p {p:.2g} is not below {LEVEL}"
        return ConditionOutcome(condition, "not-enough-evidence", *numbers, reason)
    reason = f"the whole interval is {'above' if interval.value > condition.threshold else 'below'}, adjusted p {p:.2g}"
    return ConditionOutcome(condition, "pass" if side > 0 else "fail", *numbers, reason)


def _side(low: float, high: float, condition: Condition) -> int:
    """Return 1 where the whole interval is on the passing side, -1 on the failing side, 0 otherwise."""
    above, below = low > condition.threshold, high < condition.threshold
    sign = int(above) - int(below)
    return sign if condition.at_least is not None else -sign


def _combine(gate: GateSettings, candidate: str, conditions: tuple[ConditionOutcome, ...]) -> GateOutcome:
    """Pass when any condition does, fail when all do."""
    outcomes = [condition.outcome for condition in conditions]
    alike: Outcome = "fail" if set(outcomes) == {"fail"} else "not-enough-evidence"
    outcome: Outcome = "pass" if "pass" in outcomes else alike
    decisive = next((c for c in conditions if c.outcome == outcome and c.value is not None), conditions[0])
    reason = "; ".join(f"{c.condition}: {_numbers(c)}{c.reason}" for c in conditions)
    threshold = decisive.condition.threshold
    ends = (decisive.value, decisive.low, decisive.high, threshold)
    return GateOutcome(gate.name, candidate, outcome, *ends, str(gate), reason, gate.source, conditions)


def _numbers(ended: ConditionOutcome) -> str:
    """Return value and interval in words; nothing where there are none."""
    if ended.value is None:
        return ""
    ends = "" if ended.low is None or ended.high is None else f" (95 % {ended.low:.3g} to {ended.high:.3g})"
    return f"measured {ended.value:.3g}{ends}, "
