"""SG217: do features use statistics of test passages?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from segue.bank.copies import BankCopy, copy_documents, documents_of, windows_in
from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Judgement, Verdict
from segue.checks.statistics import percent, points
from segue.evaluation.intervals import PairedTest, paired
from segue.evaluation.metrics import per_window
from segue.ranking.pool import Pool
from segue.types import Interval, Windows

DECLARED = "bank statistics"
"""Name under which an entry declares them."""
METRICS = ("R@5", "MRR")
LEVEL = 0.01
DECLARED_FIX = "quote both numbers: the lower one is for documents that the statistics have not seen"
PROBED = 60
"""Windows that are ranked in two banks to see whether other documents change the order."""
PROBED_PASSAGES = 4000
"""Passages of the larger of the two banks."""


@dataclass(frozen=True)
class Ablation:
    """A metric with statistics of the whole bank, with those of training documents, and the paired test of both."""

    bank: float
    training: float
    test: PairedTest

    @property
    def lost(self) -> Interval:
        """What is lost without statistics of test passages."""
        gain = self.test.difference
        return Interval(-gain.value, *(None if end is None else -end for end in (gain.high, gain.low)))

    def __str__(self) -> str:
        change = self.test.difference
        ends = "" if change.low is None or change.high is None else (
            f", 95 % {100 * change.low:+.1f} to {100 * change.high:+.1f}")  # fmt: skip
        return (f"R@5 {percent(self.bank)} so, {percent(self.training)} with statistics of training and validation "
                f"documents only (difference {100 * change.value:+.1f} points{ends})")  # fmt: skip


def examine(case: Case) -> Verdict:
    """Find the entries that use statistics of the bank, whether they declare it, and measure what it gains."""
    probed = {entry.name: _depends_on_others(case, entry)
              for entry in case.non_controls if not entry.retriever.counts_bank}  # fmt: skip
    counting = {entry.name: entry for entry in case.non_controls if probed.get(entry.name, True)}
    undeclared = [name for name, entry in counting.items() if DECLARED not in entry.declares]
    ablated = {name: found for name, entry in counting.items() if (found := _ablate(case, entry)) is not None}
    details = {"rows": ablated, "undeclared": undeclared, "counting": [*counting], "probed": probed}
    shown = {name: found for name, found in ablated.items() if name in undeclared or _helps(found)}
    measured, said = float(len(undeclared)), "".join(f" {name}: {found['R@5']}." for name, found in shown.items())
    if not counting:
        text = f"None of {len(case.non_controls)} entries uses statistics of the bank."
        return Verdict("passed", text, 0.0, 0.0, details)
    if undeclared:
        hidden = [name for name in undeclared if name in probed]
        how = f" ({', '.join(hidden)} not stated, but other documents change its order)" if hidden else ""
        text = f"{', '.join(undeclared)} uses statistics of the whole bank, test passages included, undeclared{how}."
        return Verdict("issue", f"{text}{said}", measured, 0.0, details, caveats=_caveats(ablated))
    caveats = _caveats(ablated)
    text = f"{', '.join(counting)}: statistics of the whole bank, as declared.{said}"
    outcome: Judgement = "tip" if caveats else "passed"
    return Verdict(outcome, text, measured, 0.0, details, DECLARED_FIX if caveats else "", caveats)


def _helps(found: Mapping[str, Ablation]) -> bool:
    """Return whether statistics of the whole bank give a clear lead over those of training documents."""
    return any(found[metric].test.p_greater < LEVEL for metric in METRICS)


def _caveats(ablated: Mapping[str, Mapping[str, Ablation]]) -> dict[str, str]:
    """Return for each entry that the statistics help what is left without those of test passages."""
    return {
        name: f"With statistics of training and validation documents only, {name} has R@5 "
        f"{percent(one.training)} instead of {percent(one.bank)}, {points(one.lost)}, on the first fold: that much "
        "rests on statistics of test passages."
        for name, found in ablated.items()
        if _helps(found)
        for one in [found["R@5"]]
    }


def _depends_on_others(case: Case, entry: CaseEntry) -> bool:
    """Return whether the order of the tested documents' passages changes when other documents leave the bank.

    A query vector that is made from its context alone cannot depend on them; those retrievers are not tested.
    """
    if not entry.retriever.reads_bank:
        return False
    windows = case.answerable(case.sample(case.fold_of(entry), most=PROBED))
    if len(windows) == 0:
        return False
    tested = documents_of(case.bank, windows)
    others = case.other_documents(tested, PROBED_PASSAGES, "SG217 documents")
    small, large = (copy_documents(case.bank, chosen) for chosen in (tested, np.concatenate([tested, others])))
    if len(small) == len(large):
        return False
    return not np.array_equal(_ranks_in(small, case, entry, windows), _ranks_in(large, case, entry, windows))


def _ranks_in(copy: BankCopy, case: Case, entry: CaseEntry, windows: Windows) -> Int[np.ndarray, "window"]:
    """Return the targets' ranks among the passages of the tested documents, in one of the two banks."""
    inside = windows_in(copy, windows)
    tested = np.unique(copy.document_of[inside.target]).astype(np.int64)
    moved = entry.retriever.over(copy)
    contexts = case.gather(copy, inside, exclude=case.exclude, texts=moved.reads_text)
    return moved.target_ranks(contexts, inside.target, pool=Pool(copy, tested))


def _ablate(case: Case, entry: CaseEntry) -> dict[str, Ablation] | None:
    """Score an entry with statistics of training and validation documents; None where it cannot be built again."""
    fold = case.fold_of(entry)
    windows = case.answerable(case.sample(fold))
    rebuilt = entry.retriever.counting(np.concatenate([fold.split.train, fold.split.validation]).astype(np.int64))
    if rebuilt is None or len(windows) == 0:
        return None
    ranks = case.ranks(entry) if len(windows) == len(case.sample(fold)) else case.ranks_of(entry, windows)
    whole, part = per_window(ranks), per_window(case.ranks_of(replace(entry, load=lambda: rebuilt), windows))
    found = {}
    for metric in METRICS:
        test = paired(whole[metric], part[metric], case.groups_of(windows), resamples=case.effort.resamples)
        found[metric] = Ablation(float(whole[metric].mean()), float(part[metric].mean()), test)
    return found


CHECK = Check(
    code="SG217",
    title="Bank statistics",
    question="Do rerank or fusion features use statistics of test passages (word counts, hubness, density)?",
    detection="An entry uses statistics of the bank where its retriever states it, or where the order of the tested "
    f"documents' passages changes when other documents leave a copy of the bank ({PROBED} windows, up to "
    f"{PROBED_PASSAGES:,} other passages). It has to declare that. Where the retriever can be built again with "
    "statistics of training and validation documents only, both are scored on the same test windows of the first "
    f"fold, with the paired interval over groups of documents; a tip where they give it a clear lead (p < {LEVEL:g}).",
    why="Word rarity and density that are counted over the test passages carry information about the test set. This "
    "is often harmless, since a production index also knows its own passages, but it has to be reported.",
    healthy="none, or declared and without a difference",
    fix='declare it (CaseEntry.declares["bank statistics"]), or fit the statistics on training documents',
    unit="entries that do not declare it",
    examine=examine,
    needs=("windows", "entries"),
)
