"""SG116: are the vectors those of their texts?

Where the encoder is at hand, SG106 encodes texts again. Vectors that were made elsewhere are compared with their words:
a linear map from words to vectors, fitted on other documents, must fit a passage's own vector better than the vectors
of the passages before and after it, and better than those of other documents.
"""

from __future__ import annotations

import numpy as np

from segue.checks.case import Case
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.integrity.words import MINIMUM_DOCUMENTS, word_fit
from segue.checks.statistics import percent
from segue.evaluation.intervals import standard_score

CLEAR = 3.0
"""Standard errors within a document from which one vector fits the words better than another."""
UNRELATED = 1.0
"""Standard errors up to which a document's own words fit its vectors no better than another document's do."""
ALLOWED = 0.05
"""Share of the documents whose vectors may fit other words better without an issue."""


def examine(case: Case) -> Verdict:
    """Count the documents whose vectors fit the words of a neighbour, or of no passage of theirs."""
    if len(case.passage_runs()) < MINIMUM_DOCUMENTS:
        return not_applicable(f"only {len(case.passage_runs())} documents have enough passages in a row")
    fit = word_fit(case)
    if not fit.has_power:
        return not_applicable("the words of a passage say too little about its vector")
    shifted = [
        max(standard_score(after - own[:-1]), standard_score(before - own[1:])) > CLEAR
        for own, after, before in zip(fit.own, fit.after, fit.before, strict=True)
    ]
    foreign = [standard_score(own - other) < UNRELATED for own, other in zip(fit.own, fit.elsewhere, strict=True)]
    off, other = float(np.mean(shifted)), float(np.mean(foreign))
    details = {"documents": len(shifted), "shifted": off, "of_other_documents": other,
               "cosine": float(np.median(np.concatenate(fit.own))),
               "cosine_elsewhere": float(np.median(np.concatenate(fit.elsewhere)))}  # fmt: skip
    said = (f"In {percent(off)} of {len(shifted)} documents the vectors fit the words of the passage before or after "
            f"better than their own, in {percent(other)} no better than another document's.")  # fmt: skip
    worst = max(off, other)
    return Verdict("issue" if worst > ALLOWED else "passed", said, worst, ALLOWED, details)


CHECK = Check(
    code="SG116",
    title="Vectors are those of their texts",
    question="Is each vector that of its own text, not of a neighbour's or another document's?",
    detection="In up to 150 documents, a linear map from words (tf-idf) to vectors is fitted on four fifths of the "
    "documents and applied to the others. A document is shifted where the vectors fit the words of the passage before "
    f"or after better than their own, by over {CLEAR:g} standard errors; it has other vectors where they do not fit "
    f"its words better than other documents' do, by {UNRELATED:g}. Over {100 * ALLOWED:g} % of either is an issue.",
    why="A join that is off by a row, or that takes another document's vectors, leaves lengths and spaces right. "
    "Retrievers that read texts and those that read vectors are then asked different questions.",
    healthy="0 % to 5 % of the documents",
    fix="join texts and vectors by a key, not by their order, and build the bank again",
    unit="share of documents",
    examine=examine,
    needs=("texts",),
    data_alone=True,
)
