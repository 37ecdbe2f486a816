"""SG117: are documents what the bank says, and their passages in reading order?

Two accidents of an import leave every vector right: documents that are slices of a longer text, so that one article
is in training and in test, and positions that were sorted as text (1, 10, 11, 2). Both change which passages are alike:
in the first, the last passage of a document is like the first of the next; in the second, undoing the sort makes
neighbours more alike.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from segue.checks.case import Case, pair_cosines
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.integrity.words import MINIMUM_DOCUMENTS
from segue.checks.statistics import percent
from segue.evaluation.intervals import standard_score

CUT = 0.7
"""Likeness across the ends of documents, as a share of that within, from which documents were cut out of a text ..."""
NEARER = 0.4
"""... where the ends are also nearer to each other than other passages of the two documents, as a share of how much
nearer neighbours within a document are than distant passages of it. Files in the order of their names are not."""
ODD = 0.4
"""Share from which that is a tip."""
CLEAR = 4.0
"""Standard errors over documents from which neighbours are more alike than passages of different documents."""
LEVEL = 1e-6
"""Level of the t-test over documents by which another order is better."""
PASSAGES = 24
"""Passages of each document that ends are compared with."""
PAIRS = 20_000
"""Pairs of passages of different documents that are drawn for comparison."""


def examine(case: Case) -> Verdict:
    """Compare likeness across the ends of documents with that within, and the order of passages with its unsorting."""
    runs = case.passage_runs()
    if len(runs) < MINIMUM_DOCUMENTS:
        return not_applicable(f"only {len(runs)} documents have enough passages in a row")
    within = np.array([_neighbours(case, rows).mean() for rows in runs])
    pairs, documents = _ends(case), case.bank.document_of
    drawn = case.generator("SG117").choice(np.flatnonzero(case.bank.alive), size=(PAIRS, 2))
    drawn = drawn[documents[drawn[:, 0]] != documents[drawn[:, 1]]]
    ends, apart = _of_pairs(case, pairs), _of_pairs(case, drawn)
    gain, p = _unsorted(case, runs, within)
    details = {"documents": len(runs), "within": float(within.mean()), "apart": float(apart.mean()),
               "ends": float(ends.mean()) if len(ends) else None, "gain_unsorted": gain, "p": p}  # fmt: skip
    if standard_score(within - apart.mean()) <= CLEAR:
        return not_applicable("neighbouring passages are no more alike than passages of different documents")
    if p < LEVEL:
        said = ("The passages of documents are in the order of numbers sorted as text (1, 10, 11, 2): undone, "
                f"neighbours are more alike (cosine {gain:+.3f}, p = {p:.0e}).")  # fmt: skip
        return Verdict("issue", said, gain, 0.0, details)
    share, error = _share(ends, within=float(within.mean()), apart=float(apart.mean()))
    said = (f"The last passage of a document and the first of the next are {percent(share)} as alike as neighbours "
            f"within documents (cosines {ends.mean() if len(ends) else 0:.2f} and {within.mean():.2f}; different "
            f"documents {apart.mean():.2f}).")  # fmt: skip
    low = share - 2 * error
    if low > CUT and _nearer(case, pairs, runs, float(within.mean())) > NEARER:
        return Verdict("issue", f"{said} Documents were cut out of longer texts.", share, CUT, details)
    return Verdict("tip" if low > ODD else "passed", said, share, CUT, details)


def _neighbours(case: Case, rows: Int[np.ndarray, "row"]) -> Float[np.ndarray, "pair"]:
    """Return the cosines of passages that follow each other."""
    return _of_pairs(case, np.stack([rows[:-1], rows[1:]], axis=1))


def _of_pairs(case: Case, pairs: Int[np.ndarray, "pair two"]) -> Float[np.ndarray, "pair"]:
    """Return the cosine of each pair of rows."""
    return pair_cosines(case.directions(pairs[:, 0]), case.directions(pairs[:, 1]))


def _ends(case: Case) -> Int[np.ndarray, "pair two"]:
    """Return (last row of a document, first row of the next), where both are alive and of unlike texts."""
    bank = case.bank
    last = bank.first_row[:-1] + bank.num_rows[:-1] - 1
    pairs = np.stack([last, bank.first_row[1:]], axis=1).astype(np.int64)
    unlike = bank.duplicate_group[pairs[:, 0]] != bank.duplicate_group[pairs[:, 1]]
    return pairs[bank.alive[pairs].all(axis=1) & unlike & (bank.num_rows[:-1] > 0) & (bank.num_rows[1:] > 0)]


def _share(ends: Float[np.ndarray, "pair"], *, within: float, apart: float) -> tuple[float, float]:
    """Return likeness across ends as a share of that within, 0 being different documents, with its standard error."""
    if len(ends) < MINIMUM_DOCUMENTS - 1:
        return 0.0, 0.0
    scale = within - apart
    return float(ends.mean() - apart) / scale, float(ends.std(ddof=1)) / np.sqrt(len(ends)) / scale


def _nearer(case: Case, pairs: Int[np.ndarray, "pair two"], runs: list[Int[np.ndarray, "_"]], within: float) -> float:
    """Return how much nearer ends are than other passages of the two documents, two standard errors below the mean.

    The unit is how much nearer neighbours within a document are than passages at least half its length apart.
    """
    gains = _of_pairs(case, pairs) - np.array([_across(case, last, first) for last, first in pairs.tolist()])
    scale = within - float(np.mean([_far(case.directions(rows)) for rows in runs]))
    if len(gains) < 2 or scale <= 0:
        return 0.0
    return float(gains.mean() - 2 * gains.std(ddof=1) / np.sqrt(len(gains))) / scale


def _across(case: Case, last: int, first: int) -> float:
    """Return the mean cosine of a last passage with the next document's passages but the first, and reversed."""
    bank = case.bank
    begin, end = int(bank.first_row[bank.document_of[last]]), first + int(bank.num_rows[bank.document_of[first]])
    before, after = np.arange(max(begin, last - PASSAGES), last), np.arange(first + 1, min(end, first + 1 + PASSAGES))
    others = [case.directions(rows[bank.alive[rows]]) for rows in (before, after)]
    queries = case.directions(np.array([first, last]))
    found = [float((vectors @ query).mean()) for vectors, query in zip(others, queries, strict=True) if len(vectors)]
    return float(np.mean(found)) if found else 0.0


