"""Option names of version 0.1, as recipes and run folders still hold them, and what they are called now."""

from __future__ import annotations

import functools
import json
import re
import sys
from pathlib import Path
from typing import Any

from segue.files import read_json

_TEMPERATURES = ("0.05", "0.10", "0.15")
CURRENT: dict[str, str] = {
    "ar-only": "ar-cosine",
    "option-1-raw": "infonce-ar",
    **{f"option-2-tau-{tau}": f"infonce-projected-tau-{tau}" for tau in _TEMPERATURES},
    **{f"option-2-raw-tau-{tau}": f"infonce-ar-tau-{tau}" for tau in _TEMPERATURES},
    "option-3-pure": "infonce",
    "option-3-whole-bank": "infonce-bank",
    "option-4-two-tower": "two-tower",
    "option-4-siamese": "siamese",
    "option-4-text-dual-encoder": "text-dual-encoder",
    "option-4-cross-encoder": "cross-encoder",
    "option-4-rerank": "rerank",
    "option-4-lvm-over-bm25": "bm25-by-model",
    "option-4-lvm-over-copy-last": "copy-last-by-model",
    "option-5-amn": "amn-mse",
    **{f"model-{name}": name for name in ("amn", "gru", "lstm", "transformer", "mamba", "mlp")},
}
"""Old name → name."""

_OLD = {name: old for old, name in CURRENT.items()}
_PATTERN = re.compile(rf"(?<![\w-])({'|'.join(sorted(map(re.escape, CURRENT), key=len, reverse=True))})(?![\w-])")


def current_name(name: str) -> str:
    """Return the name an option has now; an old name is reported once, on stderr.

    >>> current_name("copy-last")
    'copy-last'
    """
    if name not in CURRENT:
        return name
    _report(name)
    return CURRENT[name]


@functools.cache
def _report(old: str) -> None:
    print(f"segue: option {old!r} is called {CURRENT[old]!r} since version 0.2", file=sys.stderr)


def option_folder(options: Path, name: str) -> Path:
    """Return the folder of an option below ``options``: its old name's, where version 0.1 wrote it."""
    old = options / _OLD.get(name, name)
    return old if old.exists() and not (options / name).exists() else options / name


def read_with_current_names(path: Path) -> dict[str, Any]:
    """Read a JSON file of a run, with options under their current names.

    Raises:
        InputError: as ``segue.files.read_json``.
    """
    text = _PATTERN.sub(lambda found: CURRENT[found[1]], json.dumps(read_json(path)))
    record: dict[str, Any] = json.loads(text, object_pairs_hook=_with_current_keys)
    return record


def _with_current_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Version 0.1 called the remedy of a finding ``mend``."""
    return {"fix" if key == "mend" else key: value for key, value in pairs}
