"""Windows of the same targets read in other orders: what is the order of the passages worth?

Input: windows of a bank. Output: the same targets with contexts in four orders, the *arms*. All arms exclude the same
passages (those that any arm reads), so each target competes with the same candidates in all.

``true order``            the passages before the target, oldest first
``context permuted``      the same passages in random order
``document reversed``     the passages after the target, the farthest first
``passages shuffled``     other passages of the document at random, as if its passages had been shuffled
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from segue.types import Bank, Windows
from segue.windows.windows import following_rows

TRUE, PERMUTED, REVERSED, SHUFFLED = "true order", "context permuted", "document reversed", "passages shuffled"
ARMS = (TRUE, PERMUTED, REVERSED, SHUFFLED)


@dataclass(frozen=True)
class Arms:
    """Windows of one part in every order, all with the same targets, and the rows that any arm reads."""

    windows: dict[str, Windows]
    exclude: Int[np.ndarray, "window excluded"]

    def __len__(self) -> int:
        return len(self.exclude)


def make_arms(bank: Bank, windows: Windows, generator: np.random.Generator) -> Arms:
    """Read full windows in every order; only targets with as many passages after them as before are kept."""
    size = windows.context.shape[1]
    kept = windows.take(np.all(windows.context >= 0, axis=1) & _has_followers(bank, windows, size))
    contexts = {
        TRUE: kept.context,
        PERMUTED: generator.permuted(kept.context, axis=1),
        REVERSED: kept.target[:, None] + np.arange(size, 0, -1),
        SHUFFLED: _others_of_document(bank, kept, generator),
    }
    arms = {name: Windows(rows.astype(np.int64), kept.target) for name, rows in contexts.items()}
    return Arms(arms, np.concatenate([arm.context for arm in arms.values()], axis=1))


def _has_followers(bank: Bank, windows: Windows, size: int) -> Bool[np.ndarray, "window"]:
    """Mark the targets followed by ``size`` live passages, none of which has the target's text."""
    rows = following_rows(bank, windows, exclude="none", horizon=size + 1)
    other = bank.duplicate_group[rows] != bank.duplicate_group[windows.target][:, None]
    return np.asarray(((rows >= 0) & other)[:, 1:].all(axis=1))


def _others_of_document(
    bank: Bank, windows: Windows, generator: np.random.Generator
) -> Int[np.ndarray, "window context"]:
    """Draw as many live passages of each target's document as its context has, none with the target's text."""
    drawn = np.empty(windows.context.shape, dtype=np.int64)
    for place, target in enumerate(windows.target):
        document = bank.document_of[target]
        rows = bank.first_row[document] + np.arange(bank.num_rows[document])
        free = rows[bank.alive[rows] & (bank.duplicate_group[rows] != bank.duplicate_group[target])]
        drawn[place] = generator.choice(free, windows.context.shape[1], replace=False)
    return drawn


def neighbours(bank: Bank, windows: Windows) -> Int[np.ndarray, "triple 3"]:
    """Return (before, middle, after) for the last two context passages of each window and its target."""
    if windows.context.shape[1] < 2:
        return np.empty((0, 3), dtype=np.int64)
    full = windows.take(np.all(windows.context[:, -2:] >= 0, axis=1))
    return np.stack([full.context[:, -2], full.context[:, -1], full.target], axis=1).astype(np.int64)
