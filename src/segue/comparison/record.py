"""The record of a comparison: everything that ``triage.json`` holds, as types.

Rooms that write the record (comparison, checks) or read it (reports, bundles, runs, serving) share these types.
``read_record`` reads the files of older versions too. Fields that hold a rate are fractions, never per cent;
what was not computed is None or absent, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Final, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from segue.errors import InputError, explain
from segue.files import hashes_of, require_hashes, write_json
from segue.old_names import read_with_current_names
from segue.types import Exclusion, Intent, Interval

FORMAT: Final = 2
"""Version of ``triage.json``. Version 0.1 wrote format 1, without this key."""

Family = Literal["control", "baseline", "loss", "architecture", "towers", "rerank", "own"]
Risk = Literal["low", "medium", "high"]
Status = Literal["done", "under-trained", "skipped", "aborted", "failed"]
GateVerdict = Literal["pass", "fail", "not-enough-evidence"]
CheckOutcome = Literal["issue", "tip", "passed", "not-applicable", "skipped", "muted"]
"""Outcome of a check. ``skipped``: too slow for ``--fast``, or broken; ``muted``: switched off by its code."""


class RecordPart(BaseModel):
    """Base of all parts of the record: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """Return the part as JSON values."""
        return self.model_dump(mode="json")


Metrics = Mapping[str, Interval]
"""Metrics by name, each with its 95 % interval."""
Scores = Mapping[str, float | None]
"""Metrics by name, without intervals."""


class PairedDifference(RecordPart):
    """Paired difference of two entries over the same windows.

    Attributes:
        p: two-sided, adjusted by Holm where several entries were compared with one reference.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None

    @property
    def interval(self) -> Interval:
        """The difference without its p-value."""
        return Interval(self.value, self.low, self.high)


Differences = Mapping[str, Mapping[str, PairedDifference]]
"""Differences by reference, then by metric."""


class CurvePoint(RecordPart):
    """One validation during training.

    Attributes:
        step: optimiser steps done.
        loss: mean training loss since the point before; None at step 0.
        terms: the same for each term of the loss.
        scores: validation metrics.
    """

    step: int
    seconds: float | None = None
    loss: float | None = None
    terms: Mapping[str, float] = {}
    learning_rate: float | None = None
    grad_norm: float | None = None
    temperature: float | None = None
    scores: Scores = {}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> CurvePoint:
        """Sort the flat values that training writes into fields, terms (``loss/...``) and metrics."""
        own = {name: value for name, value in values.items() if name in cls.model_fields}
        terms = {name.removeprefix("loss/"): value for name, value in values.items() if name.startswith("loss/")}
        scores = {name: v for name, v in values.items() if name not in own and not name.startswith("loss/")}
        return cls.model_validate({"terms": terms, "scores": scores} | own)


class TrainingRecord(RecordPart):
    """Training of one option, over all folds.

    Attributes:
        parameters: number of learnt weights; None where only some layers of a text encoder learn.
        documents: kind of document tower.
        loss: description of the first fold's loss; ``losses`` has one for each fold.
        steps: most steps of any fold.
        best_steps: for each fold the step with the best validation MRR.
        under_trained: whether validation still improved when the planned steps ended.
        curves: validation curve of each fold.
    """

    model: str
    size: str
    anchor: bool
    parameters: int | None
    documents: str = "identity"
    loss: str
    losses: tuple[str, ...] = ()
    batch_size: int
    steps: int
    planned_steps: int
    best_steps: tuple[int, ...]
    seconds: float
    under_trained: bool
    curves: tuple[tuple[CurvePoint, ...], ...]


class SpaceTest(RecordPart):
    """Compatibility test in one space: cosines of matched and of random pairs, and recall when searching in it."""

    matched: float
    random: float
    recall_5: float

    @property
    def gap(self) -> float:
        """Matched minus random cosine."""
        return self.matched - self.random


class Compatibility(RecordPart):
    """Projection-head compatibility test, on validation documents, averaged over folds."""

    raw: SpaceTest
    projected: SpaceTest

    @classmethod
    def of(cls, values: Mapping[str, Mapping[str, float]]) -> Compatibility:
        """Read what training wrote: the cosines by space, and under ``R@5`` the recall by space."""
        spaces = {name: dict(values[name]) | {"recall_5": values["R@5"][name]} for name in ("raw", "projected")}
        return cls.model_validate(spaces)


class Percentiles(RecordPart):
    """Percentiles of a stage's latency, in milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float


