"""Comparisons between entries of a record: which is better, which was chosen, and how often each was trained.

Nothing is measured here. The numbers of an under-trained entry are lower bounds: that it is worse than another, or that
another is better than it, is never decided. With folds, one fold's validation documents are another's test documents,
so the winner's own paired test is a little too good: there the choice made again inside each fold (the *procedure*) is
judged instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from segue.comparison.record import Entry, Family, PairedDifference, Procedure, Record, TrainingRecord
from segue.reports.text import SCALES, code, of_things, p_value
from segue.types import Interval

Outcome = Literal["better", "worse", "undecided"]
SIGNIFICANCE = 0.05
ENOUGH_SEEDS = 3
"""Trainings of one option on the same documents that a claim about a method needs."""
BY_PROCEDURE = "choosing again in each fold has"

FAMILIES: dict[Family, str] = {
    "baseline": "Baselines without training",
    "loss": "Losses, same architecture",
    "architecture": "Architectures, from the anchor, under the winning loss",
    "towers": "Two towers and siamese, from the anchor, under InfoNCE",
    "rerank": "Retrieve, then rerank",
    "own": "Your own retrievers",
    "control": "Controls: break a rule on purpose, cannot win",
}
"""Families in the order of tables, with their titles."""


@dataclass(frozen=True)
class Contrast:
    """One entry minus another.

    Attributes:
        difference: the difference, with its interval where the two were compared window by window.
        p: p-value of the paired test, adjusted by Holm.
        paired: False when only the two entries' own intervals are known.
        outcome: *better* or *worse* only where the evidence suffices.
        late: whether it stays undecided because one of the two is under-trained.
    """

    difference: Interval
    p: float | None
    paired: bool
    outcome: Outcome
    late: bool = False

    def sentence(self, metric: str = "R@5") -> str:
        """Print the difference with its interval and p-value for a sentence."""
        scale = SCALES[metric]
        notes = [note for note in (scale.signed_span(self.difference), p_value(self.p)) if note]
        if not self.paired:
            notes += ["not paired" if self.outcome == "undecided" else "not paired; the two intervals do not touch"]
        text = f"{scale.signed(self.difference.value)}{scale.difference_unit}"
        return f"{text} ({', '.join(notes)})" if notes else text


def against(one: Entry | Procedure, other: Entry, metric: str = "R@5") -> Contrast | None:
    """Subtract ``other`` from ``one``: by the paired test of either, or by both intervals if there is none."""
    found = _measured_contrast(one, other, metric)
    if found is None:
        return None
    bounds = [(isinstance(one, Entry) and one.under_trained, "worse"), (other.under_trained, "better")]
    if any(is_late and found.outcome == outcome for is_late, outcome in bounds):
        return replace(found, outcome="undecided", late=True)
    return found


def _measured_contrast(one: Entry | Procedure, other: Entry, metric: str) -> Contrast | None:
    if found := one.delta.get(other.name, {}).get(metric):
        return _paired(found)
    if isinstance(one, Entry) and (found := other.delta.get(one.name, {}).get(metric)):
        return _paired(PairedDifference(value=-found.value, low=_negative(found.high), high=_negative(found.low),
                                        p=found.p))  # fmt: skip
    mine, theirs = one.metrics.get(metric), other.metrics.get(metric)
    return None if mine is None or theirs is None else _unpaired(mine, theirs)


def _paired(found: PairedDifference) -> Contrast:
    """Decide a difference: its interval leaves out 0 and its p-value, where known, is below 0.05."""
    outcome: Outcome = "undecided"
    if found.low is not None and found.high is not None and (found.p is None or found.p < SIGNIFICANCE):
        outcome = "better" if found.low > 0 else "worse" if found.high < 0 else "undecided"
    return Contrast(found.interval, found.p, True, outcome)


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def _unpaired(one: Interval, other: Interval) -> Contrast:
    """Compare two intervals; decided only when they do not touch, which is stricter than a paired test."""
    outcome: Outcome = "undecided"
    if one.low is not None and other.high is not None and one.low > other.high:
        outcome = "better"
    elif one.high is not None and other.low is not None and one.high < other.low:
        outcome = "worse"
    return Contrast(Interval(one.value - other.value), None, False, outcome)


def beats(one: Entry, other: Entry) -> bool:
    """Return whether one entry is clearly better than another in R@5."""
    contrast = against(one, other) if one.name != other.name else None
    return contrast is not None and contrast.outcome == "better"


def converged(entry: Entry) -> bool:
    """Return whether an entry was measured and is not under-trained; without training there is nothing to wait for."""
    return entry.measured and not entry.under_trained


def differences(record: Record, one: Entry, other: Entry) -> tuple[str, ...]:
    """Return in which respects two trained entries differ; none for entries without training."""
    mine, theirs = one.training, other.training
    if mine is None or theirs is None:
        return ()
    dropout = record.article_dropout
    found = {
        "architecture": mine.model != theirs.model or mine.documents != theirs.documents,
        "size": mine.size != theirs.size,
        "loss": not _same_loss(mine, theirs),
        "anchor": mine.anchor != theirs.anchor,
        "article dropout": mine.anchor != theirs.anchor and dropout.anchored != dropout.bare,
        "batch size": mine.batch_size != theirs.batch_size,
        "reranking": (one.family == "rerank") != (other.family == "rerank"),
    }
    return tuple(name for name, is_other in found.items() if is_other)


def _same_loss(one: TrainingRecord, other: TrainingRecord) -> bool:
    """Return whether two trainings had one loss, fold by fold; a single one stands for all folds."""
    losses = [training.losses or (training.loss,) for training in (one, other)]
    if len(losses[0]) == len(losses[1]):
        return losses[0] == losses[1]
    return {*losses[0]} == {*losses[1]} and len({*losses[0]}) == 1


def measured(record: Record, name: str | None) -> Entry | None:
    """Return the entry of that name if it was measured."""
    entry = record.entry(name)
    return entry if entry is not None and entry.measured else None


def candidates(record: Record) -> list[Entry]:
    """Return the measured entries that may win."""
    return [entry for entry in record.entries if entry.can_win]


def trained(record: Record) -> list[Entry]:
    """Return the measured entries with weights learnt by gradient descent, the projected ones among them."""
    return [entry for entry in record.entries if entry.training and entry.measured]


def winner(record: Record) -> Entry | None:
    """Return the candidate that was chosen on validation; None while numbers are refused."""
    entry = record.entry(record.winner)
    return entry if entry is not None and entry.can_win and not record.refused else None


def won(record: Record, entry: Entry) -> bool:
    """Return whether an entry is the winner."""
    return entry.name == record.winner and winner(record) is not None


def leader(record: Record) -> Entry | None:
    """Return the winner, or without one the candidate with the best validation MRR."""
    return winner(record) or best_on_validation(candidates(record))


def best_on_validation(entries: Iterable[Entry]) -> Entry | None:
    """Return the entry with the highest validation MRR, or None where none has one."""
    scored = [(score, entry) for entry in entries if (score := entry.validated("MRR")) is not None]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def choice_in_words(record: Record) -> str:
    """State why the winner was chosen, on validation; "" without a winner."""
    choice = record.choice
    if winner(record) is None:
        return ""
    if choice is None or choice.fallback:  # None: a file of an older version
        return f"the best MRR on validation{f', which alone decided: {choice.fallback}' if choice else ''}"
    if choice.difference is None:
        return "the best on validation, where every cheaper option is clearly worse"
    scale, found = SCALES["MRR"], choice.difference
    return (f"on validation as good as {code(choice.best)} (MRR {scale.signed(found.value)}, "
            f"{scale.signed_span(found.interval)}), {choice.saved}")  # fmt: skip


def chosen_for_cost(record: Record) -> bool:
    """Return whether the winner is a cheaper option than the best on validation."""
    return winner(record) is not None and record.choice is not None and record.choice.difference is not None


def best_baseline(record: Record) -> Entry | None:
    """Return the winner where it is a baseline, else the baseline that did best on validation, or copy-last."""
    chosen = winner(record)
    if chosen is not None and chosen.family == "baseline":
        return chosen
    untrained = [entry for entry in candidates(record) if entry.family == "baseline"]
    return best_on_validation(untrained) or measured(record, "copy-last")


def reranked_copies(record: Record, chosen: Entry) -> Entry | None:
    """Return the same reranker over copy-last for an entry that reranks; None for it and for any other entry."""
    found = measured(record, "copy-last-rerank")
    return found if found and chosen.family == "rerank" and chosen.name != found.name else None


def judged_procedure(record: Record) -> Procedure | None:
    """Return the procedure if it represents the choice: with folds, and compared with a reference."""
    found = record.procedure
    return found if found and found.delta and record.folds > 1 and winner(record) else None


def choice_against(record: Record, reference: Entry, metric: str = "R@5") -> Contrast | None:
    """Compare what was chosen with a reference: with folds by the procedure, else by the leader's own entry."""
    chosen = leader(record)
    if chosen is None or chosen.name == reference.name:
        return None
    return against(judged_procedure(record) or chosen, reference, metric)


def choice_difference(record: Record, contrast: Contrast) -> str:
    """Print the difference of ``choice_against``, and whose it is where that is not the leader's own."""
    return f"{BY_PROCEDURE} {contrast.sentence()}" if judged_procedure(record) else contrast.sentence()


def repeats(record: Record) -> int:
    """Return how often each option was trained on the same documents; seeds of other folds are not repeats."""
    seeds = len(record.seeds)
    return max(seeds // record.folds, min(seeds, 1))


def seeds_sentence(record: Record) -> str:
    """State how often each option was trained."""
    text = of_things(repeats(record), "training seed")
    if record.folds == 1:
        return text
    return f"{text} on each of {of_things(record.folds, 'fold')} (folds are other documents, not repeats)"
