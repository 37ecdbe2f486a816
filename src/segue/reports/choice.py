"""How the choice on validation compares, and how often each option was trained.

With folds, one fold's validation documents are another's test documents, so a winner's own paired test is a little too
good: there the choice made anew inside each fold (the *procedure*) is what is judged.
"""

from __future__ import annotations

from segue.reports.record import Comparison, Contrast, Row, mapping, sequence
from segue.reports.text.numbers import of_things

ENOUGH_SEEDS = 3
"""Trainings of the same option on the same documents that a claim about a method wants."""
BY_PROCEDURE = "choosing anew inside each fold has"


def has_folds(comparison: Comparison) -> bool:
    """Whether there is more than one fold."""
    return (comparison.amount("folds") or 1) > 1


def procedure_row(comparison: Comparison) -> Row | None:
    """The procedure as a row; None with a single split, or where it was not compared with anything."""
    record = mapping(comparison.data.get("procedure"))
    if comparison.winner is None or not has_folds(comparison) or not mapping(record.get("delta")):
        return None
    return Row({**record, "name": "procedure"})


def choice_against(comparison: Comparison, reference: Row, metric: str = "R@5") -> Contrast | None:
    """Compare what was chosen with a reference: with folds by the procedure, else by the leader's own row."""
    leader = comparison.leader
    if leader is None or leader.name == reference.name:
        return None
    return (procedure_row(comparison) or leader).against(reference, metric)


def repeats(comparison: Comparison) -> int:
    """How many seeds each option was trained with on the same documents; seeds of other folds are no repeats."""
    seeds = len(sequence(comparison.data.get("seeds")))
    if not has_folds(comparison):
        return seeds
    return max(seeds // int(comparison.amount("folds") or 1), min(seeds, 1))


def seeds_said(comparison: Comparison) -> str:
    """Say how often each option was trained, or nothing where that is not on record."""
    had = repeats(comparison)
    if had == 0:
        return ""
    if not has_folds(comparison):
        return of_things(had, "training seed")
    folds = of_things(comparison.amount("folds"), "fold")
    return f"{of_things(had, 'training seed')} on each of {folds} (folds are other documents, not repeats)"
