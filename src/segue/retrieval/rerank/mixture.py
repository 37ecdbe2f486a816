"""Several rerankers as one: the mean of their scores, each standardised within the list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from segue.retrieval.rerank.interface import Candidates, Reranker
from segue.types import Bank, Contexts

SMALLEST = 1e-12
"""A list whose scores differ by less has no order to standardise."""


@dataclass(frozen=True)
class Mixture:
    """The mean of standardised scores.

    Attributes:
        members: at least one; all read the same candidates.
        name: what tables call it.
    """

    members: tuple[Reranker, ...]
    name: str = "mixture"

    @property
    def reads_text(self) -> bool:
        """Whether a member does."""
        return any(member.reads_text for member in self.members)

    @property
    def counts_bank(self) -> bool:
        """Whether a member does."""
        return any(member.counts_bank for member in self.members)

    def over(self, bank: Bank) -> Mixture:
        """Return the same members over another bank; features that members share stay shared."""
        return self._with(lambda part: part.over(bank))

    def counting(self, documents: Int[np.ndarray, "counted"]) -> Mixture:
        """Return the same members, statistics counted over some documents only."""
        return self._with(lambda part: part.counting(documents) if hasattr(part, "counting") else part)

    def _with(self, change: Callable[[Any], Any]) -> Mixture:
        """Change the members, or what several of them read, once."""
        read = {id(features): features for member in self.members if (features := getattr(member, "features", None))}
        changed = {key: change(features) for key, features in read.items()}

        def moved(member: Any) -> Any:
            shared = changed.get(id(getattr(member, "features", None)))
            return change(member) if shared is None else replace(member, features=shared)

        return replace(self, members=tuple(moved(member) for member in self.members))

    def scores(self, contexts: Contexts, candidates: Candidates) -> Float[np.ndarray, "batch candidate"]:
        """Return the means, -inf at the pads."""
        there = candidates.there
        parts = [standardised(member.scores(contexts, candidates), there) for member in self.members]
        return np.where(there, np.mean(parts, axis=0), -np.inf)


def standardised(
    scores: Float[np.ndarray, "batch candidate"], there: Bool[np.ndarray, "batch candidate"]
) -> Float[np.ndarray, "batch candidate"]:
    """Return scores with mean 0 and standard deviation 1 over the candidates of each list; 0 at the pads.

    >>> standardised(np.array([[1.0, 3.0, -np.inf]]), np.array([[True, True, False]])).tolist()
    [[-1.0, 1.0, 0.0]]
    """
    count = np.maximum(there.sum(axis=1, keepdims=True), 1)
    values = np.where(there, scores, 0.0)
    values = np.where(there, values - values.sum(axis=1, keepdims=True) / count, 0.0)
    deviation = np.sqrt((values**2).sum(axis=1, keepdims=True) / count)
    return values / np.where(deviation > SMALLEST, deviation, 1.0)
