"""``segue predict``: return the passages that may follow a text, from a bundle, without a server."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segue.bundles.answers import Answer
from segue.bundles.released_retriever import load
from segue.errors import InputError
from segue.hardware import Device, limit_threads


@dataclass(frozen=True)
class Predicted:
    """An answer of a bundle."""

    bundle: str
    answer: Answer

    def to_json(self) -> Mapping[str, Any]:
        """Return what ``--json`` prints."""
        answer = self.answer
        return {"bundle": self.bundle, "read": list(answer.read), "confidence": answer.confidence,
                "passages": [asdict(passage) for passage in answer]}  # fmt: skip


def predict(bundle: Path | str, text: Path | str, *, k: int = 5, device: Device | None = None) -> Predicted:
    """Return the passages that may follow a text.

    Args:
        bundle: a bundle, or a folder of bundles.
        text: a file of UTF-8 text, or ``-`` for standard input.
        k: number of passages.
        device: device of the models.

    Raises:
        InputError: the text cannot be read.
    """
    limit_threads()
    content = read_text(text)
    retriever = load(bundle, device=device or "auto")
    return Predicted(retriever.bundle.version, retriever.next(text=content, k=k))


def read_text(path: Path | str) -> str:
    """Read UTF-8 text from a file or, for ``-``, from standard input."""
    try:
        raw = sys.stdin.buffer.read() if str(path) == "-" else Path(path).read_bytes()
        return raw.decode("utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}", got=error.strerror, fix="check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8", got=f"byte {error.start}", fix="convert it") from error
