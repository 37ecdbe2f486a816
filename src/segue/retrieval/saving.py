"""Parts of a saved retriever: the files of a folder and, for each part, a description in JSON.

Each kind of retriever, query function and reranker writes its own files (``save_part``) and reads them back
(``load_part``); ``registry.py`` lists the class of each kind. What several parts share is read once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from segue.bank.bank import PassageBank
from segue.encoders import Encoder, EncoderSettings
from segue.errors import InputError
from segue.files import copy_folder
from segue.parts import is_own
from segue.ranking.pool import Pool
from segue.retrieval.index import Index
from segue.retrieval.index.exact import ExactIndex
from segue.retrieval.index.store import KINDS, load_index

INDEX, PREDICTOR, RERANKER, READER, RIDGE, DENSITY, TEXT_MODEL = (
    "index",
    "predictor",
    "reranker",
    "cross-encoder",
    "ridge.safetensors",
    "density.npy",
    "text-model",
)
"""Files and folders of the parts."""

Description = Mapping[str, Any]
"""JSON object that describes a part: its ``kind``, and what its files do not hold."""

Read = TypeVar("Read")


@dataclass(frozen=True)
class PartWriter:
    """Folder that parts are written to, and where the run keeps what they were read from.

    Attributes:
        folder: receives the files.
        checkpoint: checkpoint of the predictor; None without one.
        text_model: folder of the fine-tuned text encoder and of the bank as it encoded it; None without one.
        density: returns the cosines of each passage's neighbours.
        context_tokens: tokens of a context's end that the encoder reads; None: its limit.
    """

    folder: Path
    checkpoint: Path | None
    text_model: Path | None
    density: Callable[[], np.ndarray]
    context_tokens: int | None

    def copy(self, source: Path, name: str) -> None:
        """Copy a folder of the run once, without the state of its training and its cached queries."""
        if not (self.folder / name).exists():
            copy_folder(source, self.folder / name, without=(".*", "state.safetensors", "queries.npz"))


class PartReader:
    """Reads parts back.

    Args:
        folder: written by a ``PartWriter``.
        bank: the passages that are searched.
        kinds: the function that reads each kind of part.
        load_encoder: returns the bank's encoder; called where a part encodes text.
        encoder: its settings, for parts that read text with an encoder of their own.
        index: description of the index.
        device: device of the nets.
    """

    def __init__(
        self,
        folder: Path,
        bank: PassageBank,
        kinds: Mapping[str, Callable[[Description, PartReader], Any]],
        *,
        load_encoder: Callable[[], Encoder],
        encoder: EncoderSettings,
        index: Description,
        device: str | torch.device,
    ) -> None:
        self.folder, self.bank, self.pool = folder, bank, Pool(bank)
        self.load_encoder, self.encoder, self.device = load_encoder, encoder, device
        self._kinds, self._index = kinds, index
        self._shared: dict[str, Any] = {}

    @functools.cached_property
    def index(self) -> Index:
        """Index over the whole bank.

        Raises:
            InputError: this version does not know such an index.
        """
        kind = self._index.get("kind")
        if kind == "exact":
            return ExactIndex(self.pool)
        if kind not in KINDS and not is_own("index", str(kind)):
            raise InputError("the bundle has an index that this version does not know", got=kind,
                             expected=" or ".join(("exact", *KINDS)),
                             fix="use the version that wrote it, or build the bundle again")  # fmt: skip
        return load_index(self.folder / INDEX, self.pool)

    def read(self, about: Description) -> Any:
        """Return the retriever, query function or reranker of a description."""
        return self._kinds[about["kind"]](about, self)

    def once(self, name: str, make: Callable[[], Read]) -> Read:
        """Return what several parts share, made the first time."""
        if name not in self._shared:
            self._shared[name] = make()
        found: Read = self._shared[name]
        return found


def cannot_save(what: str, name: str) -> InputError:
    """Return the error that refuses a part of a kind that bundles do not hold."""
    return InputError(f"a bundle cannot hold this {what}", got=name,
                      expected="an option that can win a triage: a candidate, not a control",
                      fix="name another option with --option")  # fmt: skip
