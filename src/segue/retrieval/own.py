"""A retriever or reranker of the user's own: its settings, and how it is moved to another bank, saved and read back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from segue.errors import InputError, SegueError
from segue.parts import HERE_ALONE, load_part, make_part, part_table, require_own_part
from segue.retrieval.saving import Description, PartReader, PartWriter
from segue.settings import Settings
from segue.types import Bank, Windows

OWN_FOLDER = "own"
"""Folder of a bundle that holds what own parts save."""


class RetrieverSettings(Settings):
    """One entry of [retrievers]: a retriever of your own, or its import path alone."""

    part: str = Field(description='"package.module:Name" or an installed retriever')
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the class or function")
    description: str = Field("a retriever of your own", description="what it does, for tables")

    @model_validator(mode="before")
    @classmethod
    def _own(cls, value: Any) -> Any:
        return part_table("retriever", value)


class RerankerSettings(Settings):
    """One entry of [rerankers]: a reranker of your own, or its import path alone."""

    part: str = Field(description='"package.module:Name" or an installed reranker')
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the class or function")
    first: str = Field(
        "copy-last", description='what draws the candidates: an option without training, or "model" (the best trained)'
    )
    candidates: int = Field(100, ge=1, le=10_000, description="candidates that it draws")
    description: str = Field("a reranker of your own", description="what it does, for tables")

    @model_validator(mode="before")
    @classmethod
    def _own(cls, value: Any) -> Any:
        return part_table("reranker", value)


@dataclass(frozen=True)
class OwnPart:
    """A part with the name and the options that it was made of.

    Attributes:
        kind: ``retriever`` or ``reranker``.
        name: name of the entry in tables.
        path: its import path, or the name of an installed part.
        options: its options.
        part: the part itself, over one bank.
    """

    kind: Literal["retriever", "reranker"]
    name: str
    path: str
    options: Mapping[str, Any]
    part: Any

    @classmethod
    def make(
        cls, kind: Literal["retriever", "reranker"], name: str, settings: RetrieverSettings | RerankerSettings
    ) -> OwnPart:
        """Make the part of a table of the recipe, over no bank yet.

        Raises:
            SegueError: it cannot be found or made.
        """
        return cls(kind, name, settings.part, settings.options, make_part(kind, settings.part, settings.options))

    def fitted(self, bank: Bank, windows: Windows) -> OwnPart:
        """Return a copy that was fitted on training windows, where the part has ``fit(bank, windows)``."""
        if not hasattr(self.part, "fit"):
            return self
        part = copy.deepcopy(self.part)
        self.answer(part.fit, bank, windows)
        return replace(self, part=part)

    def over(self, bank: Bank) -> OwnPart:
        """Return the part over a bank, where it has ``over(bank)``; the part over the present one stays as it is."""
        if not hasattr(self.part, "over"):
            return self
        part = copy.copy(self.part)
        moved = self.answer(part.over, bank)
        return replace(self, part=part if moved is None else moved)

    def declares(self, name: str) -> bool:
        """Return an attribute of the part, ``reads_text`` or ``counts_bank``; False where it has none."""
        return bool(getattr(self.part, name, False))

    def save(self, writer: PartWriter) -> Description:
        """Return what makes the part again; what it learnt is written to a folder by its ``save(folder)``.

        Raises:
            InputError: no other process can make it again.
        """
        what = f"a bundle cannot hold the {self.kind} {self.name}"
        if self.path.startswith(HERE_ALONE):
            fix = "define it in a module, give it by 'module:Name' (arguments as attributes), and compare again"
            raise InputError(what, got="a part that only the process it was given to can make", fix=fix)
        about = {"part": self.path, "options": dict(self.options), "name": self.name}
        if hasattr(self.part, "save"):
            folder = writer.folder / OWN_FOLDER / self.name
            folder.mkdir(parents=True, exist_ok=True)
            self.part.save(folder)
            return {**about, "saved": self.name}
        if hasattr(self.part, "fit"):
            raise InputError(what, got="fit() without save()", fix="add save(folder) and a classmethod load(folder)")
        return about

    @classmethod
    def load(cls, kind: Literal["retriever", "reranker"], about: Description, reader: PartReader) -> OwnPart:
        """Make the part of a description again, over the reader's bank.

        Raises:
            SettingsError: its code is not the user's own, or cannot be imported.
        """
        require_own_part(kind, about["part"], reader.folder)
        if "saved" in about:
            if Path(about["saved"]).name != about["saved"]:
                raise InputError(f"{reader.folder} names a folder that is not in it", got=repr(about["saved"])[:80],
                                 fix="do not use this bundle; get it from where it was built")  # fmt: skip
            part = load_part(kind, about["part"]).load(reader.folder / OWN_FOLDER / about["saved"])
        else:
            part = make_part(kind, about["part"], about["options"])
        return cls(kind, about["name"], about["part"], about["options"], part).over(reader.bank)

    def answer(self, function: Callable[..., Any], *given: object) -> Any:
        """Return what a function of the part returns.

        Raises:
            InputError: it raised an error.
        """
        try:
            return function(*given)
        except SegueError:
            raise
        except Exception as error:  # the user's code may fail in any way
            raise InputError(f"{self.kind} {self.name} failed", got=f"{type(error).__name__}: {error}",
                             fix=f"correct {self.path}") from error  # fmt: skip

    def wrong(self, got: str, expected: str) -> InputError:
        """Return the error of a part that returns something else than it should."""
        return InputError(f"{self.kind} {self.name} returned a wrong array", got=got, expected=expected,
                          fix=f"correct {self.path}")  # fmt: skip