def _far(vectors: Float[np.ndarray, "passage dim"]) -> float:
    """Return the mean cosine of a document's passages that are at least half its length apart."""
    place = np.arange(len(vectors))
    return float((vectors @ vectors.T)[np.abs(place[:, None] - place) >= len(vectors) / 2].mean())


def _unsorted(
    case: Case, runs: list[Int[np.ndarray, "_"]], within: Float[np.ndarray, "document"]
) -> tuple[float, float]:
    """Return how much more alike neighbours are when a sort of numbers as text is undone, and the p-value.

    Numbers may have counted from 0 or from 1; the clearer of the two is taken. Only documents of over ten passages, and
    from their first passage on, can tell.
    """
    from scipy.stats import ttest_1samp  # takes a second: imported where it is needed

    best = (0.0, 1.0)
    for first in (0, 1):
        gains = []
        for rows, likeness in zip(runs, within, strict=True):
            total = len(rows)
            if total <= 10 or total != case.bank.num_rows[case.bank.document_of[rows[0]]]:
                continue
            as_text = np.array(sorted(range(first, total + first), key=str)) - first  # numbers in the order they stand
            gains.append(_neighbours(case, rows[np.argsort(as_text)]).mean() - likeness)
        if len(gains) >= MINIMUM_DOCUMENTS:
            found = (float(np.mean(gains)), float(ttest_1samp(gains, 0.0, alternative="greater").pvalue))
            best = min(best, found, key=lambda one: one[1])
    return best


CHECK = Check(
    code="SG117",
    title="Documents are units",
    question="Are documents whole texts of their own, and their passages in reading order?",
    detection="Mean cosine of the last passage of a document with the first of the next one, between that of passages "
    f"of different documents (0 %) and that of neighbours within documents (100 %): clearly over {100 * CUT:g} % is an "
    f"issue where these ends are also clearly nearer to each other than other passages of the two documents (over "
    f"{100 * NEARER:g} % of how much nearer neighbours are than distant passages of one document), else over "
    f"{100 * ODD:g} % a tip. In documents of over ten passages: neighbours must not become more alike "
    f"(t-test over documents at a level of {LEVEL:g}) when a sort of their numbers as text is undone.",
    why="Ids of shards, pages or chunks put one article into training and test, and a sort of numbers as text takes "
    "every tenth passage for the next one; both go unnoticed, since every vector is right.",
    healthy="about 0 % across the ends of documents; chapters of one book 20 % to 40 %; manual pages in the order of "
    "their names up to 100 %, but no nearer at their ends",
    fix="give all passages of a text one document_id, and number them as integers",
    unit="share (or cosine, where the order decides)",
    examine=examine,
    data_alone=True,
)
