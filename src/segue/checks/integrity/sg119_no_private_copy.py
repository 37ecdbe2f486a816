"""SG119: does a model know which passage follows, without computing it?

A model that keeps passages of its own and looks the last one up finds the next passage of a document that it was never
trained on. Changes of the bank do not reach its copy, so it is queried about passages that exist nowhere: contexts on
the way from one test document to another. What a net computes from the context moves little by little. What is looked
up stays, and then jumps from one true next passage to the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from segue.checks.case import BATCH, Case, CaseEntry, Part
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.run import each_entry
from segue.checks.statistics import percent
from segue.evaluation.geometry import arcs
from segue.types import Contexts, Windows

WAYS = 40
"""Pairs of windows between which an entry is queried."""
FEWEST_WAYS = 12
STEPS = 48
"""Steps of each way; a function that moves evenly covers about 0.03 of the distance in its largest step."""
JUMP = 0.06
"""Median largest step towards the other document's next passage, as a share of the distance of the two."""
MOST_CHANCE = 0.75
"""Share of ways on which the step is larger than the one towards other passages of the two documents."""
AS_SURE = 0.7
"""A memory of training documents jumps further in those; what jumps this share of it in others holds them too."""


@dataclass(frozen=True)
class Jumps:
    """Largest steps of an entry's answers: medians over the ways, as shares of the distance.

    Attributes:
        test: towards the true next passage, between test documents.
        elsewhere: towards another passage of the same documents (control).
        larger: share of ways on which the first is larger than the second.
        train: as ``test``, between training documents; None where it was not needed.
    """

    test: float
    elsewhere: float
    larger: float
    train: float | None = None

    @property
    def looked_up(self) -> bool:
        """Whether the true next passages are known and not computed."""
        known = self.test >= JUMP and self.larger >= MOST_CHANCE
        return known and (self.train is None or self.test >= AS_SURE * self.train)


def examine(case: Case) -> Verdict:
    """Query each entry on the way between windows of different documents."""
    if len(_pairs(case, "test")[0]) < FEWEST_WAYS:
        return not_applicable("there are too few test windows of different documents with as many passages before them")
    found, error = each_entry(case.non_controls, lambda entry: _jumps(case, entry))
    worst = max((jumps.test for jumps in found.values()), default=0.0)
    wrong = {name: jumps for name, jumps in found.items() if jumps.looked_up}
    if wrong:
        said = [f"on the way from one test document to another, one step of {STEPS} takes {name} {percent(one.test)} "
                f"of the distance to the other's next passage ({percent(one.elsewhere)} towards its other passages)"
                for name, one in list(wrong.items())[:3]]  # fmt: skip
        text = f"{'; '.join(said)}: it is looked up, not computed."
        return Verdict("issue", text[0].upper() + text[1:], worst, JUMP, {"rows": found})
    if not found:
        return not_applicable("no entry makes query vectors of context vectors alone", error)
    said_passed = (f"Between two test documents the answers of {len(found)} entries take at most {percent(worst)} of "
                   "the distance of their next passages in one step, or no more than towards others.")  # fmt: skip
    return Verdict("passed", said_passed, worst, JUMP, {"rows": found}, error=error)


def _jumps(case: Case, entry: CaseEntry) -> Jumps | None:
    """Measure an entry's steps; None where it makes no query vectors of context vectors alone."""
    if entry.vector_search is None:
        return None
    test, elsewhere = _largest_steps(case, entry, "test")
    jumps = Jumps(float(np.median(test)), float(np.median(elsewhere)), float((test > elsewhere).mean()))
    if jumps.looked_up and len(_pairs(case, "train")[0]) >= FEWEST_WAYS:
        return replace(jumps, train=float(np.median(_largest_steps(case, entry, "train")[0])))
    return jumps


def _pairs(case: Case, part: Part) -> tuple[Windows, Windows]:
    """Draw pairs of windows of different documents, all with the most frequent number of passages read."""
    windows = case.sample(case.folds[0], part)
    lengths = (windows.context >= 0).sum(axis=1)
    usual = np.bincount(lengths, minlength=2)[1:].argmax() + 1
    windows = windows.take(lengths == usual)
    generator = case.generator(f"SG119 {part}")
    groups = case.groups_of(windows)
    left, right = (generator.integers(max(len(windows), 1), size=4 * WAYS if len(windows) else 0) for _ in range(2))
    apart = np.flatnonzero(groups[left] != groups[right])[:WAYS]
    return windows.take(left[apart]), windows.take(right[apart])


