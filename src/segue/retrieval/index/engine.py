"""What an approximate index needs of a search library: near members of a pool, and an order of effort.

Engines know vectors only. Candidates, duplicates, exclusions and the order of equal scores are ``approximate.py``'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int

Effort = Mapping[str, int]
"""How hard one search tries, by the engine's own words: ``{"width": 128, "refined": 4}``."""


@runtime_checkable
class Engine(Protocol):
    """Searches the members of one pool, numbered as in ``pool.members``."""

    def search(
        self, queries: Float32[np.ndarray, "batch dim"], count: int, *, effort: Effort
    ) -> tuple[Float32[np.ndarray, "batch count"], Int[np.ndarray, "batch count"]]:
        """Return scores and members, best first; -1 where fewer were found.

        Scores are inner products with the stored float32 vectors, off by no more than ``pool.rounding_bound``.
        """
        ...

    @property
    def settings(self) -> Any:
        """What it was built with (a pydantic model)."""
        ...

    def vectors_of(self, members: Int[np.ndarray, "some"]) -> Float32[np.ndarray, "some dim"]:
        """Return stored vectors."""
        ...

    def efforts(self) -> Sequence[Effort]:
        """Return the efforts that tuning may choose from, from the least to the greatest."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return the settings it was built with and the bytes it takes."""
        ...

    def save(self, folder: Path) -> None:
        """Write what ``load`` reads, the vectors themselves excepted."""
        ...
