"""Search in the nearest of many clusters by LanceDB, over codes or vectors that lie in its table.

The table holds the vectors, so an index takes one copy of them, and follows its bank without being built again: rows
that left are deleted, new ones are appended and sorted into the clusters there are (``update``). Every search reads the
version that the index's settings name, so an update does not disturb it. Clusters are trained by LanceDB, which takes
no seed: two builds may find different members with the same effort; tuning measures the one there is.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int
from pydantic import Field

from segue.bank.lance import ROWS_AT_ONCE, Batches, agree, connect, lance_errors, rows_of, vector_column
from segue.errors import InputError, StorageError
from segue.ranking.pool import Pool
from segue.retrieval.index.engine import Effort
from segue.settings import Settings
from segue.types import Progress, no_progress

FOLDER, TABLE = "lance", "members"
REBUILD = "build the index again"
_SHARES = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of the lists
_REFINED = {"none": (1,), "scalar": (1, 4), "product": (4, 16)}  # times the members wanted, by codes
_PLACES_AT_ONCE = 1 << 15  # members that one call scores, for all of its queries: 100 MB of 768 dimensions
_NEVER = timedelta(days=100_000)
_TRAINED_ON = 256  # vectors of each list that LanceDB trains on; it makes no more lists than so many vectors allow


class LanceSettings(Settings):
    """Settings of the clusters and codes."""

    kind: Literal["lance"] = "lance"
    lists: int = Field(0, ge=0, description="clusters; 0: as many as members divided by 1,024, at least 1")
    codes: Literal["scalar", "product", "none"] = Field(
        "scalar", description="a byte a component, product quantisation, or the vectors themselves"
    )
    components_per_code: int = Field(8, ge=1, le=64, description="of product codes: coded together in 8 bits")
    version: int = Field(0, ge=0, description="version of the table that is searched; set when it is built")


class LanceEngine:
    """A table of LanceDB with an index over its vectors.

    Args:
        settings: name the version that is searched.
        folder: holds the database.
        members: the pool's rows, in the order of its members.

    Raises:
        StorageError: that version holds other rows.
    """

    clock = staticmethod(time.process_time)  # LanceDB searches in threads of its own

    def __init__(self, settings: LanceSettings, folder: Path, members: Int[np.ndarray, "members"]) -> None:
        self.settings = settings
        self._folder, self._members = folder, members
        self._table, held = _open(folder, settings.version)
        self._by_row = np.argsort(members)  # members, ascending by row
        self._rows = members[self._by_row]
        offset = np.argsort(held)
        if not np.array_equal(held[offset], self._rows):
            raise StorageError(f"{folder} holds other passages than the bank", got=f"{len(held):,} rows",
                               expected=f"the {len(members):,} of the pool", fix=REBUILD)  # fmt: skip
        self._offset = np.empty_like(offset)  # of each member in the table
        self._offset[self._by_row] = offset

    @classmethod
    def build(cls, pool: Pool, settings: LanceSettings, *, progress: Progress = no_progress) -> LanceEngine:
        """Write the table into a temporary folder, train the clusters and sort a pool's members into them.

        Raises:
            InputError: the dimension does not fit the codes.
        """
        if settings.codes == "product" and pool.bank.dimension % settings.components_per_code:
            raise InputError("vectors cannot be cut into codes", got=f"{pool.bank.dimension} dimensions",
                             expected=f"a multiple of components_per_code = {settings.components_per_code}",
                             fix="choose a divisor of the dimension")  # fmt: skip
        folder = Path(tempfile.mkdtemp(prefix="segue-lance-"))
        try:
            database = connect(folder / FOLDER)
            with lance_errors(folder, fix=REBUILD):
                table = database.create_table(TABLE, schema=_schema(pool.bank.dimension))
                agree(table, np.sort(pool.members), _reader(pool, progress), trusted=0)
                table.create_index("vector", config=_config(settings, pool), name="nearest")
            engine = cls(settings.model_copy(update={"version": table.version}), folder, pool.members)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        weakref.finalize(engine, shutil.rmtree, folder, ignore_errors=True)
        return engine

    @classmethod
    def update(
        cls, folder: Path, settings: LanceSettings, pool: Pool, *, progress: Progress = no_progress
    ) -> tuple[LanceEngine, int]:
        """Bring a saved index to a changed pool: delete the rows that left, append new ones to their clusters.

        Engines that are open keep searching their own version. If the process is killed, the settings still name the
        version before; the next update puts the table right.

        Returns:
            The engine of the new version, and the number of rows that were deleted or appended.
        """
        _, known = _open(folder, settings.version)
        with lance_errors(folder, fix=REBUILD):
            table = connect(folder / FOLDER).open_table(TABLE)
            changed = sum(agree(table, np.sort(pool.members), _reader(pool, progress), trusted=int(known.max()) + 1))
            if changed:
                table.optimize(cleanup_older_than=_NEVER)  # the version that is recorded yet may be old
        return cls(settings.model_copy(update={"version": table.version}), folder, pool.members), changed

    def forget(self) -> None:
        """Remove versions older than seven days, once a newer one is recorded."""
        with lance_errors(self._folder, fix=REBUILD):
            connect(self._folder / FOLDER).open_table(TABLE).optimize()

    def search(
        self, queries: Float32[np.ndarray, "batch dim"], count: int, *, effort: Effort
    ) -> tuple[Float32[np.ndarray, "batch count"], Int[np.ndarray, "batch count"]]:
        """Search the ``lists`` nearest clusters, and score ``refined`` times ``count`` members with their vectors."""
        scores = np.full((len(queries), count), -np.inf, dtype=np.float32)
        members = np.full((len(queries), count), -1, dtype=np.int64)
        at_once = max(1, _PLACES_AT_ONCE // (count * effort["refined"]))
        for start in range(0, len(queries), at_once):
            part = queries[start : start + at_once]
            asked = self._table.search(part if len(part) > 1 else part[0]).limit(count).nprobes(effort["lists"])
            found = asked.refine_factor(effort["refined"]).select(["row", "_distance"]).to_arrow()
            query = found["query_index"].to_numpy() if len(part) > 1 else np.zeros(len(found), dtype=np.int64)
            score = 1 - found["_distance"].to_numpy()
            order = np.lexsort((-score, query))
            number = np.bincount(query, minlength=len(part))
            place = np.arange(len(order)) - np.repeat(np.cumsum(number) - number, number)
            at = start + query[order], place
            scores[at] = score[order]
            members[at] = self._by_row[np.searchsorted(self._rows, found["row"].to_numpy()[order])]
        return scores, members

    def vectors_of(self, members: Int[np.ndarray, "some"]) -> Float32[np.ndarray, "some dim"]:
        """Return stored vectors."""
        wanted = np.unique(members)
        found = self._table.take_offsets(self._offset[wanted].tolist()).select(["row", "vector"]).to_arrow()
        found = found.sort_by("row")
        vectors = found["vector"].combine_chunks().flatten().to_numpy().reshape(len(wanted), -1)
        return vectors[np.searchsorted(found["row"].to_numpy(), self._members[members])]

    def efforts(self) -> Sequence[Effort]:
        """Return growing numbers of lists, each with growing numbers of members scored again."""
        lists = _lists(self.settings, len(self._rows))
        numbers = sorted({max(1, round(share * lists)) for share in _SHARES})
        refined = _REFINED[self.settings.codes]
        return [{"lists": number, "refined": times} for number in numbers for times in refined]

    def facts(self) -> Mapping[str, object]:
        """Return settings and the bytes of the table, all versions included."""
        files = [path.stat().st_size for path in (self._folder / FOLDER).rglob("*") if path.is_file()]
        return {**self.settings.model_dump(), "table_bytes": sum(files)}

    def save(self, folder: Path) -> None:
        """Copy the table."""
        shutil.copytree(self._folder / FOLDER, folder / FOLDER)

    @classmethod
    def load(cls, folder: Path, settings: LanceSettings, members: Int[np.ndarray, "members"]) -> LanceEngine:
        """Open what ``save`` wrote."""
        return cls(settings, folder, members)


def _open(folder: Path, version: int) -> tuple[Any, Int[np.ndarray, "members"]]:
    """Open a version of the table for reading, and return its rows."""
    database = connect(folder / FOLDER)
    with lance_errors(folder, fix=REBUILD):
        table = database.open_table(TABLE)
        table.checkout(version)
        return table, rows_of(table)


def _schema(dimension: int) -> pa.Schema:
    return pa.schema([("row", pa.int64()), ("vector", pa.list_(pa.float32(), dimension))])


def _reader(pool: Pool, progress: Progress) -> Batches:
    def read(rows: Int[np.ndarray, "rows"]) -> Iterator[pa.RecordBatch]:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            columns = [pa.array(part), vector_column(pool.bank.gather(part))]
            yield pa.RecordBatch.from_arrays(columns, schema=_schema(pool.bank.dimension))
            progress(start + len(part), len(rows), "members in the table")

    return read


def _lists(settings: LanceSettings, members: int) -> int:
    """Return the number of clusters that LanceDB trains."""
    return max(1, min(settings.lists or members // 1024, members // _TRAINED_ON))


def _config(settings: LanceSettings, pool: Pool) -> Any:
    from lancedb.index import IvfFlat, IvfPq, IvfSq

    common: dict[str, Any] = {"distance_type": "dot", "num_partitions": _lists(settings, len(pool.members))}
    if settings.codes == "product":
        return IvfPq(**common, num_sub_vectors=pool.bank.dimension // settings.components_per_code)
    return (IvfFlat if settings.codes == "none" else IvfSq)(**common)
