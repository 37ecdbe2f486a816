"""A large bank for measurements: synthetic, but with the neighbourhoods of real text.

Enters: a real bank. Leaves: a bank of the wanted number of rows and twice the dimension, on disk and memory-mapped.
A synthetic document is an ordered pair of different real documents (A, B) of one source; its row i is the passage
vectors i of both, side by side and normalised, for i up to the shorter one's length. Pairs are drawn, seeded, until
there are enough rows; a pair that was drawn before is drawn again, and the last document is cut. A document's source is
what stands before the first ``/`` of its id, where another document has the same; all others are of one source.

The text of a row names the duplicate groups of its two halves, so that rows are duplicates exactly where both halves
are. The construction was fixed before any engine was tuned on it, and it must stay: figures are compared over years.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from segue.bank.bank import PassageBank
from segue.bank.build import DuplicateGroups
from segue.bank.manifest import (
    BUILD,
    MANIFEST,
    BuildPlan,
    TextFacts,
    documents_table,
    read_plan,
    require_same_plan,
    write_bank,
)
from segue.bank.shards import ShardRows, Storage, complete_shards, require_bank_folder, write_shard
from segue.encoders.space import declared_space
from segue.errors import InputError, explain
from segue.files import exclusive, write_json
from segue.ranking.exact import top_k
from segue.ranking.pool import Pool
from segue.types import Bank, Progress, no_progress

ROWS = 584_545
"""As many passages as the system had that the project grew from."""

SHARD = 65_536
_PLACES = (1, 10, 50)


@dataclass(frozen=True)
class Pairs:
    """Which real rows stand in which synthetic row.

    Attributes:
        left: real row of the first half of each synthetic row.
        right: of the second half.
        num_rows: rows of each synthetic document.
        names: of the synthetic documents.
    """

    left: Int[np.ndarray, "bank"]
    right: Int[np.ndarray, "bank"]
    num_rows: Int[np.ndarray, "document"]
    names: list[str]


def build_structured_bank(
    real: Bank,
    out: Path,
    *,
    rows: int = ROWS,
    seed: int = 1,
    storage: Storage = "float32",
    progress: Progress = no_progress,
) -> PassageBank:
    """Build the bank in ``out``, go on with an unfinished build, or open a finished one of the same settings.

    Args:
        real: where documents and vectors come from.
        out: the new bank's folder.
        rows: passages.
        seed: of the pairs.
        storage: of the vectors on disk.
        progress: called per shard with the rows done so far.

    Raises:
        InputError: the real bank has too few documents for so many rows, or ``out`` holds something else.
        StorageError: the disk is full, or another process is writing there.
    """
    source = {"kind": "structured", "of": real.hash or "unknown", "rows": rows, "seed": seed}
    space = declared_space("pairs of real passages", 2 * real.dimension)
    plan = BuildPlan(source=source, passages=None, storage=storage, shard_passages=SHARD, space=space)
    if (out / MANIFEST).exists():
        whole = PassageBank.open(out)
        require_same_plan(out, whole.manifest, plan, finished=True)
        return whole
    with exclusive(out):
        begun = read_plan(out)
        require_bank_folder(out, begun=begun is not None)
        if begun is not None:
            require_same_plan(out, begun, plan, finished=False)
        write_json(out / BUILD, plan.to_json())
        _write(real, draw_pairs(real, rows=rows, seed=seed), out, plan=plan, progress=progress)
    return PassageBank.open(out)


def draw_pairs(real: Bank, *, rows: int, seed: int) -> Pairs:
    """Draw pairs of documents of one source until they have ``rows`` rows.

    Raises:
        InputError: all pairs together have fewer.
    """
    generator = np.random.default_rng(seed)
    sources = _sources(real)
    drawn: dict[tuple[int, int], int] = {}
    total, most = 0, most_rows(real)
    if most < rows:
        fix = "give more documents or ask for fewer rows"
        raise InputError(
            explain("too few documents for so large a bank", got=f"pairs of {most} rows", expected=rows, fix=fix)
        )
    while total < rows:
        first = int(generator.integers(len(real.num_rows)))
        second = int(generator.choice(sources[first]))
        length = min(int(real.num_rows[first]), int(real.num_rows[second]), rows - total)
        if first != second and (first, second) not in drawn:
            drawn[first, second] = length
            total += length
    return _pairs(real, drawn)


def _sources(real: Bank) -> list[Int[np.ndarray, "documents"]]:
    """Return, for each document, all documents of its source."""
    heads = [name.partition("/")[0] if "/" in name else "" for name in real.document_ids]
    count = Counter(heads)
    heads = [head if count[head] > 1 else "" for head in heads]
    members = {head: np.flatnonzero([other == head for other in heads]) for head in set(heads)}
    return [members[head] for head in heads]


def most_rows(real: Bank) -> int:
    """Count the rows of all pairs there are."""
    lengths = np.asarray(real.num_rows, dtype=np.int64)
    return sum(
        int(np.minimum(lengths[others], length).sum() - length)
        for length, others in zip(lengths, _sources(real), strict=True)
    )


def _pairs(real: Bank, drawn: dict[tuple[int, int], int]) -> Pairs:
    first, second = np.array(list(drawn)).T
    count = np.array(list(drawn.values()))
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    starts = np.asarray(real.first_row, dtype=np.int64)
    names = [f"{real.document_ids[one]} + {real.document_ids[other]}" for one, other in drawn]
    return Pairs(np.repeat(starts[first], count) + within, np.repeat(starts[second], count) + within, count, names)


def _write(real: Bank, pairs: Pairs, out: Path, *, plan: BuildPlan, progress: Progress) -> None:
    """Write the shards that are not there yet, then documents and manifest."""
    records, groups = complete_shards(out), DuplicateGroups()
    for number, rows in enumerate(_shard_rows(real, pairs)):
        start = number * SHARD
        group = groups.add(rows.hashes(), start)
        if number == len(records):
            vectors = _vectors(real, pairs, start).astype(plan.storage, copy=False)
            records.append(write_shard(out, number, rows, vectors, groups=group))
        progress(start + len(rows), len(pairs.left), "synthetic passages")
    documents = documents_table(pairs.names, pairs.names, pairs.num_rows.tolist(), first_row=0)
    write_bank(out, plan, records, documents, TextFacts(known=True))


def _shard_rows(real: Bank, pairs: Pairs) -> Iterator[ShardRows]:
    """Yield ids, positions and texts of one shard after the other."""
    number = np.repeat(np.arange(len(pairs.names)), pairs.num_rows)
    position = np.arange(len(number)) - np.repeat(np.cumsum(pairs.num_rows) - pairs.num_rows, pairs.num_rows)
    left, right = real.duplicate_group[pairs.left], real.duplicate_group[pairs.right]
    for start in range(0, len(number), SHARD):
        part = slice(start, start + SHARD)
        texts = [f"passage {one} beside passage {other}" for one, other in zip(left[part], right[part], strict=True)]
        yield ShardRows([pairs.names[document] for document in number[part]], position[part].tolist(), texts)


def _vectors(real: Bank, pairs: Pairs, start: int) -> Float[np.ndarray, "rows dim"]:
    part = slice(start, start + SHARD)
    vectors = np.concatenate([real.gather(pairs.left[part]), real.gather(pairs.right[part])], axis=1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def off_manifold_queries(bank: Bank, count: int, *, seed: int) -> Float[np.ndarray, "batch dim"]:
    """Return normalised means of three consecutive rows of one document: off the manifold, as predictions are.

    Raises:
        InputError: the bank has fewer such places.
    """
    rows = middle_rows(bank)
    if len(rows) < count:
        raise InputError(explain("too few passages between two others", got=len(rows), expected=f"{count} or more"))
    chosen = np.random.default_rng(seed).choice(rows, count, replace=False)
    means = sum(bank.gather(chosen + step) for step in (-1, 0, 1))
    return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


def neighbour_profile(bank: Bank, *, queries: int = 100, seed: int = 9) -> dict[str, float]:
    """Return the median cosine of off-manifold queries to their 1st, 10th and 50th best candidate."""
    vectors = off_manifold_queries(bank, min(queries, len(middle_rows(bank))), seed=seed)
    pool = Pool(bank)
    deepest = min(max(_PLACES), pool.size)
    scores = top_k(vectors, pool, deepest, exclude=np.empty((len(vectors), 0), dtype=np.int64)).scores
    return {str(place): round(float(np.median(scores[:, place - 1])), 4) for place in _PLACES if place <= deepest}


def middle_rows(bank: Bank) -> Int[np.ndarray, "rows"]:
    """Return the rows with another passage of the same document before and after them."""
    document = bank.document_of
    return np.flatnonzero((document[2:] == document[:-2]) & (document[1:-1] == document[:-2])) + 1
