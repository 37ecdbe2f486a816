"""``segue predict``: return the passages that may follow what was read, from a bundle, without a server."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segue.bank.bank import PassageBank
from segue.bank.history import changed_since, difference_since
from segue.bundles.answers import Answer
from segue.bundles.open import Bundle
from segue.bundles.released_retriever import load
from segue.errors import InputError, StorageError
from segue.hardware import Device, limit_threads
from segue.storage import place_of, pull


@dataclass(frozen=True)
class Predicted:
    """An answer of a bundle.

    Attributes:
        bundle: its version.
        outdated: what changed in the bank since the bundle was built, in words, where the bank is there.
    """

    bundle: str
    answer: Answer
    outdated: str | None = None

    def to_json(self) -> Mapping[str, Any]:
        """Return what ``--json`` prints."""
        answer = self.answer
        outdated = {} if self.outdated is None else {"outdated": self.outdated}
        return {"bundle": self.bundle, **outdated, "read": list(answer.read), "confidence": answer.confidence,
                "passages": [asdict(passage) for passage in answer]}  # fmt: skip


def predict(
    bundle: Path | str,
    text: Path | str | None = None,
    *,
    vectors: Path | str | None = None,
    ids: Sequence[str] | None = None,
    k: int = 5,
    bank: Path | str | None = None,
    device: Device | None = None,
) -> Predicted:
    """Return the passages that may follow what was read: give exactly one of text, vectors and ids.

    Args:
        bundle: a bundle, or a folder of bundles.
        text: a file of UTF-8 text, or ``-`` for standard input.
        vectors: a ``.npy`` file with the unit vectors of the passages read, oldest first [context, dim].
        ids: ids of passages of the bundle, oldest first, as its answers name them: ``document#position``.
        k: number of passages.
        bank: folder of the bank that the bundle was built from; the answer states whether it has changed since. None:
            where the bundle recorded it, if it is still there.
        device: device of the models.

    Raises:
        InputError: not exactly one was given, or it cannot be read.
        StorageError: a file of the bundle was changed; the message names it.
        SegueError: any other fault of settings, documents or files; the base class of Segue's errors.
    """
    limit_threads()
    given = [name for name, way in (("text", text), ("vectors", vectors), ("ids", ids or None)) if way is not None]
    if len(given) != 1:
        raise InputError("what was read is given in exactly one way", got=" and ".join(given) or "nothing",
                         expected="one of text, vectors, ids",
                         fix="give --text FILE, --vectors FILE.npy, or --id once for each passage")  # fmt: skip
    query: dict[str, Any]
    if text is not None:
        query = {"text": read_text(text)}
    else:
        query = {"ids": list(ids or ())} if vectors is None else {"vectors": read_vectors(vectors)}
    retriever = load(bundle, texts="text" in query, device=device or "auto")
    return Predicted(retriever.bundle.version, retriever.next(**query, k=k), bundle_changes(retriever.bundle, bank))


def bundle_changes(bundle: Bundle, bank: Path | str | None = None) -> str | None:
    """Return in one line what changed in a bank since a bundle was built from it; None where nothing did.

    Args:
        bundle: the bundle.
        bank: folder of the bank; None: where the bundle recorded it, if it is still there.

    Raises:
        InputError: there is no bank in that folder.
    """
    place, known = bank or _bank_beside(bundle), str(bundle.contract["bank"]["hash"])
    words = None if place is None else changed_since(PassageBank.open(place), known)
    line = f"{place} has changed since this bundle was built: {{}}; it answers from the bank as it was. "
    return None if words is None else line.format(words) + "Build a bundle of a new run."


def _bank_beside(bundle: Bundle) -> Path | None:
    """Return the folder of the bank that a bundle was built from, or None; a promoted bundle is one folder deeper."""
    about = bundle.contract["bank"]
    for folder in (bundle.path, bundle.path.parent) if about.get("beside") else ():
        place = Path(os.path.normpath(folder.resolve() / about["beside"]))
        with contextlib.suppress(InputError, StorageError):
            if difference_since(PassageBank.open(place_of(place)), str(about["hash"])) is not None:
                return place
    return None


def read_vectors(path: Path | str) -> np.ndarray:
    """Read a matrix of floats from a ``.npy`` file; one vector is a matrix of one row."""
    try:
        found = np.load(pull(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        got = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise InputError(f"cannot read the vectors {path}", got=got, expected="a .npy file") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind != "f" or found.ndim not in (1, 2):
        got = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
        raise InputError(f"{path} holds no vectors", got=got, expected="floats [context, dim]",
                         fix="save them with np.save(path, matrix.astype('float32'))")  # fmt: skip
    return np.atleast_2d(found)


def read_text(path: Path | str) -> str:
    """Read UTF-8 text from a file or, for ``-``, from standard input."""
    if not str(path):
        raise InputError(
            "the text is empty", got="''", expected="the path of a file of UTF-8 text, or - for standard input"
        )
    try:
        raw = sys.stdin.buffer.read() if str(path) == "-" else pull(path).read_bytes()
        return raw.decode("utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}", got=error.strerror, fix="check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8", got=f"byte {error.start}", fix="convert it") from error
