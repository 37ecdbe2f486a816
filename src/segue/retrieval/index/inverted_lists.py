"""Search in the nearest of many clusters, over product-quantised codes of 4 bits read in registers (fast scan).

Small and quick to build; better than a graph where queries are near the passages, as encoded text is.
Jégou et al., Product quantization for nearest neighbor search; André et al., Quicker ADC, 1812.09162.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
from jaxtyping import Float32, Int
from pydantic import Field

from segue.errors import InputError
from segue.ranking.pool import Pool
from segue.retrieval.index.engine import Effort, Refined, RefinedEngine, flat_vectors, training_sample
from segue.retrieval.index.graph import add_in_steps
from segue.settings import Settings
from segue.types import Progress, no_progress

_FAISS: Any = faiss  # its type stubs know a part of it only
_SHARES = (1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0)  # of the lists
_REFINED = (2, 4, 8, 16)  # times the members wanted


class InvertedListsSettings(Settings):
    """Settings of the clusters and codes."""

    kind: Literal["inverted-lists"] = "inverted-lists"
    lists: int = Field(0, ge=0, description="clusters; 0: as many as members divided by 512, at least 1")
    components_per_code: int = Field(4, ge=1, le=64, description="components coded together in 4 bits; must divide dim")
    seed: int = Field(1, ge=0, description="seed of clustering and of its sample")


class InvertedListsEngine(RefinedEngine):
    """Clusters of 4-bit codes; what they hold is scored again."""

    @classmethod
    def build(
        cls, pool: Pool, settings: InvertedListsSettings, *, progress: Progress = no_progress
    ) -> InvertedListsEngine:
        """Cluster and code a pool's members."""
        dimension, count = pool.bank.dimension, len(pool.members)
        if dimension % settings.components_per_code:
            raise InputError("vectors cannot be cut into codes", got=f"{dimension} dimensions",
                             expected=f"a multiple of components_per_code = {settings.components_per_code}",
                             fix="choose a divisor of the dimension")  # fmt: skip
        lists = min(settings.lists or count // 512, count) or 1
        coarse = faiss.IndexFlatIP(dimension)
        codes = faiss.IndexIVFPQFastScan(
            coarse, dimension, lists, dimension // settings.components_per_code, 4, faiss.METRIC_INNER_PRODUCT
        )
        codes.cp.seed = settings.seed
        codes.cp.spherical = True
        codes.train(training_sample(pool, settings.seed))
        vectors = flat_vectors(pool)
        add_in_steps(codes, vectors, progress)
        return cls(settings, Refined(codes, vectors))

    def search(
        self, queries: Float32[np.ndarray, "batch dim"], count: int, *, effort: Effort
    ) -> tuple[Float32[np.ndarray, "batch count"], Int[np.ndarray, "batch count"]]:
        """Scan the ``lists`` nearest clusters, then score the best again."""
        scan = _FAISS.IVFSearchParameters(nprobe=effort["lists"])
        return self._refined.search(queries, count, fetched=effort["refined"] * count, parameters=scan)

    def efforts(self) -> Sequence[Effort]:
        """Return growing numbers of lists, each with growing numbers of members scored again."""
        lists = self._refined.codes.nlist
        numbers = sorted({max(1, round(share * lists)) for share in _SHARES})
        return [{"lists": number, "refined": refined} for number in numbers for refined in _REFINED]

    @classmethod
    def load(
        cls, folder: Path, settings: InvertedListsSettings, _members: Int[np.ndarray, "members"]
    ) -> InvertedListsEngine:
        """Read what ``save`` wrote."""
        return cls(settings, Refined.load(folder))
