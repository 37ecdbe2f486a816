"""Search in a graph of near neighbours (HNSW) over projected vectors of 8 bits a component.

The default: queries of a predictor are off the passages' manifold, so their neighbours are spread over many clusters,
which a graph crosses (docs/performance.md has the figures). An orthogonal projection keeps most of the vectors' energy,
so that a step reads a few hundred bytes. Distances are Euclidean, in the order of the cosine of unit vectors. What the
search finds is scored again with the vectors themselves.
Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using HNSW graphs, 1603.09320.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
from jaxtyping import Float32, Int
from pydantic import Field

from segue.ranking.pool import Pool
from segue.retrieval.index.engine import Effort, Refined, RefinedEngine, flat_vectors, training_sample
from segue.settings import Settings
from segue.types import Progress, no_progress

_WIDTHS = (64, 80, 96, 104, 112, 120, 128, 144, 160, 192, 224, 256, 320, 384, 512, 768, 1024, 2048)
_FAISS: Any = faiss  # its type stubs know a part of it only
_MULTIPLE = 32  # of components: what the processor reads at once


class GraphSettings(Settings):
    """Settings of the graph."""

    kind: Literal["graph"] = "graph"
    neighbours: int = Field(32, ge=4, le=128, description="edges of a passage; twice as many on the lowest level")
    build_width: int = Field(80, ge=8, le=1000, description="candidates compared for each passage's edges")
    energy: float = Field(0.85, gt=0, le=1, description="share of the squared length that shortened vectors keep")
    seed: int = Field(1, ge=0, description="seed of the sample that projection and 8-bit ranges are taken from")


class GraphEngine(RefinedEngine):
    """HNSW graph over 8-bit codes; what it finds is scored again."""

    @classmethod
    def build(cls, pool: Pool, settings: GraphSettings, *, progress: Progress = no_progress) -> GraphEngine:
        """Build the graph over a pool's members; hundreds of thousands take minutes."""
        sample = training_sample(pool, settings.seed)
        projection = shortening(sample, settings.energy)
        graph = _FAISS.IndexHNSWSQ(
            projection.d_out, faiss.ScalarQuantizer.QT_8bit, settings.neighbours, faiss.METRIC_L2
        )
        graph.hnsw.efConstruction = settings.build_width
        codes = faiss.IndexPreTransform(projection, graph)
        codes.train(sample)
        vectors = flat_vectors(pool)
        add_in_steps(codes, vectors, progress)
        return cls(settings, Refined(codes, vectors))

    def search(
        self, queries: Float32[np.ndarray, "batch dim"], count: int, *, effort: Effort
    ) -> tuple[Float32[np.ndarray, "batch count"], Int[np.ndarray, "batch count"]]:
        """Search with a list of ``width`` members, then score all of them again."""
        width = max(effort["width"], count)
        return self._refined.search(queries, count, fetched=width, parameters=_walk(width))

    def efforts(self) -> Sequence[Effort]:
        """Return growing widths."""
        return [{"width": width} for width in _WIDTHS]

    @classmethod
    def load(cls, folder: Path, settings: GraphSettings, _members: Int[np.ndarray, "members"]) -> GraphEngine:
        """Read what ``save`` wrote."""
        return cls(settings, Refined.load(folder))


@functools.cache
def _walk(width: int) -> Any:
    return _FAISS.SearchParametersPreTransform(index_params=_FAISS.SearchParametersHNSW(efSearch=width))


def shortening(sample: Float32[np.ndarray, "rows dim"], energy: float) -> faiss.LinearTransform:
    """Return the orthogonal projection onto the fewest directions that keep a share of the squared length."""
    moments = sample.T @ sample / len(sample)
    lengths, directions = np.linalg.eigh(moments.astype(np.float64))  # rising
    kept = np.cumsum(lengths[::-1]) / lengths.sum()
    enough = int(np.searchsorted(kept, energy)) + 1
    count = min(-(-enough // _MULTIPLE) * _MULTIPLE, sample.shape[1])
    projection = faiss.LinearTransform(sample.shape[1], count, False)
    rows = np.ascontiguousarray(directions[:, ::-1][:, :count].T, dtype=np.float32)
    faiss.copy_array_to_vector(rows.ravel(), projection.A)
    projection.is_trained = True
    return projection


def add_in_steps(index: faiss.Index, vectors: faiss.IndexFlat, progress: Progress) -> None:
    """Add all vectors in steps, so that a build shows progress and can be interrupted."""
    total, step = vectors.ntotal, 8192
    for begin in range(0, total, step):
        index.add(vectors.reconstruct_n(begin, min(step, total - begin)))
        progress(min(begin + step, total), total, "members in the index")
