"""SG106: are encoder, bank, checkpoint and index in one space?

Names are not reliable, so vectors are measured: every row's length, the fingerprints of encoder, bank and checkpoints,
and some texts encoded again and compared with their rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segue.checks.case import Case, CaseEntry, spread
from segue.checks.check import Check, Judgement, Verdict
from segue.checks.run import each_entry
from segue.encoders import Encoder
from segue.encoders.space import COSINE_TOLERANCE, LENGTH_TOLERANCE, Space, difference
from segue.errors import SegueError, SpaceError

DOCUMENTS = 12
"""Minimum number of documents that are compared with each other."""
CENTRED = 0.7
"""Length of a document's summed vectors, in multiples of √passages, below which they were centred; unrelated: 1."""
UNRELATED = 1.5
"""Mean squared cosine times dimension up to which two groups of documents may be in unrelated spaces; 1 if they are."""
ENCODED = 48
"""Texts that are encoded again."""


@dataclass(frozen=True)
class Lengths:
    """Live rows of a bank, and how many of them are not unit vectors."""

    rows: int
    not_finite: int
    zero: int
    another_length: int
    shortest: float | None
    longest: float

    def problems(self) -> list[str]:
        """Describe the rows that are not unit vectors."""
        said = {
            "hold infinite or undefined numbers (an overflow)": self.not_finite,
            "are zero (a norm that overflowed, or an empty text)": self.zero,
            f"are not of length 1 ({self.shortest or 0:.3g} to {self.longest:.3g})": self.another_length,
        }
        return [f"{count:,} of {self.rows:,} rows {what}" for what, count in said.items() if count]


@dataclass(frozen=True)
class Reencoded:
    """Texts of the bank encoded again.

    Attributes:
        texts: how many; 0 where none could be.
        lowest, median: cosines of a text with its row.
        apart: texts below the tolerance.
        random: median cosine of rows with another passage's text; None for a single text.
        longest_difference: largest difference of an encoded vector's length from 1.
    """

    texts: int = 0
    lowest: float | None = None
    median: float | None = None
    apart: int = 0
    random: float | None = None
    longest_difference: float = 0.0

    @property
    def control(self) -> str:
        """The control, as the end of a sentence."""
        return "" if self.random is None else f"; another passage's text {self.random:.3f}"


def examine(case: Case) -> Verdict:
    """Measure the bank's rows, and compare its space with every other that is used with it."""
    lengths = _lengths(case)
    entries = case.first_entries if case.folds else ()
    searched, error = each_entry(entries, lambda entry: _searched_elsewhere(case, entry))
    problems = [*lengths.problems(), *_of_checkpoints(case)]
    if (stated := case.bank.space.dimension) != case.bank.dimension:
        problems.append(f"the bank states {stated} dimensions and holds {case.bank.dimension}")
    again, of_encoder, failed = _encode_again(case)
    problems += [*_by_difference("index", searched), *_of_documents(case), *of_encoder]
    details = {"rows": lengths, "encoded_again": again, "problems": problems}
    cosine = None if again is None else again.lowest
    if problems:
        decides = cosine if again is not None and again.apart else None
        return Verdict("issue", f"{'; '.join(problems)}.", decides, 1 - COSINE_TOLERANCE, details)
    said = f"All {lengths.rows:,} rows have length 1 (within {LENGTH_TOLERANCE:g}); {_of_spaces(case, again)}"
    unstated = dict.fromkeys(e.name for e in case.trained_entries if e.training.config.space is None)
    if unstated:
        said += f" The checkpoint of {', '.join(unstated)} does not state its space."
    outcome: Judgement = "tip" if unstated else "passed" if again is not None else "not-applicable"
    return Verdict(outcome, said, cosine, 1 - COSINE_TOLERANCE, details, error=failed or error)


def _of_spaces(case: Case, again: Reencoded | None) -> str:
    said = "checkpoints and indexes are in the bank's space"
    if again is None:
        reason = "the space is declared" if case.bank.space.declared else "no encoder was given"
        return f"{said}; {reason}, so the encoder was not compared."
    if again.lowest is None:
        return f"encoder, {said}; there are no texts to encode again."
    lowest = f"{again.texts} texts have cosine ≥ {again.lowest:.4f} with their rows{again.control}"
    return f"encoder, {said}; encoded again, {lowest}."


