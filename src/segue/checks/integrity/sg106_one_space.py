"""SG106: do encoder, bank, checkpoint and index live in one space?

Names prove nothing, so vectors are measured: every row's length, the fingerprints of encoder, bank and checkpoints,
and some texts encoded again and compared with their rows.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from segue.checks.case import Case, CaseEntry
from segue.checks.check import Check, Verdict
from segue.checks.run import each_entry
from segue.encoders import Encoder
from segue.encoders.space import COSINE_TOLERANCE, LENGTH_TOLERANCE, Space, difference
from segue.errors import SegueError, SpaceError

ENCODED = 48
"""Texts that are encoded again."""
ROWS_AT_ONCE = 8192


def examine(case: Case) -> Verdict:
    """Measure the bank's rows, and compare its space with every other that meets it."""
    lengths = _lengths(case)
    of_indexes, error = _of_indexes(case)
    problems = [*_of_lengths(lengths), *_of_checkpoints(case), *of_indexes]
    again = _encode_again(case, problems)
    problems += _of_encoder(again)
    details = {"rows": lengths, "encoded_again": again, "problems": problems}
    cosine = again.get("lowest")
    if problems:
        decides = cosine if again.get("apart") else None
        return Verdict("issue", f"{'; '.join(problems)}.", decides, 1 - COSINE_TOLERANCE, details)
    if error is not None:
        raise error
    unstated = _unstated(case)
    said = f"All {lengths['rows']:,} rows have length 1 (within {LENGTH_TOLERANCE:g}); {_say_encoder(case, again)}"
    if unstated:
        said += f" The checkpoint of {', '.join(unstated)} does not state its space."
    return Verdict("tip" if unstated else "passed", said, cosine, 1 - COSINE_TOLERANCE, details)


def _lengths(case: Case) -> dict[str, Any]:
    """Count the live rows that are not finite, zero, or of another length than 1, block by block."""
    counts: Counter[str] = Counter()
    shortest, longest = np.inf, 0.0
    for start, block in case.bank.blocks(ROWS_AT_ONCE):
        live = block[case.bank.alive[start : start + len(block)]]
        finite = np.isfinite(live).all(axis=1)
        length = np.linalg.norm(live[finite].astype(np.float64), axis=1)
        zero = length == 0
        counts.update(rows=len(live), not_finite=int((~finite).sum()), zero=int(zero.sum()),
                      another_length=int((~zero & (np.abs(length - 1) > LENGTH_TOLERANCE)).sum()))  # fmt: skip
        shortest, longest = min(shortest, length.min(initial=np.inf)), max(longest, length.max(initial=0.0))
    ends = {"shortest": float(shortest) if np.isfinite(shortest) else None, "longest": float(longest)}
    return {key: counts[key] for key in ("rows", "not_finite", "zero", "another_length")} | ends


def _of_lengths(lengths: dict[str, Any]) -> list[str]:
    """Say which rows of the bank are no unit vectors."""
    rows = f"of {lengths['rows']:,} rows"
    says = {
        "not_finite": f"{lengths['not_finite']:,} {rows} hold infinite or undefined numbers (an overflow)",
        "zero": f"{lengths['zero']:,} {rows} are zero (a norm that overflowed, or an empty text)",
        "another_length": f"{lengths['another_length']:,} {rows} are not of length 1 ({_range(lengths)})",
    }
    return [said for key, said in says.items() if lengths[key]]


def _range(lengths: dict[str, Any]) -> str:
    return f"{lengths['shortest'] or 0:.3g} to {lengths['longest']:.3g}"


def _of_checkpoints(case: Case) -> list[str]:
    """Compare the space and the dimension that each checkpoint states with the bank's."""
    found: dict[str, list[str]] = {}
    for row in case.entries:
        if row.trained is None:
            continue
        config = row.trained.config
        space = config.space
        apart = None if space is None else difference(case.bank.space, Space.from_json(space))
        if apart is None and config.dimension != case.bank.dimension:
            apart = f"{case.bank.dimension} dimensions against {config.dimension}"
        if apart:
            found.setdefault(apart, []).append(row.name)
    return [f"bank and checkpoint of {_names(names)} differ: {apart}" for apart, names in found.items()]


def _of_indexes(case: Case) -> tuple[list[str], SegueError | None]:
    """Compare the space of the bank that each row searches, and what the bank states, with what it holds.

    Returns:
        What differs, and the first error of a row that could not be asked.
    """
    stated = case.bank.space.dimension
    own = [f"the bank states {stated} dimensions and holds {case.bank.dimension}"] * (stated != case.bank.dimension)
    searched, error = each_entry(case.first_entries if case.folds else (), functools.partial(_searched_elsewhere, case))
    found: dict[str, list[str]] = {}
    for name, apart in searched.items():
        if apart:
            found.setdefault(apart, []).append(name)
    return own + [f"bank and index of {_names(names)} differ: {apart}" for apart, names in found.items()], error


def _searched_elsewhere(case: Case, row: CaseEntry) -> str | None:
    """Say how the space that a row searches differs from the bank's, or from what its own encoder makes of texts.

    That encoder is its checkpoint's document tower, or what encodes its queries where the bank was encoded anew.
    Towers of other weights have another name even where there is no fingerprint to compare.
    """
    encoder, wanted = None if row.trained is None else row.trained.encoder, case.bank.space
    if encoder is not None:
        wanted = encoder.space(case.bank.space)
    searcher = row.retriever.searcher
    if encoder is None and searcher is not None:
        wanted = searcher.query_space or wanted
    index = None if searcher is None else searcher.index
    pools = [row.retriever.pool, *([index.pool] if index is not None else [])]
    apart = [difference(wanted, pool.bank.space) for pool in pools]
    return next(filter(None, apart), None)


