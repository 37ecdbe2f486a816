"""Option names of version 0.1, which older recipes and run folders hold, and their present names."""

from __future__ import annotations

import functools
import json
import re
import sys
from pathlib import Path

from segue.files import JsonObject, read_json

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
"""Present name of each old name."""

_OLD = {name: old for old, name in CURRENT.items()}
_PATTERN = re.compile(rf"(?<![\w-])({'|'.join(sorted(map(re.escape, CURRENT), key=len, reverse=True))})(?![\w-])")


def current_name(name: str) -> str:
    """Return the present name of an option; an old name is reported once, on stderr.

    >>> current_name("copy-last")
    'copy-last'
    """
    if name not in CURRENT:
        return name
    _report(name)
    return CURRENT[name]


@functools.cache
def _report(old: str) -> None:
    print(f"segue: option {old!r} was renamed to {CURRENT[old]!r} in version 0.2", file=sys.stderr)


def option_folder(options: Path, name: str) -> Path:
    """Return the folder of an option below ``options``, under its old name if version 0.1 wrote it."""
    old = options / _OLD.get(name, name)
    return old if old.exists() and not (options / name).exists() else options / name


def read_with_current_names(path: Path) -> JsonObject:
    """Read a JSON file of a run, with options under their present names.

    Raises:
        InputError: as ``segue.files.read_json``.
    """
    text = _PATTERN.sub(lambda found: CURRENT[found[1]], json.dumps(read_json(path)))
    record: JsonObject = json.loads(text)
    return record
