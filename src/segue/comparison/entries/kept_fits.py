"""What fitting a baseline came to, kept in the run folder: fitted once, read back by every later command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from segue.files import atomic_path

Arrays = dict[str, np.ndarray]


def fitted(path: Path, *, key: str, fit: Callable[[], Arrays]) -> Arrays:
    """Return the arrays kept at ``path``; where there are none for this ``key``, fit them and keep them.

    Args:
        path: an ``.npz`` file without pickle.
        key: says what the result depends on; a file with another key is written anew.
        fit: makes the arrays.
    """
    kept = _read(path, key)
    if kept is not None:
        return kept
    arrays = fit()
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        named: Mapping[str, Any] = {"key": np.array(key), **arrays}
        np.savez(handle, **named)
    return arrays


def _read(path: Path, key: str) -> Arrays | None:
    """Read a file; a missing, foreign or broken one counts as absent, since it can be made again."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, BadZipFile, EOFError):
        return None
    return arrays if str(arrays.pop("key", None)) == key else None
