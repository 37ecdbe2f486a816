"""Windows that were answered badly: what was read, what came next, what was answered instead, and why.

*Why* is told by measurements alone: cosines in the bank's own space, documents and positions, and how often a passage
is answered. Every window whose first answer is wrong is of one kind, the first that applies:

- ``near-copy``: the first answer nearly repeats the passage that came next;
- ``soon``: it comes one or two passages after what came next;
- ``break``: what came next is no nearer to anything read than passages drawn by chance are to each other;
- ``same-document``: the first answer stands elsewhere in the document that was read;
- ``hub``: it is one of the 1 % of passages that are answered most, whatever is asked;
- ``copying``: it is nearer to the last passage read than what came next is;
- ``other``: none of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.windows.windows import HORIZON
from segue.checks.diagnosis.sg208_hubs import num_hubs, occurrences
from segue.runs.runs import Answered
from segue.types import Bank

KINDS = ("right", "near-copy", "soon", "break", "same-document", "hub", "copying", "other")
NEAR_COPY = 0.95
"""Cosine from which two passages say nearly the same."""
RANDOM_PAIRS, CHANCE_LEVEL = 4000, 0.95
FIRST = 5
"""Places in which hubs are counted."""
SHOWN = 5
"""Answers that a window is described with."""


@dataclass(frozen=True)
class Diagnosis:
    """What the windows of a row have in common.

    Attributes:
        kind: place of each window's kind in ``KINDS``.
        counts: how often each row of the bank is among the first five.
        chance: cosine that 19 of 20 random pairs of passages stay below.
        hub: fewest times that make a passage one of the most answered.
    """

    kind: Int[np.ndarray, "window"]
    counts: Int[np.ndarray, "row"]
    chance: float
    hub: int


def diagnose(bank: Bank, answered: Answered) -> Diagnosis:
    """Say of every window of which kind it is."""
    first, targets = np.maximum(answered.rankings[:, 0], 0), answered.targets
    truth, best, last = bank.gather(targets), bank.gather(first), bank.gather(answered.context[:, -1])
    here = bank.document_of[first] == bank.document_of[targets]
    away = bank.position[first].astype(np.int64) - bank.position[targets]
    chance = chance_cosine(bank)
    counts = occurrences(answered.rankings[:, :FIRST], len(bank))
    hub = hub_line(counts, answered.pool_size)
    tests = [
        answered.ranks == 1,
        _cosines(truth, best) >= NEAR_COPY,
        here & (away > 0) & (away < HORIZON),
        _nearest_read(bank, answered.context, truth) < chance,
        here,
        counts[first] >= hub,
        _cosines(best, last) > _cosines(truth, last),
    ]
    tests[1:] = [test & (answered.rankings[:, 0] >= 0) for test in tests[1:]]
    return Diagnosis(first_that_applies(tests), counts, chance, hub)


def first_that_applies(tests: list[Bool[np.ndarray, "window"]]) -> Int[np.ndarray, "window"]:
    """Return the number of the first test that each window passes, or how many there are.

    >>> first_that_applies([np.array([False, False]), np.array([True, False])]).tolist()
    [1, 2]
    """
    every = np.stack([*tests, np.ones_like(tests[0])])
    return np.argmax(every, axis=0).astype(np.int64)


def chance_cosine(bank: Bank) -> float:
    """Return the cosine that 19 of 20 pairs of passages drawn at random stay below."""
    generator = np.random.default_rng(0)
    left, right = generator.integers(0, len(bank), (2, RANDOM_PAIRS))
    apart = bank.duplicate_group[left] != bank.duplicate_group[right]
    cosines = _cosines(bank.gather(left), bank.gather(right))[apart]
    return float(np.quantile(cosines, CHANCE_LEVEL)) if len(cosines) else 0.0


def hub_line(counts: Int[np.ndarray, "row"], pool_size: int) -> int:
    """Return how often a passage must be answered to be one of the 1 % that are answered most; at least 3 times.

    >>> hub_line(np.array([9, 1, 1, 0]), 4)
    9
    """
    return max(3, int(np.sort(counts)[::-1][num_hubs(pool_size) - 1]))


def _cosines(a: Float[np.ndarray, "n dim"], b: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n"]:
    return np.einsum("nd,nd->n", a, b, dtype=np.float64)


def _nearest_read(
    bank: Bank, context: Int[np.ndarray, "window context"], truth: Float[np.ndarray, "window dim"]
) -> Float[np.ndarray, "window"]:
    """Return the cosine of what came next to the nearest passage read."""
    columns = [np.where(rows >= 0, _cosines(bank.gather(np.maximum(rows, 0)), truth), -1.0) for rows in context.T]
    return np.max(columns, axis=0)


def order_windows(answered: Answered, order: str) -> Int[np.ndarray, "window"]:
    """Return window numbers in an order: worst or best rank first, or as in the documents."""
    if order == "reading":
        return np.argsort(answered.targets, kind="stable")
    ranks = answered.ranks if order == "best" else -answered.ranks
    return np.lexsort((answered.targets, ranks))


def count_kinds(diagnosis: Diagnosis) -> dict[str, int]:
    """Count the windows of each kind."""
    return dict(zip(KINDS, np.bincount(diagnosis.kind, minlength=len(KINDS)).tolist(), strict=True))


def describe_window(
    bank: Bank, answered: Answered, diagnosis: Diagnosis, number: int, others: Mapping[str, int]
) -> dict[str, Any]:
    """Describe one window in full.

    Args:
        bank: the run's.
        answered: the row's answers.
        diagnosis: of the same row.
        number: of the window.
        others: rank of the same passage by other rows of the run.
    """
    target, read = int(answered.targets[number]), answered.context[number]
    read = read[read >= 0]
    found = answered.rankings[number, :SHOWN]
    found = found[found >= 0]
    vectors, truth = bank.gather(read), bank.gather(np.array([target]))[0]
    return {
        **passage_of(bank, target),
        "rank": int(answered.ranks[number]),
        "kind": KINDS[diagnosis.kind[number]],
        "cosine": None if answered.cosine is None else float(answered.cosine[number]),
        "read": [passage_of(bank, row) | {"to_truth": float(vector @ truth)}
                 for row, vector in zip(read.tolist(), vectors, strict=True)],
        "found": [passage_of(bank, row) | {"why": _reasons(bank, diagnosis, row, target, vectors)}
                  for row in found.tolist()],
        "to_last": float(vectors[-1] @ truth),
        "chance": diagnosis.chance,
        "others": dict(others),
    }  # fmt: skip


def _reasons(bank: Bank, diagnosis: Diagnosis, row: int, target: int, read: Float[np.ndarray, "read dim"]) -> list[str]:
    """Say what speaks for a passage that was answered, in words with their figures."""
    vector, truth = bank.gather(np.array([row, target]))
    if bank.duplicate_group[row] == bank.duplicate_group[target]:
        return ["this is what came next"]
    return [reason for reason in (
        _nearly_true(float(vector @ truth)),
        _same_document(bank, row, target),
        _compared("the last passage read", float(read[-1] @ vector), float(read[-1] @ truth)),
        _compared("what was read on the whole", float((read @ vector).mean()), float((read @ truth).mean())),
        f"among the first five for {diagnosis.counts[row]} windows" if diagnosis.counts[row] >= diagnosis.hub else None,
    ) if reason]  # fmt: skip


def _nearly_true(cosine: float) -> str | None:
    return f"nearly what came next (cosine {cosine:.2f})" if cosine >= NEAR_COPY else None


def _same_document(bank: Bank, row: int, target: int) -> str | None:
    if bank.document_of[row] != bank.document_of[target]:
        return None
    away = int(bank.position[row]) - int(bank.position[target])
    passages = "one passage" if abs(away) == 1 else f"{abs(away)} passages"
    return f"same document, {passages} {'further on' if away > 0 else 'before'}"


def _compared(what: str, ours: float, true: float) -> str | None:
    """Compare an answer's cosine with that of what came next; nothing is said where the latter is the nearer one."""
    return f"nearer to {what} ({ours:.2f}) than what came next ({true:.2f})" if ours > true else None


def passage_of(bank: Bank, row: int) -> dict[str, Any]:
    """Describe a passage of the bank."""
    rows = np.array([row], dtype=np.int64)
    number = int(bank.document_of[row])
    return {
        "id": bank.passage_ids(rows)[0],
        "document": bank.document_ids[number],
        "title": bank.document_titles[number],
        "position": int(bank.position[row]),
        "text": bank.texts(rows)[0] if bank.has_texts else None,
    }