def _lengths(case: Case) -> Lengths:
    lengths = [np.linalg.norm(block.astype(np.float64), axis=1) for _, block in case.bank.blocks(8192)]
    live = np.concatenate(lengths)[case.bank.alive]
    known = live[np.isfinite(live)]
    other = (known != 0) & (np.abs(known - 1) > LENGTH_TOLERANCE)
    infinite, zero = len(live) - len(known), int((known == 0).sum())
    shortest, longest = float(known.min()) if len(known) else None, float(known.max(initial=0.0))
    return Lengths(len(live), infinite, zero, int(other.sum()), shortest, longest)


def _of_checkpoints(case: Case) -> list[str]:
    """Compare the space and the dimension that each checkpoint states with the bank's."""
    found: dict[str, str | None] = {}
    for entry in case.trained_entries:
        config = entry.training.config
        apart = None if config.space is None else difference(case.bank.space, Space.from_json(config.space))
        if apart is None and config.dimension != case.bank.dimension:
            apart = f"{case.bank.dimension} dimensions against {config.dimension}"
        found[entry.name] = found.get(entry.name) or apart
    return _by_difference("checkpoint", found)


def _by_difference(what: str, found: Mapping[str, str | None]) -> list[str]:
    """Describe each difference once, with the names of the entries that have it."""
    names: dict[str, list[str]] = {}
    for name, apart in found.items():
        if apart:
            names.setdefault(apart, []).append(name)
    return [f"bank and {what} of {', '.join(having)} differ: {apart}" for apart, having in names.items()]


def _searched_elsewhere(case: Case, entry: CaseEntry) -> str | None:
    """Describe how the space that an entry searches differs from the bank's, or from that of its own encoder.

    That encoder is its checkpoint's document tower, or what encodes its queries where the bank was encoded again.
    Towers of other weights have another name even where there is no fingerprint to compare.
    """
    encoder, searcher = None if entry.trained is None else entry.trained.encoder, entry.retriever.searcher()
    wanted = case.bank.space if encoder is None else encoder.space(case.bank.space)
    if encoder is None and searcher is not None and searcher.pool.bank is not case.bank:
        wanted = searcher.query_space or wanted
    index = None if searcher is None else searcher.index
    pools = [entry.retriever.pool, *([index.pool] if index is not None else [])]
    return next(filter(None, (difference(wanted, pool.bank.space) for pool in pools)), None)


def _of_documents(case: Case) -> list[str]:
    """Describe what shows, from vectors alone, that documents are not in one space: centred, or from two encoders.

    For each two documents the mean square of the cosines between their passages is taken, times the dimension. Two
    spaces that have nothing to do with each other give 1, whatever the texts are about; one space gives more, since
    embeddings fill few of their directions. The documents are divided by the sign of the leading eigenvector.
    """
    rows_of = case.bank.num_rows
    whole = [run for run in case.passage_runs(passages=512) if len(run) == rows_of[case.bank.document_of[run[0]]]]
    sums = [np.linalg.norm(vectors.mean(axis=0)) * np.sqrt(len(vectors)) for vectors in map(case.directions, whole)]
    if len(sums) >= DOCUMENTS and np.median(sums) < CENTRED:
        return [f"the vectors of each document sum to nearly nothing (median {np.median(sums):.2f}; unrelated "
                "passages give 1): they were centred document by document"]  # fmt: skip
    runs = [run[:12] for run in case.passage_runs()]
    if len(runs) < DOCUMENTS:
        return []
    vectors = case.directions(np.concatenate(runs))
    size = np.array([len(run) for run in runs])
    starts = np.cumsum(size) - size
    squares = np.add.reduceat(np.add.reduceat((vectors @ vectors.T) ** 2, starts, axis=0), starts, axis=1)
    alike = squares / np.outer(size, size) * case.bank.dimension
    np.fill_diagonal(alike, np.median(alike))
    side = np.linalg.eigh(alike - alike.mean())[1][:, -1] > 0
    fewer = min(side.sum(), (~side).sum())
    if fewer < 3:
        return []
    between, within = alike[side][:, ~side].mean(), min(alike[side][:, side].mean(), alike[~side][:, ~side].mean())
    if between > UNRELATED or within < 2 * between:
        return []
    return [f"{fewer} of {len(runs)} documents have vectors unrelated to the others' (mean squared cosine × dimension "
            f"{between:.2f} between them, at least {within:.2f} within): two encoders"]  # fmt: skip


