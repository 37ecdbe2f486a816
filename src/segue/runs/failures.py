"""Kinds of failures: why the first answer of a window is wrong.

Kinds are distinguished by measurements alone: cosines in the bank's space, documents and positions, and how often a
passage is answered. A window whose first answer is wrong is of the first kind that applies:

- ``near-copy``: the first answer nearly repeats the passage that came next;
- ``soon``: it comes one or two passages after what came next;
- ``break``: what came next is no nearer to anything read than random passages are to each other;
- ``same-document``: the first answer is elsewhere in the document that was read;
- ``hub``: it is one of the 1 % of passages answered most often;
- ``copying``: it is nearer to the last passage read than what came next is;
- ``other``: none of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

import numpy as np
from jaxtyping import Float, Int

from segue.evaluation.geometry import num_hubs, occurrences
from segue.runs.runs import EntryAnswers
from segue.types import Bank
from segue.windows.windows import HORIZON

Kind = Literal["right", "near-copy", "soon", "break", "same-document", "hub", "copying", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NEAR_COPY = 0.95
"""Cosine from which two passages count as nearly the same."""
RANDOM_PAIRS, CHANCE_LEVEL = 4000, 0.95
FIRST = 5
"""Places in which hubs are counted."""
SHOWN = 5
"""Answers shown with a window."""


class PassageFacts(TypedDict):
    """A passage of the bank as JSON; the text is null where the bank has vectors only."""

    id: str
    document: str
    title: str
    position: int
    text: str | None


@dataclass(frozen=True)
class FailureKinds:
    """Kinds of an entry's windows, and the thresholds that decided them.

    Attributes:
        kind: index into ``KINDS`` of each window.
        counts: how often each row of the bank is among the first five answers.
        chance: cosine that 19 of 20 random pairs of passages stay below.
        hub: smallest count of the passages answered most often.
    """

    kind: Int[np.ndarray, "window"]
    counts: Int[np.ndarray, "row"]
    chance: float
    hub: int


def classify(bank: Bank, answers: EntryAnswers) -> FailureKinds:
    """Return the kind of every window."""
    first, targets = np.maximum(answers.rankings[:, 0], 0), answers.targets
    truth, best, last = bank.gather(targets), bank.gather(first), bank.gather(answers.context[:, -1])
    same_document = bank.document_of[first] == bank.document_of[targets]
    ahead = bank.position[first].astype(np.int64) - bank.position[targets]
    chance = chance_cosine(bank)
    counts = occurrences(answers.rankings[:, :FIRST], len(bank))
    hub = hub_count(counts, answers.pool_size)
    tests = [
        answers.ranks == 1,
        _cosines(truth, best) >= NEAR_COPY,
        same_document & (ahead > 0) & (ahead < HORIZON),
        _nearest_read(bank, answers.context, truth) < chance,
        same_document,
        counts[first] >= hub,
        _cosines(best, last) > _cosines(truth, last),
    ]
    tests[1:] = [test & (answers.rankings[:, 0] >= 0) for test in tests[1:]]
    first_true = np.argmax(np.stack([*tests, np.ones_like(tests[0])]), axis=0)
    return FailureKinds(first_true.astype(np.int64), counts, chance, hub)


def chance_cosine(bank: Bank) -> float:
    """Return the cosine that 19 of 20 random pairs of passages stay below."""
    generator = np.random.default_rng(0)
    left, right = generator.integers(0, len(bank), (2, RANDOM_PAIRS))
    apart = bank.duplicate_group[left] != bank.duplicate_group[right]
    cosines = _cosines(bank.gather(left), bank.gather(right))[apart]
    return float(np.quantile(cosines, CHANCE_LEVEL)) if len(cosines) else 0.0


def hub_count(counts: Int[np.ndarray, "row"], pool_size: int) -> int:
    """Return the smallest count of the 1 % of passages answered most often; at least 3.

    >>> hub_count(np.array([9, 1, 1, 0]), 4)
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


def order_windows(answers: EntryAnswers, order: Literal["worst", "best", "reading"]) -> Int[np.ndarray, "window"]:
    """Return window numbers in an order: worst or best rank first, or as in the documents."""
    if order == "reading":
        return np.argsort(answers.targets, kind="stable")
    ranks = answers.ranks if order == "best" else -answers.ranks
    return np.lexsort((answers.targets, ranks))


def count_kinds(failures: FailureKinds) -> dict[Kind, int]:
    """Count the windows of each kind."""
    return dict(zip(KINDS, np.bincount(failures.kind, minlength=len(KINDS)).tolist(), strict=True))


def describe_window(
    bank: Bank, answers: EntryAnswers, failures: FailureKinds, number: int, others: Mapping[str, int]
) -> dict[str, object]:
    """Describe one window in full, as JSON; the passage is the one that came next.

    Args:
        bank: bank of the run.
        answers: answers of the entry.
        failures: kinds of the same entry's windows.
        number: window number.
        others: rank of the same passage in other entries of the run.
    """
    target, context, found = int(answers.targets[number]), answers.context[number], answers.rankings[number, :SHOWN]
    rows = context[context >= 0]
    read, truth = bank.gather(rows), bank.gather(np.array([target]))[0]
    return {
        **passage_of(bank, target),
        "rank": int(answers.ranks[number]),
        "kind": KINDS[failures.kind[number]],
        "cosine": None if answers.cosine is None else float(answers.cosine[number]),
        "read": [{**passage_of(bank, row), "to_truth": float(vector @ truth)}
                 for row, vector in zip(rows.tolist(), read, strict=True)],
        "found": [{**passage_of(bank, row), "why": _reasons(bank, failures, row, target, read)}
                  for row in found[found >= 0].tolist()],
        "to_last": float(read[-1] @ truth),
        "chance": failures.chance,
        "others": dict(others),
    }  # fmt: skip


def _reasons(
    bank: Bank, failures: FailureKinds, row: int, target: int, read: Float[np.ndarray, "read dim"]
) -> list[str]:
    """Return what may have put a passage first, in words with figures."""
    if bank.duplicate_group[row] == bank.duplicate_group[target]:
        return ["this is what came next"]
    vector, truth = bank.gather(np.array([row, target]))
    cosine, ahead, reasons = float(vector @ truth), int(bank.position[row]) - int(bank.position[target]), []
    if cosine >= NEAR_COPY:
        reasons.append(f"nearly what came next (cosine {cosine:.2f})")
    if bank.document_of[row] == bank.document_of[target]:
        passages = "one passage" if abs(ahead) == 1 else f"{abs(ahead)} passages"
        reasons.append(f"same document, {passages} {'later' if ahead > 0 else 'earlier'}")
    compared = {"the last passage read": read[-1:], "the passages read on average": read}
    for what, passages_read in compared.items():
        ours, true = (passages_read @ vector).mean(), (passages_read @ truth).mean()
        if ours > true:
            reasons.append(f"nearer to {what} ({ours:.2f}) than what came next ({true:.2f})")
    if failures.counts[row] >= failures.hub:
        reasons.append(f"among the first five for {failures.counts[row]} windows")
    return reasons


def passage_of(bank: Bank, row: int) -> PassageFacts:
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