def _largest_steps(
    case: Case, entry: CaseEntry, part: Part
) -> tuple[Float[np.ndarray, "way"], Float[np.ndarray, "way"]]:
    """Return the largest step on each way towards the next passage, and towards another passage of the document."""
    start, end = _pairs(case, part)
    answers = _on_the_way(case, entry, start, end)
    generator = case.generator(f"SG119 other passages {part}")
    others = [_elsewhere(case, windows, generator) for windows in (start, end)]
    towards = []
    for left, right in ((start.target, end.target), others):
        way = np.subtract(*(entry.as_searched(case.bank.gather(rows)).astype(np.float64) for rows in (right, left)))
        along = np.einsum("swd,wd->sw", answers, way) / np.maximum((way**2).sum(axis=1), 1e-12)
        towards.append(np.abs(np.diff(along, axis=0)).max(axis=0))
    return towards[0], towards[1]


def _elsewhere(case: Case, windows: Windows, generator: np.random.Generator) -> Int[np.ndarray, "window"]:
    """Choose another passage of each window's document: neither read, nor the target, nor the one after it."""
    bank, chosen = case.bank, []
    for context, target in zip(windows.context, windows.target, strict=True):
        document = bank.document_of[target]
        rows = np.arange(bank.first_row[document], bank.first_row[document] + bank.num_rows[document])
        free = rows[~np.isin(rows, context) & (np.abs(rows - target) > 1)]
        chosen.append(generator.choice(free if len(free) else rows))
    return np.array(chosen, dtype=np.int64)


def _on_the_way(case: Case, entry: CaseEntry, start: Windows, end: Windows) -> Float[np.ndarray, "step way dim"]:
    """Return an entry's answers to contexts that go from ``start`` to ``end`` along arcs of the sphere."""
    search = entry.vector_search
    assert search is not None
    left, right = (np.asarray(case.read(windows).vectors, dtype=np.float64) for windows in (start, end))
    mask = start.context >= 0
    vectors = np.concatenate(arcs(left, right, STEPS)).astype(np.float32)
    nowhere = np.full((len(vectors), mask.shape[1]), -1, dtype=np.int64)
    everywhere = Contexts(vectors, np.tile(mask, (STEPS + 1, 1)), nowhere, nowhere[:, :0])
    size = entry.retriever.batch_limit or BATCH
    batches = (everywhere.take(slice(first, first + size)) for first in range(0, len(vectors), size))
    parts = [search.score(batch).queries for batch in batches]
    queries = np.concatenate([part for part in parts if part is not None]).astype(np.float64)
    return queries.reshape(STEPS + 1, len(start), -1)


CHECK = Check(
    code="SG119",
    title="No private copy",
    question="Does a model look the next passage up in a copy of the bank of its own?",
    detection=f"Contexts that exist nowhere: {WAYS} ways of {STEPS} steps along the sphere, each from one test window "
    "to a window of another document. The largest step of the answer towards the other document's true next passage "
    f"is measured as a share of the distance of the two. An issue: its median is at least {JUMP:g}, it is larger than "
    f"the step towards another passage of the same documents on at least {MOST_CHANCE:.0%} of the ways, and at least "
    f"{AS_SURE:g} of the step between training documents (a memory of training passages is allowed). Controls and "
    "entries that read texts are not examined.",
    why="A class that loads the bank, or a cache of it, and returns the row after the one most like the last passage "
    "scores up to 100 % and answers nothing in use. Changing the evaluated bank does not reach its copy.",
    healthy="0.003 to 0.03; a copy of the bank 1.0, mixed with nine parts of the last passage 0.11",
    fix="take the passages out of the model: it may hold what it learnt from training documents only; train and "
    "evaluate again",
    unit="share of the distance",
    examine=examine,
    needs=("windows", "entries"),
)
