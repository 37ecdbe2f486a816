"""Query functions: from contexts to unit vectors.

Any callable works. One that reads the bank has ``over``, one with a text encoder has ``space``, and one that a bundle
can hold has ``save_part``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from segue.encoders.space import Space
from segue.retrieval.saving import Description, PartWriter, cannot_save
from segue.types import Bank, Contexts

QueryFunction = Callable[[Contexts], Float[np.ndarray, "batch dim"]]
"""Turns contexts into unit vectors, float32."""


@runtime_checkable
class BankQuery(Protocol):
    """Query function that reads the bank."""

    def over(self, bank: Bank) -> QueryFunction:
        """Return the same function over another bank."""
        ...


@runtime_checkable
class EncodedQuery(Protocol):
    """Query function whose vectors come from a text encoder."""

    @property
    def space(self) -> Space:
        """Space of its vectors."""
        ...


@runtime_checkable
class SavedQuery(Protocol):
    """Query function that a bundle can hold."""

    def save_part(self, writer: PartWriter) -> Description:
        """Write its files and return its description."""
        ...


def move_query(query: QueryFunction, bank: Bank) -> QueryFunction:
    """Return the function over another bank, or as it is where it reads none."""
    return query.over(bank) if isinstance(query, BankQuery) else query


def save_query(query: QueryFunction, writer: PartWriter) -> Description:
    """Write a query function's files and return its description.

    Raises:
        InputError: a bundle cannot hold it.
    """
    if not isinstance(query, SavedQuery):
        raise cannot_save("query", type(query).__name__)
    return query.save_part(writer)
