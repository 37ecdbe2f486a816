"""Edit what Segue reads back as its author would, hashes included: ``from resealed import edit, reseal``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from segue.files import file_sha256, read_json, write_json


def edit(path: Path, /, **changed: Any) -> None:
    """Change keys of a record."""
    write_json(path, read_json(path) | changed)


def replace_text(path: Path, old: str, new: str) -> None:
    """Replace a text in every string of a record."""
    write_json(path, _mapped(read_json(path), lambda text: text.replace(old, new)))


def reseal(path: Path) -> None:
    """Let a record name its files as they are now."""
    edit(path, files={name: file_sha256(path.parent / name) for name in read_json(path)["files"]
                      if (path.parent / name).is_file()})  # fmt: skip


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _mapped(one, change) for key, one in value.items()}
    if isinstance(value, list):
        return [_mapped(one, change) for one in value]
    return change(value) if isinstance(value, str) else value