class RecallCurve(RecordPart):
    """R@k at some cutoffs ``k``."""

    k: tuple[int, ...]
    value: tuple[float | None, ...]


class RankHistogram(RecordPart):
    """Share of windows in each bin of ranks."""

    labels: tuple[str, ...]
    share: tuple[float, ...]


class Entry(RecordPart):
    """One compared option with its results; those that were not measured have no metrics.

    Attributes:
        intent: entries other than ``candidate`` cannot win.
        question: what running the option answers.
        risk: risk of adopting it.
        reason: why it is not done.
        validation: metrics on validation documents, averaged over folds.
        compatibility: only of options with a projection head.
        metrics: metrics on test documents, averaged over windows.
        macro: the same averaged over documents.
        in_document: metrics among the passages of the window's document only.
        context_left_in: metrics with the passages already read among the candidates.
        prefix: metrics without all earlier passages of the document.
        fresh: metrics among passages of documents that were not trained on.
        latency: percentiles by stage.
        delta: this entry minus each reference.
    """

    name: str
    intent: Intent
    family: Family
    description: str
    question: str
    risk: Risk
    status: Status
    reason: str | None = None
    validation: Scores | None = None
    training: TrainingRecord | None = None
    compatibility: Compatibility | None = None
    metrics: Metrics = {}
    macro: Scores = {}
    in_document: Scores = {}
    context_left_in: Scores = {}
    prefix: Scores = {}
    fresh: Scores = {}
    latency: Mapping[str, Percentiles] | None = None
    recall_curve: RecallCurve | None = None
    rank_histogram: RankHistogram | None = None
    delta: Differences = {}

    @property
    def measured(self) -> bool:
        """Whether it was evaluated on test documents."""
        return "R@5" in self.metrics

    @property
    def can_win(self) -> bool:
        """Whether it is a measured candidate."""
        return self.intent == "candidate" and self.measured

    @property
    def under_trained(self) -> bool:
        """Whether training stopped before its validation curve flattened."""
        return self.status == "under-trained" or (self.training is not None and self.training.under_trained)

    def value(self, metric: str) -> float | None:
        """Return a test metric without its interval; None where it was not computed."""
        found = self.metrics.get(metric)
        return None if found is None else found.value

    def validated(self, metric: str) -> float | None:
        """Return a validation metric; None where it was not computed."""
        return (self.validation or {}).get(metric)


class Procedure(RecordPart):
    """Evaluation of the choice itself: on each fold, the candidate that the rule chooses on that fold's validation.

    Attributes:
        chosen: the candidate of each fold.
        metrics: metrics on test documents.
        delta: minus each reference.
    """

    chosen: tuple[str, ...]
    metrics: Metrics
    delta: Differences


class GateRecord(RecordPart):
    """Result of one gate; the numbers are those of the condition that decided it.

    Attributes:
        text: its conditions in words.
        reason: why it ended so.
        source: where its thresholds come from.
    """

    name: str
    outcome: GateVerdict
    candidate: str
    value: float | None
    low: float | None
    high: float | None
    threshold: float | None
    text: str
    reason: str
    source: str = ""


class BeforeAfter(RecordPart):
    """Best validation MRR with the recipe's own settings and with those that were kept."""

    before: float | None
    after: float


class TuningRecord(RecordPart):
    """Search for the settings of one option on one fold.

    Attributes:
        steps: number of steps of each trial.
        pruned: trials that were stopped early.
        settings: those that were kept.
        own: those of the recipe.
    """

    format: int = 1
    option: str
    fold: int
    loss: str | None
    steps: int
    trials: int
    pruned: int
    failed: int
    best_trial: int
    settings: Mapping[str, float | bool | None]
    own: Mapping[str, float | bool | None]
    validation_mrr: BeforeAfter
    seconds: float