def _encode_again(case: Case) -> tuple[Reencoded | None, list[str], SegueError | None]:
    """Load the encoder, compare fingerprints, and encode some texts again.

    A run's encoder is compared with the bank when it is loaded, and refused where the two differ.

    Returns:
        The texts encoded again, None without an encoder; how it differs from the bank; why it cannot be loaded.
    """
    if case.encoder is None:
        return None, [], None
    try:
        encoder = case.encoder()
    except SpaceError as error:
        return Reencoded(), [str(error).removesuffix(".")], None
    except SegueError as error:
        return None, [], error
    again, apart = _reencode(case, encoder), difference(case.bank.space, encoder.space)
    problems = [f"bank and encoder differ: {apart}"] if apart else []
    if again.apart:
        problems.append(f"encoded again, {again.apart} of {again.texts} texts do not match their rows (lowest cosine "
                        f"{again.lowest:.4f}, median {again.median:.4f}{again.control})")  # fmt: skip
    if again.longest_difference > LENGTH_TOLERANCE:
        problems.append(f"the encoder's vectors are not of length 1 (by {again.longest_difference:.3g})")
    return again, problems, None


def _reencode(case: Case, encoder: Encoder) -> Reencoded:
    if not case.bank.has_texts or encoder.space.dimension != case.bank.dimension:
        return Reencoded()
    alive = np.flatnonzero(case.bank.alive)
    rows = alive[spread(len(alive), ENCODED)]
    stored = case.bank.gather(rows).astype(np.float64)
    stored = np.where(np.isfinite(stored).all(axis=1, keepdims=True), stored, 0.0)
    made = encoder.encode(case.bank.texts(rows)).astype(np.float64)
    of_stored, of_made = np.linalg.norm(stored, axis=1), np.linalg.norm(made, axis=1)
    cosine = np.einsum("rd,rd->r", stored, made) / np.maximum(of_stored * of_made, 1e-12)
    other = np.einsum("rd,rd->r", stored, np.roll(made, 1, 0)) / np.maximum(of_stored * np.roll(of_made, 1), 1e-12)
    return Reencoded(
        texts=len(rows),
        lowest=float(cosine.min()),
        median=float(np.median(cosine)),
        apart=int((cosine < 1 - COSINE_TOLERANCE).sum()),
        random=float(np.median(other)) if len(rows) > 1 else None,
        longest_difference=float(np.abs(of_made - 1).max()),
    )


CHECK = Check(
    code="SG106",
    title="One embedding space",
    question="Are encoder, bank, checkpoints and index in one embedding space?",
    detection=f"Each live row must be finite, not zero and of length 1 within {LENGTH_TOLERANCE:g}. The sums of "
    f"documents' vectors must not vanish (below {CENTRED:g} of what unrelated passages give: centred per document), "
    "and documents must not fall into two unrelated groups (mean squared cosine × dimension near 1). The fingerprints "
    "(vectors of eight fixed probe texts) of bank, encoder, checkpoints and searched banks must agree (a bank that "
    "was encoded again with those of its checkpoint's document tower, or of its queries' own encoder) within a cosine "
    f"of {COSINE_TOLERANCE:g}; where a space is declared, only names and dimensions can be compared, and without an "
    f"issue there the check does not apply. {ENCODED} texts spread over the bank are encoded again and must have "
    f"cosine ≥ {1 - COSINE_TOLERANCE} with their rows; the cosine with another passage's text is shown for comparison.",
    why="GTR-T5 exists with and without its dense layer under one name: if the two are mixed, everything runs and "
    "every model scores chance. A norm that overflows in half precision turns a long passage into zeros that no query "
    "finds.",
    healthy="every row of length 1, every text's cosine with its row ≥ 0.999",
    fix="build the bank again with the encoder that the checkpoint names, and the index from that bank",
    unit="cosine",
    examine=examine,
)
