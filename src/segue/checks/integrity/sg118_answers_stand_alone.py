"""SG118: does an answer depend on the other windows of its batch?

The windows of one evaluation batch are queried again in other company: in reversed order, every second one, and each
alone. In use a context is queried alone, or beside contexts of other users.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from segue.checks.case import BATCH, Case, CaseEntry, spread
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.run import each_entry
from segue.checks.statistics import percent
from segue.types import Contexts

ALONE = 32
"""Windows that are queried alone."""
CLOSE = 0.01
"""Distance of two unit vectors that rounding of half precision may make."""
MOST_MOVED = 0.05
"""Share of windows whose answer may move by more."""


@dataclass(frozen=True)
class Company:
    """Shares of answers that another company moves, and the largest distance."""

    reversed: float
    halved: float
    alone: float
    largest: float

    @property
    def moved(self) -> float:
        """The largest of the shares."""
        return max(self.reversed, self.halved, self.alone)


def examine(case: Case) -> Verdict:
    """Query the first evaluation batch of every entry again, in other batches."""
    found, error = each_entry(case.non_controls, lambda entry: _company(case, entry))
    moved = {name: company for name, company in found.items() if company.moved > MOST_MOVED}
    worst = max((company.moved for company in found.values()), default=0.0)
    if moved:
        said = [f"{percent(one.alone)} of the answers of {name} move when their window is queried alone, "
                f"{percent(one.reversed)} when the batch is in another order (by up to {one.largest:.2g})"
                for name, one in list(moved.items())[:3]]  # fmt: skip
        others = len(found) - len(moved)
        control = f" The answers of {others} other entries do not move (control)." if others else ""
        return Verdict("issue", f"{'; '.join(said)}.{control}", worst, MOST_MOVED, {"rows": found})
    if not found:
        return not_applicable("no entry makes query vectors of context vectors alone", error)
    largest = max(company.largest for company in found.values())
    said_passed = (f"The answers of {len(found)} entries are the same in another order, beside other windows and "
                   f"alone: they differ by at most {largest:.1g}.")  # fmt: skip
    return Verdict("passed", said_passed, worst, MOST_MOVED, {"rows": found}, error=error)


def _company(case: Case, entry: CaseEntry) -> Company | None:
    """Return how an entry's answers move; None where it makes no query vectors, or has a single window."""
    search = entry.vector_search
    windows = case.fold_of(entry).test
    windows = windows.take(np.asarray((windows.context >= 0).any(axis=1))).take(slice(0, BATCH))
    if search is None or len(windows) < 2:
        return None
    contexts = case.read(windows)

    def answers(part: Contexts) -> Float[np.ndarray, "window dim"]:
        queries = search.score(part).queries
        assert queries is not None
        return queries.astype(np.float64)

    before = answers(contexts)
    everyone = np.arange(len(windows))
    companies = [everyone[::-1]], [everyone[::2]], list(spread(len(windows), ALONE)[:, None])
    apart = [np.linalg.norm(np.concatenate([answers(contexts.take(batch)) for batch in batches])
                            - before[np.concatenate(batches)], axis=1) for batches in companies]  # fmt: skip
    moved = [float((distance > CLOSE).mean()) for distance in apart]
    return Company(moved[0], moved[1], moved[2], max(float(distance.max()) for distance in apart))


CHECK = Check(
    code="SG118",
    title="Answers stand alone",
    question="Does an answer depend on the other windows of its batch?",
    detection=f"The first evaluation batch (up to {BATCH} test windows of the first fold) is queried again in reversed "
    f"order, with every second window only, and {ALONE} windows each alone. At most {MOST_MOVED:.0%} of an entry's "
    f"query vectors may move by more than {CLOSE:g}. Entries without query vectors of their own (words, texts, "
    "reranked lists) and controls are not examined.",
    why="A model that attends over the batch (a forgotten batch_first), normalises over it or reads a neighbouring "
    "window may find its target in the next window. In use there is no such window, and the number cannot be repeated.",
    healthy="differences of rounding",
    fix="compute each answer from its own context: check batch_first, the dimension of every softmax, mean and norm, "
    "and train and evaluate again",
    unit="share of windows",
    examine=examine,
    needs=("windows", "entries"),
)