class RunFile(RecordPart):
    """One file of the run folder."""

    path: str
    what: str


def is_integrity(code: str) -> bool:
    """Return whether a code is that of an integrity check: letters, then a number from 100 to 199.

    >>> is_integrity("SG101"), is_integrity("MY101"), is_integrity("SG201")
    (True, True, False)
    """
    return code.lstrip(ascii_uppercase).startswith("1")


class Finding(RecordPart):
    """Result of one check on one case.

    Attributes:
        statement: one or two sentences with the figures.
        measured: the figure that decides, in ``unit``; None where it is not a number.
        threshold: what ``measured`` is compared with.
        healthy: what a healthy experiment measures.
        fix: what to do about an issue.
        details: further figures as JSON values; each check has its own.
        caveats: by entry, a sentence that bears on its headline number and is printed beside it.
    """

    code: str
    title: str
    question: str
    outcome: CheckOutcome
    statement: str
    measured: float | None = None
    threshold: float | None = None
    unit: str = ""
    healthy: str = ""
    fix: str = ""
    seconds: float = 0.0
    details: Mapping[str, object] = {}
    caveats: Mapping[str, str] = {}

    @property
    def blocks(self) -> bool:
        """Whether it blocks the headline numbers: an issue of an integrity check."""
        return is_integrity(self.code) and self.outcome == "issue"


class Cause(RecordPart):
    """A root cause with its evidence.

    Attributes:
        name: name in kebab-case, stable.
        statement: the evidence in the words of the checks.
        evidence: codes of the checks it rests on.
        options: options that address it.
        fix: what to do.
    """

    name: str
    title: str
    statement: str
    evidence: tuple[str, ...]
    options: tuple[str, ...]
    fix: str


class ThresholdPoint(RecordPart):
    """Effect of answering only from one confidence on: the share answered, and the share right among them."""

    threshold: float
    answered: Interval | None
    right: Interval | None = None


class ReliabilityBin(RecordPart):
    """Queries of similar confidence: the mean confidence and the share right."""

    confidence: float
    right: Interval | None


class AnswerQuality(RecordPart):
    """Quality of the confidence over queries.

    Attributes:
        right: share of right answers if all are given.
        brier: mean squared error of the confidence; ``brier_constant`` is that of always stating the share right.
        auroc: None where all answers are right, or none is.
    """

    right: Interval | None
    brier: Interval | None
    auroc: Interval | None
    brier_constant: float
    calibration_error: Interval | None
    curve: tuple[ThresholdPoint, ...]
    reliability: tuple[ReliabilityBin, ...]


class NoAnswerQuality(RecordPart):
    """Confidence over queries without a right answer.

    Attributes:
        separation: probability that an answerable query has more confidence than one of these (AUROC).
    """

    separation: Interval | None = Field(validation_alias=AliasChoices("separation", "told_from_answerable"))
    curve: tuple[ThresholdPoint, ...]


class CutoffQuality(RecordPart):
    """Quality of the confidence that the next passage is among the first k answers.

    Attributes:
        together: quality over all queries in the mix.
        answerable: quality over windows as they are.
        absent: quality over windows whose next passage was taken from the candidates.
        ended: quality over ends of documents.
        usable: whether right answers were shown to get more confidence than wrong ones.
    """

    together: AnswerQuality
    answerable: AnswerQuality
    absent: NoAnswerQuality | None = None
    ended: NoAnswerQuality | None = None
    usable: bool


class ConfidenceRecord(RecordPart):
    """Confidence of the winner, fitted on validation windows and judged on test windows.

    Attributes:
        mix: assumed share of each kind of query.
        queries: number of each kind, by part of the split.
        groups: groups of near-duplicate documents that the test queries come from.
        judged: by cutoff (``R@1``, ``R@5``).
    """

    option: str
    mix: Mapping[str, float]
    queries: Mapping[str, Mapping[str, int]] = Field(validation_alias=AliasChoices("queries", "asked"))
    groups: int
    judged: Mapping[str, CutoffQuality]


