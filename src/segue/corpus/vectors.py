"""Settings for vectors that were computed elsewhere; ``bank.py`` imports them, no text is read.

The space of such vectors is *declared*, not known: checks that need the encoder are "not applicable".
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from segue.settings import Settings


class VectorsSettings(Settings):
    """Embeddings of your own: a matrix of vectors, and a table that says which passage each row is."""

    kind: Literal["vectors"] = "vectors"
    vectors: Path = Field(description=".npy file, float16 or float32, one unit vector per row [passage, dim]")
    table: Path = Field(description="Parquet file with document_id, position and, where known, text; row i = vector i")
    name: str = Field(
        "unknown", min_length=1, description="name of the encoder that made the vectors, as you declare it"
    )
