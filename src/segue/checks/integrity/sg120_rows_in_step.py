"""SG120: do words and vectors agree about which passages are alike?

SG116 fits a map from words to vectors; where all rows are shuffled there is nothing to fit, and it cannot tell that
from words that say nothing. This check needs no fit and no long documents. The passage of another document that is
nearest to a passage by words must also be nearer by vectors than a passage at random is. The passage must be nearer to
it than the others of its document are, and these two vectors than those a row or two beside them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from segue.checks.case import Case, pair_cosines, spread
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.integrity.words import MINIMUM_DOCUMENTS
from segue.checks.statistics import percent, share_interval
from segue.ranking.pool import Pool
from segue.retrieval.rerank.words import count_words
from segue.types import Interval

QUERIES = 500
"""Passages whose nearest one by words is looked for, among all passages."""
AT_ONCE = 16
"""Queries whose word cosines with all passages are in memory."""
ALIKE = 0.1
"""Word cosine from which two passages are alike at all."""
FLOOR = 0.65
"""Share from which words and vectors agree: halfway between permuted rows, 0.5, and the least of healthy banks, 0.8."""
CLEAR = 0.55
"""Share of pairs of which the vectors of other rows agree better, from which rows are shifted; healthy at most 0.35."""
SHIFTS = (-2, -1, 1, 2)
"""Rows by which vectors may have been shifted."""
ALLOWED = 0.05
"""Share of the passages that may have one vector although their texts differ."""


def examine(case: Case) -> Verdict:
    """Look for constant vectors, then compare word-nearest passages with random ones, and with the rows beside them."""
    if not case.bank.space.declared:
        return not_applicable("the bank names its encoder: SG106 encodes texts again")
    same, constant = _constant(case)
    if same > ALLOWED and case.bank.has_texts:
        said = f"{percent(same)} of the passages have one and the same vector, though their texts differ."
        return Verdict("issue", said, same, ALLOWED, {"same": same}, fix="encode those passages again")
    if same > ALLOWED or constant:
        said = (f"{constant} of {case.bank.dimension} components are the same in all vectors, and {percent(same)} of "
                "the passages share one vector.")  # fmt: skip
        return Verdict("tip", said, same, ALLOWED, {"same": same, "constant": constant})
    if not case.bank.has_texts:
        return not_applicable("the bank holds vectors only, and they differ")
    return _in_step(case)


def _in_step(case: Case) -> Verdict:
    query, nearest = nearest_by_words(case)
    documents = case.bank.document_of[query].astype(np.int64)
    if len(np.unique(documents)) < MINIMUM_DOCUMENTS:
        return not_applicable(f"passages of only {len(np.unique(documents))} documents share words with others")
    shares = {"all": _interval(case, query, nearer_than_all(case, query, nearest)),
              "document": _interval(case, query, nearer_than_document(case, query, nearest))}  # fmt: skip
    shifted = {shift: _interval(case, query, agrees_shifted(case, query, nearest, shift)) for shift in SHIFTS}
    details = {"passages": len(query), **shares, "shifted": {str(shift): one for shift, one in shifted.items()}}
    off = [
        shift for shift, share in shifted.items() if share is not None and share.low is not None and share.low > CLEAR
    ]
    wrong = [share for share in shares.values() if share is not None and share.high is not None and share.high < FLOOR]
    said = " ".join(SAID[name].format(_figures(share)) for name, share in shares.items() if share is not None)
    said += "".join(
        f" With the vectors {abs(shift)} rows {'on' if shift > 0 else 'back'}, words agree better." for shift in off
    )
    measured = min(share.value for share in shares.values() if share is not None)
    return Verdict("issue" if off or wrong else "passed", said, measured, FLOOR, details)


SAID = {
    "all": "The passage of another document that is nearest by words is nearer by vectors than {} of all passages.",
    "document": "The passage itself is nearer to that one than {} of the rest of its document. Permuted rows: 50 %.",
}


def _figures(share: Interval) -> str:
    ends = "" if share.low is None or share.high is None else f" (95 % {100 * share.low:.1f} to {100 * share.high:.1f})"
    return percent(share.value) + ends


def _interval(case: Case, query: Int[np.ndarray, "query"], values: Float[np.ndarray, "query"]) -> Interval | None:
    """Return the mean with its interval over documents; None where too few documents have a value."""
    known = np.isfinite(values)
    documents = case.bank.document_of[query[known]].astype(np.int64)
    return None if len(np.unique(documents)) < MINIMUM_DOCUMENTS else share_interval(case, values[known], documents)


def nearest_by_words(case: Case) -> tuple[Int[np.ndarray, "query"], Int[np.ndarray, "query"]]:
    """Return rows spread over the bank, and of each the row of another document that is nearest by words.

    The cosine of (1 + ln tf) · idf with every live passage is computed. Pairs below ``ALIKE`` are left out, and a row
    that is nearest to several is taken once, with the one most like it: otherwise a few rows would decide.
    """
    bank = case.bank
    words = count_words(bank, Pool(bank))
    counts = np.diff(words.ends)
    weight = (1 + np.log(words.times)) * words.rarity[words.word]
    owner = np.repeat(np.arange(len(bank)), counts)
    length = np.sqrt(np.bincount(owner, weights=weight**2, minlength=len(bank)))
    weight = weight / np.maximum(length[owner], 1e-12)
    table = sparse.csr_matrix((weight, words.word, words.ends), shape=(len(bank), max(1, len(words.rarity))))
    rows = np.flatnonzero(counts > 0)
    query, others = rows[spread(len(rows), QUERIES)], table.T.tocsr()
    nearest, cosine = np.zeros(len(query), dtype=np.int64), np.zeros(len(query))
    for start in range(0, len(query), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        found = (table[query[part]] @ others).toarray()
        found[bank.document_of[query[part]][:, None] == bank.document_of[None, :]] = 0.0
        nearest[part], cosine[part] = found.argmax(axis=1), found.max(axis=1)
    order = np.argsort(-cosine, kind="stable")
    order = order[cosine[order] >= ALIKE]
    first = np.sort(order[np.unique(nearest[order], return_index=True)[1]])
    return query[first], nearest[first]


def nearer_than_all(
    case: Case, query: Int[np.ndarray, "query"], nearest: Int[np.ndarray, "query"]
) -> Float[np.ndarray, "query"]:
    """Return the share of all live passages of other documents that are farther from each query than its nearest."""
    bank, vectors = case.bank, case.directions(query).astype(np.float32)
    own = pair_cosines(vectors, case.directions(nearest).astype(np.float32))[:, None]
    below, total = np.zeros(len(query)), np.zeros(len(query))
    for start, block in bank.blocks():
        rows = np.arange(start, start + len(block))[None, :]
        other = bank.alive[rows] & (bank.document_of[rows] != bank.document_of[query][:, None])
        other &= rows != nearest[:, None]
        cosines = vectors @ block.T
        below += (((cosines < own) + 0.5 * (cosines == own)) * other).sum(axis=1)
        total += other.sum(axis=1)
    return np.where(total > 0, below / np.maximum(total, 1), np.nan)


def nearer_than_document(
    case: Case, query: Int[np.ndarray, "query"], nearest: Int[np.ndarray, "query"]
) -> Float[np.ndarray, "query"]:
    """Return the share of the rest of each query's document that is farther from its nearest; NaN without a rest."""
    bank, found = case.bank, np.full(len(query), np.nan)
    for place, (row, near) in enumerate(zip(query.tolist(), case.directions(nearest), strict=True)):
        document = bank.document_of[row]
        rows = bank.first_row[document] + np.arange(bank.num_rows[document])
        rows = rows[bank.alive[rows]]
        cosines = case.directions(rows) @ near
        own, others = cosines[rows == row], cosines[rows != row]
        if len(others):
            found[place] = np.mean((others < own) + 0.5 * (others == own))
    return found


