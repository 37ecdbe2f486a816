"""SG202: how much is lost from documents that were trained on to unseen ones?"""

from __future__ import annotations

import numpy as np

from segue.checks.case import Case, CaseEntry, Part
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.statistics import COPY_LAST, paired_test, percent, points
from segue.evaluation.intervals import difference
from segue.retrieval.retrievers import VectorRetriever
from segue.retrieval.retrievers.baselines import copy_last

UNSEEN: tuple[Part, ...] = ("validation", "test")
PARTS: tuple[Part, ...] = ("train", *UNSEEN)
REMAINING_SHARE = 0.5
"""Share of its lead over copy-last that a model has to keep on unseen documents."""
CUTOFF = 5


def examine(case: Case) -> Verdict:
    """Query the subject and copy-last with training, validation and test windows of the first fold, in one pool."""
    entry = next((entry for entry in case.subject_entries if entry.trained is not None), None)
    if entry is None:
        return not_applicable("nothing was trained")
    # copy-last has no weights, so what it loses is due to the documents
    retriever = VectorRetriever(COPY_LAST, "candidate", copy_last, case.pool)
    made = CaseEntry(COPY_LAST, "candidate", entry.fold, "baseline", lambda: retriever)
    control = next((other for other in case.entries_named(COPY_LAST) if other.fold == entry.fold), made)
    hits = {
        one.name: {part: (case.ranks(one, part) <= CUTOFF).astype(np.float64) for part in PARTS}
        for one in (entry, control)
    }
    recall = {name: {part: float(found.mean()) for part, found in parts.items()} for name, parts in hits.items()}
    ours, theirs = hits.values()
    groups = {part: case.groups_of(case.sample(case.fold_of(entry), part)) for part in PARTS}
    leads = {part: paired_test(case, ours[part], theirs[part], groups[part]).difference for part in PARTS}
    gaps = {part: difference(leads["train"], leads[part]) for part in UNSEEN}
    kept = leads["test"].value / leads["train"].value if leads["train"].value > 0 else None
    details = {"one_pool": recall, "lead": leads, "gap": gaps, "fold": entry.fold}
    models = "; ".join(f"{name} {', '.join(percent(value) for value in parts.values())}"
                       for name, parts in recall.items())  # fmt: skip
    said = (f"R@5 on training, validation and test documents, in one pool: {models}. The lead shrinks from seen to "
            f"test documents by {points(gaps['test'])}.")  # fmt: skip
    lost = [difference(leads["train"], leads[part], weight=REMAINING_SHARE).low for part in UNSEEN]
    if (leads["train"].low or 0) > 0 and all((low or 0) > 0 for low in lost):
        text = (f"{said} Of its lead over copy-last, {percent(max(0.0, kept or 0.0))} remains on test documents: the "
                "model has memorised sequences.")  # fmt: skip
        return Verdict("issue", text, kept, REMAINING_SHARE, details)
    if all((gap.low or 0) > 0 for gap in gaps.values()):
        text = f"{said} Part of its lead does not carry over to unseen documents."
        return Verdict("tip", text, kept, REMAINING_SHARE, details)
    return Verdict("passed", said, kept, REMAINING_SHARE, details)


CHECK = Check(
    code="SG202",
    title="Seen and unseen documents",
    question="How much worse is the model on unseen documents than on training documents: has it memorised sequences?",
    detection="The subject and copy-last are queried with a sample of training, validation and test windows of the "
    "first fold, in one pool. The lead in R@5 over copy-last, paired, removes differences between documents; each "
    "lead has its interval over groups of documents, their difference the interval of Zou and Donner (2008). Issue: "
    f"on validation and on test documents clearly less than {REMAINING_SHARE:.0%} of the seen lead remains. Tip: the "
    "lead is clearly smaller on both. A loss on test documents alone is not memorising: see the integrity checks.",
    why="A model that has memorised its training sequences looks strong wherever training documents are queried, and "
    "fails on the first new document.",
    healthy="most of the lead over copy-last remains on unseen documents",
    fix="train shorter or smaller, with dropout, select on validation documents, and add training documents",
    unit="share of the seen lead that remains on test documents",
    examine=examine,
    needs=("windows", "trained"),
)
