"""Halves of the training documents: a first stage fitted on one half draws lists for the windows of the other.

A reranker has to learn from lists as they will be served. On documents that the first stage was trained on its lists
are better than they will ever be again, so trees would trust it too much (cross-fitting; Wolpert 1992, Stacked
generalization).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Int

from segue.errors import InputError, explain
from segue.evaluation.experiment import Fold
from segue.types import Bank, Windows


def halves(fold: Fold, bank: Bank, groups: Int[np.ndarray, "document"], *, seed: int) -> tuple[Fold, Fold]:
    """Split a fold's training documents into two halves, near-duplicates together; all else stays.

    Args:
        fold: its training documents are split.
        bank: of the fold.
        groups: near-duplicate group of each document.
        seed: of the order in which groups are dealt.

    Raises:
        InputError: there are fewer than two groups of training documents.
    """
    documents = fold.split.train
    distinct, group = np.unique(groups[documents], return_inverse=True)
    if len(distinct) < 2:
        raise InputError(explain("training documents cannot be halved", got=f"{len(distinct)} group of near-duplicates",
                                 expected="two or more", fix="give more documents"))  # fmt: skip
    order = np.random.default_rng(seed).permutation(len(distinct))
    size = np.bincount(group, minlength=len(distinct))[order]
    before = np.cumsum(size) - size  # documents dealt before each group
    in_first = np.zeros(len(distinct), dtype=bool)
    in_first[order] = (before < len(documents) / 2) & (np.arange(len(order)) < len(order) - 1)
    return _part(fold, bank, documents[in_first[group]]), _part(fold, bank, documents[~in_first[group]])


def _part(fold: Fold, bank: Bank, documents: Int[np.ndarray, "half"]) -> Fold:
    inside = np.isin(bank.document_of[fold.train.target], documents)
    return replace(fold, split=replace(fold.split, train=documents), train=fold.train.take(inside))


def spread(windows: Windows, most: int) -> Windows:
    """Return at most so many windows, evenly spread."""
    if len(windows) <= most:
        return windows
    return windows.take(np.linspace(0, len(windows) - 1, most).round().astype(np.int64))