def agrees_shifted(
    case: Case, query: Int[np.ndarray, "query"], nearest: Int[np.ndarray, "query"], shift: int
) -> Float[np.ndarray, "query"]:
    """Return 1 where the vectors ``shift`` rows on are nearer to each other than those of the two rows, else 0 (½)."""
    bank, found = case.bank, np.full(len(query), np.nan)
    inside = (np.minimum(query, nearest) + shift >= 0) & (np.maximum(query, nearest) + shift < len(bank))
    inside[inside] = bank.alive[query[inside] + shift] & bank.alive[nearest[inside] + shift]
    one, other = query[inside], nearest[inside]
    here = pair_cosines(case.directions(one), case.directions(other))
    there = pair_cosines(case.directions(one + shift), case.directions(other + shift))
    found[inside] = (there > here) + 0.5 * (there == here)
    return found


def _constant(case: Case) -> tuple[float, int]:
    """Return the share of passages with the most frequent vector (each text once), and the constant components."""
    bank = case.bank
    first = np.flatnonzero(bank.alive & (bank.duplicate_group == np.arange(len(bank))))
    factors = case.generator("SG120").integers(2**63, size=bank.dimension, dtype=np.uint64)
    keys = np.empty(len(bank), dtype=np.uint64)
    low, high = np.full(bank.dimension, np.inf), np.full(bank.dimension, -np.inf)
    for start, block in bank.blocks():
        bits = np.ascontiguousarray(block, dtype=np.float32).view(np.uint32)
        keys[start : start + len(block)] = bits.astype(np.uint64) @ factors  # equal vectors have equal keys
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    most = int(np.unique(keys[first], return_counts=True)[1].max(initial=0))
    return (most / len(first) if most > 1 else 0.0), int((low == high).sum()) if len(first) > 1 else 0


CHECK = Check(
    code="SG120",
    title="Rows in step",
    question="Do words and vectors agree about which passages are alike?",
    detection=f"For up to {QUERIES} passages spread over the bank, the nearest passage of another document by words "
    f"(cosine of (1 + ln tf) · idf, at least {ALIKE:g}) is looked for among all passages. Measured are the share of "
    "all passages that are farther by vectors than that one, and the share of the rest of the document that is "
    "farther from it than the passage itself. Rows permuted, in the bank or inside documents, give 50 %. An issue: "
    f"the 95 % interval over documents of either ends below {100 * FLOOR:g} %; or the vectors one or two rows on are "
    f"nearer to each other in over {100 * CLEAR:g} % of the pairs, the whole interval; or over {100 * ALLOWED:g} % of "
    "the passages have one vector and different texts. Components that are the same in all vectors are a tip.",
    why="A table that was sorted after its vectors were written has right lengths, right spaces and right documents, "
    "and every number that compares words with vectors is void.",
    healthy="85 % to 99 % of all passages, 60 % to 90 % of the document",
    fix="join texts and vectors by a key, not by their order, and import again",
    unit="share of passages",
    examine=examine,
    data_alone=True,
)
