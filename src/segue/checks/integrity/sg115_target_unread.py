"""SG115: was the target partly read?

Passages that overlap, and vectors that hold the passage after their own, put a part of the answer into the context: a
copy of the last passage then looks like a perfect prediction. Overlap is read from the texts. A vector that looks ahead
is more like the words of the passage after it than like those of the passage before it; without look-ahead the two
are equally like it, since likeness between neighbours has no direction.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from segue.checks.case import Case
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.integrity.words import MINIMUM_DOCUMENTS, WordFit, word_fit
from segue.checks.statistics import percent
from segue.evaluation.intervals import standard_score

OVERLAP = 4
"""Minimum number of words at the end of a passage, repeated at the beginning of the next, that count as an overlap."""
ALLOWED = 0.1
"""Share of passages that may begin with the end of the passage before without an issue."""
AHEAD, CLEAR = 0.01, 5.0
"""Difference of cosines, and its standard score over documents, from which vectors look ahead."""


def examine(case: Case) -> Verdict:
    """Compare the words of neighbouring passages, and the vectors with the words before and after them."""
    runs = case.passage_runs()
    if len(runs) < MINIMUM_DOCUMENTS:
        return not_applicable(f"only {len(runs)} documents have enough passages in a row")
    texts = [case.bank.texts(rows) for rows in runs]
    overlap = float(np.mean([overlapping(*pair) for passages in texts for pair in pairwise(passages)]))
    fit = word_fit(case)
    ahead, score = look_ahead(fit)
    details = {"documents": len(runs), "overlapping": overlap, "look_ahead": ahead, "look_ahead_score": score}
    said = f"{percent(overlap)} of the passages begin with words that the passage before ends with"
    if overlap > ALLOWED:
        return Verdict("issue", f"{said}: the beginning of the target was read.", overlap, ALLOWED, details)
    if ahead > AHEAD and score > CLEAR:
        said = ("The vectors are more like the words of the next passage than like those of the previous one (cosine "
                f"{ahead:+.3f}, {score:.0f} standard errors): they hold what comes next.")  # fmt: skip
        return Verdict("issue", said, ahead, AHEAD, details)
    if not fit.has_power:
        said += "; words say too little about the vectors to tell whether these look ahead"
    return Verdict("passed", f"{said}.", overlap, ALLOWED, details)


def overlapping(before: str, after: str) -> bool:
    """Return whether a text begins with the last words, at least ``OVERLAP``, of the text before it.

    >>> overlapping("He went home. It was late at night.", "It was late at night. The lamps were lit.")
    True
    >>> overlapping("He went home. It was late at night.", "The lamps were lit, and it was late.")
    False
    """
    ends, begins = before.split(), after.split()
    longest = min(len(ends), len(begins))
    return any(ends[-size:] == begins[:size] for size in range(OVERLAP, longest + 1))


def look_ahead(fit: WordFit) -> tuple[float, float]:
    """Return the mean difference of cosines over documents, and its standard score."""
    if not fit.has_power:
        return 0.0, 0.0
    by_document = np.array([after.mean() - before.mean() for after, before in zip(fit.after, fit.before, strict=True)])
    return float(by_document.mean()), standard_score(by_document)


CHECK = Check(
    code="SG115",
    title="Target not read",
    question="Is a part of the target already in the context: overlapping passages, or vectors that look ahead?",
    detection=f"In up to 150 documents: the share of passages whose first words, {OVERLAP} or more, are the last words "
    f"of the passage before (over {100 * ALLOWED:g} % is an issue). And a linear map from words (tf-idf) to vectors, "
    "fitted on other documents: the cosine of each vector with the map of the next passage's words, minus that with "
    f"the map of the previous passage's words, must not be clearly above 0 (over {AHEAD:g} and {CLEAR:g} standard "
    "errors over documents is an issue). Vectors that hold earlier passages alone are not found: those were read.",
    why="Chunks that share a sentence, late chunking and contextual embeddings put the answer into the question. "
    "Copying the last passage is then nearly perfect, and no retriever is measured.",
    healthy="0 % to 10 % of the passages overlap; the difference of cosines is at or below 0",
    fix="cut passages without overlap, and encode each passage alone",
    unit="share of passages (or cosine, where that decides)",
    examine=examine,
    needs=("texts",),
    data_alone=True,
)
