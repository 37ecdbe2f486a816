"""Write vectors that were computed elsewhere as a bank: a matrix, and a table that names the passage of each row.

Documents are in the order of their first appearance, and passages by position.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from segue.bank.duplicates import DuplicateGroups
from segue.bank.manifest import (
    BUILD,
    MANIFEST,
    BuildPlan,
    TextFacts,
    documents_table,
    read_manifest,
    read_plan,
    require_same_plan,
    write_bank,
)
from segue.bank.shards import ShardRecord, ShardRows, check_vectors, require_bank_folder, write_shard
from segue.corpus.intake import is_null
from segue.corpus.words import visible
from segue.encoders.space import declared_space
from segue.errors import InputError
from segue.files import exclusive, write_json
from segue.types import Progress, no_progress

FLOATS = (np.float16, np.float32, np.float64)
"""Types of numbers that are read; float64 is stored as float32."""
ROWS_CHECKED = 8192
"""Vectors in memory at once while they are checked."""


def write_arrays(
    folder: Path,
    vectors: np.ndarray,
    table: pa.Table,
    plan: BuildPlan,
    *,
    where: tuple[str, str],
    progress: Progress = no_progress,
) -> None:
    """Write a bank into ``folder``, or make sure that it holds the bank of this plan.

    Args:
        folder: folder of the bank.
        vectors: unit vectors [row, dim], of any type of ``FLOATS``.
        table: columns document_id, position and, where known, text; row i describes vector i. A text that is empty or
            null is not known: the passage is like no other.
        plan: source, storage and space.
        where: names of vectors and table in messages.
        progress: called per shard with the number of passages.

    Raises:
        InputError: vectors are not finite, not of length 1 or all the same, positions have gaps, or the folder holds
            another bank.
        StorageError: the disk is full, or another process is writing there.
    """
    if (folder / MANIFEST).exists():
        require_same_plan(folder, read_manifest(folder), plan, finished=True)
        return
    table = _with_known_texts(table)
    with exclusive(folder):
        begun = read_plan(folder)
        require_bank_folder(folder, begun=begun is not None)
        if begun is not None:
            require_same_plan(folder, begun, plan, finished=False)
        for start, block in zip(range(0, len(vectors), ROWS_CHECKED), _in_blocks(vectors), strict=True):
            check_vectors(block, f"{where[0]}, rows {start} to {start + len(block) - 1}")
        if len(vectors) > 1 and all((block == vectors[0]).all() for block in _in_blocks(vectors)):
            raise InputError(f"{where[0]}: all {len(vectors):,} vectors are the same", fix="encode the passages again")
        order, counts = _order(table, where[1])
        write_json(folder / BUILD, plan.to_json())
        in_order = table.take(pa.array(order))
        shards = _write_shards(folder, vectors, in_order, order, plan=plan, progress=progress)
        ids = table["document_id"].unique().to_pylist()  # in order of first appearance
        documents = documents_table(ids, ids, counts.tolist(), first_row=0)
        write_bank(folder, plan, shards, documents, TextFacts("text" in table.column_names))


def bank_of_arrays(
    folder: Path,
    vectors: np.ndarray,
    document_ids: Sequence[object] | np.ndarray,
    texts: Sequence[str] | None,
    *,
    name: str,
    shard_passages: int,
) -> None:
    """Write a bank of arrays; a document's passages are in the order in which they stand.

    Raises:
        InputError: see ``PassageBank.from_arrays``.
    """
    if vectors.ndim != 2 or vectors.dtype not in FLOATS or not len(vectors):
        got, expected = f"{vectors.dtype} {vectors.shape}", "float16, float32 or float64 [passage, dim]"
        raise InputError("vectors are not a matrix of numbers", got=got, expected=expected, fix="np.stack the vectors")
    for what, values in (("document_ids", document_ids), ("texts", texts)):
        if values is not None and len(values) != len(vectors):
            got = f"{len(values):,} {what} for {len(vectors):,} vectors"
            raise InputError(f"vectors and {what} do not match", got=got, expected="one for each vector")
    known = None if texts is None else [None if is_null(text) else text for text in texts]
    count: Counter[str] = Counter()
    names, positions = ["" if is_null(one) else str(one) for one in document_ids], []
    _require_texts(names, [text for text in known or () if text is not None])
    numbers = {str(one) for one in document_ids if not isinstance(one, str)}
    if both := numbers.intersection(one for one in document_ids if isinstance(one, str)):
        fix = "give every document a unique id, and write all ids as texts"
        raise InputError(f"two documents have the id {min(both)!r}, a number and a text", fix=fix)
    for one in names:
        positions.append(count[one])
        count[one] += 1
    columns = {"document_id": names, "position": positions} | ({} if known is None else {"text": known})
    digest = hashlib.sha256(np.ascontiguousarray(vectors).tobytes())
    digest.update(json.dumps(columns, ensure_ascii=False).encode())
    plan = BuildPlan(
        source={"kind": "arrays", "name": name, "sha256": digest.hexdigest()},
        passages=None,
        storage="float16" if vectors.dtype == np.float16 else "float32",
        shard_passages=shard_passages,
        space=declared_space(name, vectors.shape[1]),
    )
    write_arrays(folder, vectors, pa.table(columns), plan, where=("vectors", "document_ids"))


def _require_texts(names: Sequence[str], texts: Sequence[object]) -> None:
    """Refuse ids that are empty, texts that are no strings, and what UTF-8 cannot hold.

    Raises:
        InputError: names the first.
    """
    if not all(visible(name).strip() for name in names):
        raise InputError("a document has an empty id", fix="give every document a unique id")
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise InputError(
            "texts are no strings", got=repr(wrong[0])[:60], expected="strings; None where one is not known"
        )
    for text in (*names, *texts):
        try:
            str(text).encode()
        except UnicodeEncodeError as error:
            raise InputError("a text holds half a character", got=ascii(text)[:60],
                             fix="remove the broken character") from error  # fmt: skip


def _in_blocks(vectors: np.ndarray) -> Iterator[np.ndarray]:
    return (vectors[start : start + ROWS_CHECKED] for start in range(0, len(vectors), ROWS_CHECKED))


def _with_known_texts(table: pa.Table) -> pa.Table:
    """Return the table with empty texts for null, and without texts where all are empty."""
    if "text" not in table.column_names:
        return table
    texts = pc.fill_null(table["text"].cast(pa.string()), "")
    if pc.any(pc.not_equal(pc.utf8_trim_whitespace(texts), "")).as_py():
        return table.set_column(table.column_names.index("text"), "text", texts)
    return table.drop_columns("text")


def _order(table: pa.Table, where: str) -> tuple[Int[np.ndarray, "rows"], Int[np.ndarray, "document"]]:
    """Return the rows in bank order (documents as they first appear, then by position), and passages per document.

    Raises:
        InputError: a position is repeated in a document, or is missing between two others.
    """
    documents = table["document_id"].combine_chunks().dictionary_encode()
    number = documents.indices.to_numpy().astype(np.int64)  # in order of first appearance
    position = table["position"].to_numpy()
    order = np.lexsort((position, number))
    number, position = number[order], position[order]
    step = np.where(np.diff(number) == 0, np.diff(position), 1)
    wrong = np.flatnonzero(step != 1)
    if len(wrong):
        at = int(wrong[0])
        name = documents.dictionary[int(number[at])].as_py()
        got = f"position {position[at]} is followed by {position[at + 1]}"
        what = "a position is repeated" if step[at] == 0 else "positions have a gap"
        fix = "number each document's passages 0, 1, 2 …"
        raise InputError(f"{where}: {what} in document {name!r}", got=got, fix=fix)
    return order, np.bincount(number)


def _write_shards(
    folder: Path,
    vectors: np.ndarray,
    table: pa.Table,
    order: Int[np.ndarray, "rows"],
    *,
    plan: BuildPlan,
    progress: Progress,
) -> list[ShardRecord]:
    """Write all shards; ``table`` is in the bank's order, and ``order`` holds the number of each row's vector."""
    groups, shards = DuplicateGroups(), []
    for number, start in enumerate(range(0, len(order), plan.shard_passages)):
        part = table.slice(start, plan.shard_passages)
        texts = part["text"].to_pylist() if "text" in part.column_names else None
        rows = ShardRows(part["document_id"].to_pylist(), part["position"].to_pylist(), texts)
        part_vectors = vectors[order[start : start + plan.shard_passages]].astype(plan.storage, copy=False)
        shards.append(write_shard(folder, number, rows, part_vectors, groups=groups.add(rows.hashes(), start)))
        progress(start + len(rows), len(order), "vectors imported")
    return shards