class CorpusRecord(RecordPart):
    """Corpus of the run and size of its bank; ``skipped`` counts documents by reason."""

    kind: str
    name: str
    documents: int | None = None
    passages: int | None = None
    characters: int | None = None
    skipped: Mapping[str, int] = {}


class FreshRecord(RecordPart):
    """Fresh documents that the test windows come from, where they are not the run's own."""

    kind: str
    name: str
    documents: int
    windows: int
    skipped: Mapping[str, int] = {}


class EncoderRecord(RecordPart):
    """Embedding space of the bank, without its fingerprint."""

    encoder: str
    revision: str
    dimension: int
    pooling: str
    normalised: bool
    prompt: str
    maximum_tokens: int | None
    precision: str
    declared: bool = False
    probe_list: int | None = None


class MachineRecord(RecordPart):
    """Machine and versions that the numbers were measured with."""

    cpu: str
    cores: int
    memory_gb: float
    system: str
    python: str
    torch: str
    numpy: str
    faiss: str
    arithmetic: str | None = None
    """Kind of product for each work, where it was chosen by measuring."""


class ArticleDropout(RecordPart):
    """Share of windows whose last passages are zeroed in training, for models with and without an anchor."""

    anchored: float
    bare: float


class Setup(RecordPart):
    """Data, settings and machine of the measurements.

    Attributes:
        created: ISO 8601, UTC.
        pool: candidates, duplicates counted once.
        windows: test windows of all folds.
        documents: test documents of all folds.
        context: passages of a window.
        exclude: passages that leave the candidates.
        seeds: one for each fold.
        size: preset of model sizes.
        seconds: time by stage.
        dropped_windows: windows left out, by reason.
    """

    segue: str
    created: str
    title: str
    corpus: CorpusRecord
    encoder: EncoderRecord
    pool: int
    windows: int
    documents: int
    folds: int
    context: int
    exclude: Exclusion
    seeds: tuple[int, ...]
    size: str
    machine: MachineRecord
    seconds: Mapping[str, float]
    dropped_windows: Mapping[str, int]
    fresh: FreshRecord | None = None


class OwnMetric(RecordPart):
    """What a metric of your own declares."""

    larger_is_better: bool = True
    description: str = ""


class ChoiceRecord(RecordPart):
    """How the winner was chosen on validation documents.

    Attributes:
        winner: the cheapest candidate that is not clearly worse than the best.
        best: the candidate with the best mean validation MRR.
        difference: validation MRR of the winner minus that of the best, by windows; None where they are the same.
        saved: what the winner costs less than the best, in words; "" where they are the same.
        fallback: why the best validation MRR alone decided, in words; "" where it did not.
    """

    winner: str
    best: str
    difference: PairedDifference | None = None
    saved: str = ""
    fallback: str = ""


class Compared(RecordPart):
    """Results of a comparison.

    Attributes:
        own_metrics: metrics of your own, by name; their values are among each entry's metrics.
        winner: what was chosen on validation documents; None when no candidate finished.
        choice: how; None when no candidate finished, and in files of older versions, which took the best MRR.
        winning_losses: for each fold the loss that architectures were trained with.
        procedure: None when no candidate finished.
        tuning: one for each option and fold that was tuned.
        entries: all options in the order of tables.
    """

    winner: str | None
    choice: ChoiceRecord | None = None
    own_metrics: Mapping[str, OwnMetric] = {}
    winning_losses: tuple[str, ...] | None
    article_dropout: ArticleDropout
    procedure: Procedure | None
    tuning: tuple[TuningRecord, ...] = ()
    gates: tuple[GateRecord, ...]
    entries: tuple[Entry, ...]


