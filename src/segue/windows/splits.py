"""Split documents into train, validation and test, once or in k folds.

Input: a bank. Output: document numbers (``Split``). Whole documents are split, never passages, and near-duplicate
documents stay together (``document_groups``), so training holds no near-copy of a test document.

Groups are assigned from the largest to the smallest, roughly (the seed perturbs the order). Each goes to a part with
room for it, drawn in proportion to what the parts still need in documents *and* in passages. So one huge document does
not fill a part, and every document has about the same chance to be a test document.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field, model_validator

from segue.errors import InputError
from segue.settings import Settings
from segue.types import Bank, Split
from segue.windows.near_duplicates import document_groups
from segue.windows.windows import require_groups


class SplitSettings(Settings):
    """Shares of the documents for validation and test."""

    test: float = Field(0.1, gt=0, lt=1, description="share of the documents for test, 0 to 1; unused with folds")
    validation: float = Field(0.1, gt=0, lt=1, description="share of the documents for validation, 0 to 1")
    folds: int | None = Field(
        None, ge=2, le=100, description="number of folds, 2 to 100: every document is a test document once"
    )
    seed: int = Field(1, ge=0, lt=2**32, description="seed of the draw, 0 to 2**32 - 1")
    near_duplicates: float = Field(
        0.5, gt=0, le=1, description="Jaccard similarity of word 5-grams from which documents stay together, 0 to 1"
    )

    @property
    def test_share(self) -> float:
        """Share of the documents in the test part of one split."""
        return self.test if self.folds is None else 1 / self.folds

    @model_validator(mode="after")
    def _leave_training(self) -> SplitSettings:
        if self.test_share + self.validation >= 1:
            raise ValueError(
                f"test ({self.test_share:g}) and validation ({self.validation:g}) leave nothing to train on; "
                "their sum must be below 1"
            )
        return self


@dataclass(frozen=True)
class _Units:
    """Groups of documents to be split, with their sizes in documents and in live passages."""

    members: list[np.ndarray]
    documents: Float[np.ndarray, "unit"]
    passages: Float[np.ndarray, "unit"]

    def __len__(self) -> int:
        return len(self.members)

    def take(self, which: np.ndarray) -> _Units:
        return _Units([self.members[number] for number in which], self.documents[which], self.passages[which])

    def merge(self, which: np.ndarray) -> Int[np.ndarray, "merged"]:
        """Return the documents of the chosen units, ascending."""
        return np.sort(np.concatenate([self.members[number] for number in which]))


def make_splits(
    bank: Bank, settings: SplitSettings, *, groups: Int[np.ndarray, "document"] | None = None
) -> list[Split]:
    """Split the documents that have a live passage: one split, or one per fold.

    Args:
        bank: the bank; document numbers are positions in ``bank.document_ids``.
        settings: shares or folds, and the seed. ``validation`` is a share of all documents also with folds.
        groups: near-duplicate group of each document, if already known; else ``document_groups`` finds them.

    Raises:
        InputError: too few groups of documents to give every part at least one; or ``groups`` are of another bank.
    """
    if groups is None:
        groups = document_groups(bank, settings.near_duplicates)
    require_groups(bank, groups)
    units = _units(bank, groups)
    _require_enough(units, settings)
    if settings.folds is None:
        parts = (1 - settings.test - settings.validation, settings.validation, settings.test)
        train, validation, test = _deal(units, parts, np.random.default_rng(settings.seed))
        return [Split(units.merge(train), units.merge(validation), units.merge(test))]
    # With two folds, the other fold has to hold training and validation.
    at_least = 2 if settings.folds == 2 else 1
    shares = (1 / settings.folds,) * settings.folds
    tests = _deal(units, shares, np.random.default_rng(settings.seed), at_least=at_least)
    return [_fold(units, test, settings, fold) for fold, test in enumerate(tests)]


def _units(bank: Bank, groups: Int[np.ndarray, "document"]) -> _Units:
    passages = np.bincount(bank.document_of[bank.alive], minlength=len(groups))
    live = np.flatnonzero(passages)
    by_group = live[np.argsort(groups[live], kind="stable")]
    members = np.split(by_group, np.flatnonzero(np.diff(groups[by_group])) + 1) if len(live) else []
    return _Units(
        members,
        np.array([len(documents) for documents in members], dtype=np.float64),
        np.array([passages[documents].sum() for documents in members], dtype=np.float64),
    )


def _require_enough(units: _Units, settings: SplitSettings) -> None:
    """Check that every part of every split can get at least one group."""
    fewest = 4 if settings.folds == 2 else max(3, settings.folds or 0)
    if len(units) < fewest:
        raise InputError(
            "too few documents to split",
            got=f"{len(units)} groups of near-duplicates among {int(units.documents.sum())} documents",
            expected=f"at least {fewest} groups",
            fix="add documents, or use fewer folds",
        )


def _fold(units: _Units, test: np.ndarray, settings: SplitSettings, fold: int) -> Split:
    rest_numbers = np.setdiff1d(np.arange(len(units)), test)
    rest = units.take(rest_numbers)
    share = settings.validation / (1 - settings.test_share)
    train, validation = _deal(rest, (1 - share, share), np.random.default_rng((settings.seed, fold)))
    return Split(rest.merge(train), rest.merge(validation), units.merge(test), fold)


def _deal(
    units: _Units, shares: tuple[float, ...], generator: np.random.Generator, *, at_least: int = 1
) -> list[Int[np.ndarray, "_"]]:
    """Return the numbers of the units of each part, at least ``at_least``; the shares add up to 1."""
    quota = np.outer(shares, [units.documents.sum(), units.passages.sum()])  # [part, measure]
    size = np.stack([units.documents, units.passages], axis=1)  # [unit, measure]
    load = np.zeros_like(quota)
    parts: list[list[int]] = [[] for _ in shares]
    largest_first = np.argsort(-np.log(units.passages) + 0.5 * generator.standard_normal(len(units)), kind="stable")
    for unit in largest_first:
        part = _choose(size[unit], load, quota, num_units=len(units), generator=generator)
        parts[part].append(int(unit))
        load[part] += size[unit]
    _fill(parts, units.passages, at_least)
    return [np.sort(np.array(part, dtype=np.int64)) for part in parts]


def _choose(
    size: Float[np.ndarray, "measure"],
    load: Float[np.ndarray, "part measure"],
    quota: Float[np.ndarray, "part measure"],
    *,
    num_units: int,
    generator: np.random.Generator,
) -> int:
    """Draw a part with room for the unit, in proportion to what it needs; without one, take the least exceeded."""
    limit = np.maximum(quota, quota.sum(axis=0) / num_units)[:, 1]  # every part has room for a unit of mean size
    fits = (load[:, 0] + size[0] / 2 <= quota[:, 0]) & (load[:, 1] + size[1] <= 1.25 * limit)
    odds = np.where(fits, np.maximum(1 - load / quota, 1e-3).min(axis=1) * quota[:, 0], 0.0)
    if odds.sum() > 0:
        return int(generator.choice(len(quota), p=odds / odds.sum()))
    return int(np.argmin(((load + size) / quota).max(axis=1)))


def _fill(parts: list[list[int]], passages: Float[np.ndarray, "unit"], at_least: int) -> None:
    """Move the smallest units of the part with the most units to parts with fewer than ``at_least``."""
    for part in parts:
        while len(part) < at_least:
            donor = max(parts, key=len)
            smallest = min(donor, key=lambda unit: (passages[unit], unit))
            donor.remove(smallest)
            part.append(smallest)