def _encode_again(case: Case, problems: list[str]) -> dict[str, Any]:
    """Load the encoder, compare fingerprints, and encode some texts again; empty where there is no encoder.

    A run's encoder is compared with the bank where it is loaded already, and refused where the two differ.

    Raises:
        SegueError: the encoder cannot be loaded, and nothing else is known to be wrong.
    """
    if case.encoder is None:
        return {}
    try:
        encoder = case.encoder()
    except SpaceError as error:
        return {"refused": str(error).removesuffix(".")}
    except SegueError:
        if problems:
            return {}
        raise
    return {"difference": difference(case.bank.space, encoder.space), **_cosines(case, encoder)}


def _cosines(case: Case, encoder: Encoder) -> dict[str, Any]:
    """Return the lowest and median cosine of rows with their texts encoded again, and of rows with other texts."""
    if not case.bank.has_texts or encoder.space.dimension != case.bank.dimension:
        return {}
    alive = np.flatnonzero(case.bank.alive)
    rows = alive[np.unique(np.linspace(0, len(alive) - 1, ENCODED).round().astype(np.int64))]
    stored = case.bank.gather(rows).astype(np.float64)
    stored = np.where(np.isfinite(stored).all(axis=1, keepdims=True), stored, 0.0)
    made = encoder.encode(case.bank.texts(rows)).astype(np.float64)
    size = np.linalg.norm(stored, axis=1), np.linalg.norm(made, axis=1)
    cosine = np.einsum("rd,rd->r", stored, made) / np.maximum(size[0] * size[1], 1e-12)
    other = np.einsum("rd,rd->r", stored, np.roll(made, 1, 0)) / np.maximum(size[0] * np.roll(size[1], 1), 1e-12)
    return {
        "texts": len(rows),
        "lowest": float(cosine.min()),
        "median": float(np.median(cosine)),
        "apart": int((cosine < 1 - COSINE_TOLERANCE).sum()),
        "random": float(np.median(other)) if len(rows) > 1 else None,
        "longest_difference": float(np.abs(size[1] - 1).max()),
    }


def _of_encoder(again: dict[str, Any]) -> list[str]:
    """Say how the encoder differs from the bank."""
    found = [again["refused"]] if "refused" in again else []
    if again.get("difference"):
        found.append(f"bank and encoder differ: {again['difference']}")
    if again.get("apart"):
        found.append(
            f"encoded again, {again['apart']} of {again['texts']} texts are not their rows (lowest cosine "
            f"{again['lowest']:.4f}, median {again['median']:.4f}{_control(again)})"
        )
    if again.get("longest_difference", 0.0) > LENGTH_TOLERANCE:
        found.append(f"the encoder's vectors are not of length 1 (by {again['longest_difference']:.3g})")
    return found


def _control(again: dict[str, Any]) -> str:
    return "" if again["random"] is None else f"; another passage's text {again['random']:.3f}"


def _say_encoder(case: Case, again: dict[str, Any]) -> str:
    if not again:
        reason = "the space is declared" if case.bank.space.declared else "no encoder was given"
        return f"checkpoints and indexes are in the bank's space; {reason}, so the encoder was not compared."
    if "lowest" not in again:
        return "encoder, checkpoints and indexes are in the bank's space; there are no texts to encode again."
    return (
        f"encoder, checkpoints and indexes are in the bank's space; encoded again, {again['texts']} texts have cosine "
        f"≥ {again['lowest']:.4f} with their rows{_control(again)}."
    )


def _unstated(case: Case) -> list[str]:
    trained = [row for row in case.entries if row.trained is not None and row.trained.config.space is None]
    return list(dict.fromkeys(row.name for row in trained))


def _names(names: Iterable[str]) -> str:
    """Join different names.

    >>> _names(["ar-cosine", "mlp", "ar-cosine"])
    'ar-cosine, mlp'
    """
    return ", ".join(dict.fromkeys(names))


CHECK = Check(
    code="SG106",
    title="One embedding space",
    question="Do encoder, bank, checkpoints and index live in one embedding space?",
    detection=f"All live rows are read: each must be finite, not zero and of length 1 within {LENGTH_TOLERANCE:g}. "
    "The fingerprints (vectors of eight fixed probe texts) of bank, encoder, checkpoints and searched banks must agree "
    "(a bank that was encoded anew with those of its checkpoint's document tower, or of its queries' own encoder) "
    f"within a cosine of {COSINE_TOLERANCE:g}; where a space is declared, names and dimensions are all that can be "
    f"compared. {ENCODED} texts spread over the bank are encoded again and must have cosine ≥ "
    f"{1 - COSINE_TOLERANCE} with their rows, beside the cosine with another passage's text.",
    why="GTR-T5 exists with and without its dense layer under one name: mixed, everything runs and every model scores "
    "chance. A norm that overflows in half precision turns a long passage into zeros that no query ever finds.",
    healthy="every row of length 1, every text's cosine with its row ≥ 0.999",
    fix="build the bank again with the encoder that the checkpoint names, and the index from that bank",
    unit="cosine",
    examine=examine,
)