class Checked(RecordPart):
    """Findings of the checks and what follows from them.

    Attributes:
        muted: codes of checks that were switched off.
        blocked: codes of integrity checks with an issue.
        unsafe: whether numbers are printed, labelled, although a check blocks them or none vouches for them.
        subject: the option that the diagnosis is about.
        bank_changes: what changed in the bank after the run, in words, as ``segue report`` found it.
    """

    audit: tuple[Finding, ...] = ()
    diagnosis: tuple[Finding, ...] = ()
    causes: tuple[Cause, ...] = ()
    muted: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    unsafe: bool = False
    subject: str | None = None
    bank_changes: str | None = None


class Record(Setup, Compared, Checked):
    """Everything about one comparison: the content of ``triage.json``."""

    format: Literal[2] = FORMAT
    files: tuple[RunFile, ...] = ()
    confidence: ConfidenceRecord | None = None

    @property
    def refused(self) -> bool:
        """Whether no headline number may be printed."""
        return bool(self.blocked) and not self.unsafe

    def entry(self, name: str | None) -> Entry | None:
        """Return the entry of an option, or None where it did not take part."""
        return next((entry for entry in self.entries if entry.name == name), None)


def read_record(path: Path) -> Record:
    """Read ``triage.json`` of this version or an older one.

    Raises:
        InputError: the file is missing, broken, or no comparison.
        StorageError: the run folder holds another split or other results than it summarises.
    """
    values = read_with_current_names(path)
    require_hashes(path.parent, _that_are_there(path.parent, values.pop("of", None)),
                   fix=f"run `segue triage` again with this run folder, or restore {path}")  # fmt: skip
    try:
        return Record.model_validate(_from_format_1(values) if "format" not in values else values)
    except (ValidationError, KeyError, TypeError, AttributeError) as error:
        problem = error.errors()[0] if isinstance(error, ValidationError) else None
        got = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" if problem else f"no {error}"
        raise InputError(explain(f"{path} is not a comparison", got=got,
                                 fix="run `segue triage` or `segue evaluate` again")) from error  # fmt: skip


def write_record(path: Path, record: Record) -> None:
    """Write ``triage.json``, atomically, with the hashes of the split and the results that it summarises."""
    results = sorted(path.parent.glob("options/*/fold-*/result.json"))
    names = ["split.json", *(result.relative_to(path.parent).as_posix() for result in results)]
    write_json(path, {**record.to_json(), "of": hashes_of(path.parent, names)})


def _that_are_there(run: Path, known: object) -> object:
    """Return the hashes of the files that a run folder still has: a report needs none of them."""
    if not isinstance(known, dict):
        return None
    return {name: digest for name, digest in known.items() if (run / name).is_file()}


def _from_format_1(values: dict[str, Any]) -> dict[str, Any]:
    """Convert a file of version 0.1 to the present format."""
    dropout = values["article_dropout"]
    return {name: value for name, value in values.items() if name != "options"} | {
        "format": FORMAT,
        "entries": [_entry_of_format_1(entry) for entry in values["options"]],
        "article_dropout": {"anchored": dropout["with anchor"], "bare": dropout["without"]},
        **{name: [_with_fix(Finding, finding) for finding in values.get(name, ())] for name in ("audit", "diagnosis")},
        "causes": [_with_fix(Cause, cause) for cause in values.get("causes", ())],
    }


def _with_fix(kind: type[Finding] | type[Cause], values: Mapping[str, object]) -> dict[str, object]:
    """Put the fix under its present key. It is the only value whose key version 0.1 spelled differently."""
    return {name if name in kind.model_fields else "fix": value for name, value in values.items()}


def _entry_of_format_1(entry: dict[str, Any]) -> dict[str, Any]:
    training, compatibility = entry.get("training"), entry.get("compatibility")
    changed: dict[str, Any] = {}
    if training:
        curves = [[CurvePoint.of(point) for point in curve] for curve in training["curves"]]
        changed["training"] = training | {"curves": curves}
    if compatibility:
        changed["compatibility"] = Compatibility.of(compatibility)
    return entry | changed
