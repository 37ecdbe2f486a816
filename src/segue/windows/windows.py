"""Make windows from documents: which passages were read, and which one came next.

Input: a bank and document numbers. Output: row numbers only (``Windows``); vectors are gathered batch by batch
(``gather_contexts``), so 400,000 windows cost megabytes, not gigabytes.

**The shift.** The passages of a document are in consecutive rows, in reading order. The window of target row ``t`` is::

    context = [t - context, …, t - 2, t - 1]   →   target = t

so the context ends one row before its target, no row is both context and target of a window, and every passage is the
target of at most one window. The last context passage is in the last column. Where the document begins less than
``context`` passages before ``t``, the first columns hold -1 (only with ``minimum_context`` below ``context``; otherwise
such windows do not exist). No window crosses the end of a document, so none crosses a split.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator

from segue.errors import InputError
from segue.settings import Settings
from segue.types import Bank, Contexts, Exclusion, Windows

HORIZON = 3
"""Number of following passages, the target included, that count as a useful answer."""

TOO_SHORT = "document shorter than the context"
MISSING = "a passage of the window is deleted or missing"
REPEATED = "target repeats a context passage"
SHARED = "target's text is in other documents too"
NOT_QUERIED = "not queried ([windows] test_every)"


class WindowSettings(Settings):
    """Number of passages that are read before each prediction."""

    context: int = Field(5, ge=1, le=512, description="passages read before each prediction, 1 to 512")
    minimum_context: int | None = Field(
        None,
        ge=1,
        description="minimum number of passages read, 1 to context; shorter contexts are padded. Default: context",
    )
    test_every: int = Field(
        1, ge=1, description="every n-th window of a test document is a query; all passages stay candidates"
    )

    @property
    def fewest(self) -> int:
        """Minimum number of context passages of a window."""
        return self.context if self.minimum_context is None else self.minimum_context

    @model_validator(mode="after")
    def _ordered(self) -> WindowSettings:
        if self.fewest > self.context:
            raise ValueError(f"minimum_context is {self.minimum_context}, but context is only {self.context}")
        return self


def make_windows(
    bank: Bank,
    documents: Int[np.ndarray, "chosen"],
    settings: WindowSettings,
    *,
    groups: Int[np.ndarray, "document"] | None = None,
) -> Windows:
    """Return the windows of ``documents``, in the order of ``documents`` and of reading.

    Left out and counted in ``Windows.dropped``: documents without a window (``TOO_SHORT``, counted as documents),
    windows with a deleted passage or a gap in the positions (``MISSING``), windows whose target has the text of one of
    its context passages (``REPEATED``), since the target is then excluded from the candidates with it, and, where
    ``groups`` are given, windows whose target is boilerplate (``SHARED``).

    Args:
        bank: the bank.
        documents: document numbers.
        settings: the [windows] table.
        groups: near-duplicate group of each document of the bank. A target whose text is in documents of several groups
            (a legal sentence, a footer, a refrain) is left out: it is no measure of what follows a context, and a model
            may have seen it in training.

    Raises:
        InputError: a document number is not in the bank, or there is not a group for each document.
    """
    documents = np.asarray(documents)
    if documents.size and documents.dtype.kind not in "iu":
        raise InputError("document numbers are whole numbers", got=f"an array of {documents.dtype}")
    documents = documents.astype(np.int64, copy=False)
    if documents.size and not (documents.min() >= 0 and documents.max() < len(bank.first_row)):
        got, expected = f"{documents.min()} to {documents.max()}", f"0 to {len(bank.first_row) - 1}"
        fix = "make the split from this bank"
        raise InputError("a document number is not in the bank", got=got, expected=expected, fix=fix)
    if groups is not None:
        require_groups(bank, groups)
    length = bank.num_rows[documents].astype(np.int64)
    target, first = _targets(bank.first_row[documents].astype(np.int64), length, settings.fewest)
    context = target[:, None] - np.arange(settings.context, 0, -1)  # [window, context]
    context[context < first[:, None]] = -1

    missing = _has_missing(bank, context, target)
    same = bank.duplicate_group[context] == bank.duplicate_group[target][:, None]
    repeated = (same & (context >= 0)).any(axis=1) & ~missing
    boilerplate = np.zeros(len(bank), dtype=bool) if groups is None else in_several_groups(bank, groups)
    shared = boilerplate[target] & ~missing & ~repeated
    counts = {
        TOO_SHORT: int((length <= settings.fewest).sum()),
        MISSING: int(missing.sum()),
        REPEATED: int(repeated.sum()),
        SHARED: int(shared.sum()),
    }
    kept = ~(missing | repeated | shared)
    return Windows(context[kept], target[kept], {reason: count for reason, count in counts.items() if count})


def require_groups(bank: Bank, groups: Int[np.ndarray, "document"]) -> None:
    """Refuse groups that are not one whole number for each document of a bank.

    Raises:
        InputError: there are more or fewer, or other values.
    """
    found = np.asarray(groups)
    if found.shape != (len(bank.first_row),) or found.dtype.kind not in "iu":
        got, expected = f"{found.dtype} {found.shape}", f"whole numbers ({len(bank.first_row)},)"
        raise InputError("groups are not one number for each document", got=got, expected=expected)


def in_several_groups(bank: Bank, groups: Int[np.ndarray, "document"]) -> Bool[np.ndarray, "bank"]:
    """Mark the rows whose text is in live passages of several groups of documents.

    Two copies of a document are one group, so their passages are not marked.

    Args:
        bank: the bank; without texts, rows with the same vector count as having the same text.
        groups: group of each document.
    """
    rows = np.flatnonzero(bank.alive)
    held = np.unique(np.stack([bank.duplicate_group[rows], groups[bank.document_of[rows]]]), axis=1)
    return (np.bincount(held[0], minlength=len(bank)) > 1)[bank.duplicate_group]


def every_nth(bank: Bank, windows: Windows, n: int) -> Windows:
    """Keep the first window of each document and every n-th after it; the others are counted as ``NOT_QUERIED``."""
    begins = np.diff(bank.document_of[windows.target], prepend=-1) != 0
    first = np.flatnonzero(begins)[np.cumsum(begins) - 1]
    kept = windows.take((np.arange(len(windows)) - first) % n == 0)
    left_out = len(windows) - len(kept)
    return replace(kept, dropped={**kept.dropped, NOT_QUERIED: left_out}) if left_out else kept


def _targets(
    first: Int[np.ndarray, "chosen"], length: Int[np.ndarray, "chosen"], fewest: int
) -> tuple[Int[np.ndarray, "window"], Int[np.ndarray, "window"]]:
    """Return the rows with at least ``fewest`` rows of their document before them, and their documents' first rows."""
    count = np.maximum(length - fewest, 0)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)  # 0, 1, … in each document
    first = np.repeat(first, count)
    return first + fewest + within, first


def _has_missing(
    bank: Bank, context: Int[np.ndarray, "window context"], target: Int[np.ndarray, "window"]
) -> Bool[np.ndarray, "window"]:
    """Return which windows hold a deleted passage or skip a position that the bank does not hold."""
    rows = np.where(context >= 0, context, target[:, None])  # for padding check the target, which is checked anyway
    distance = bank.position[target][:, None] - bank.position[rows]
    return (~bank.alive[rows] | (distance != target[:, None] - rows)).any(axis=1) | ~bank.alive[target]


def gather_contexts(bank: Bank, windows: Windows, *, exclude: Exclusion = "context", texts: bool = False) -> Contexts:
    """Return the contexts of ``windows``: unit vectors, mask, rows to exclude and, on request, texts.

    Args:
        bank: the bank of the windows.
        windows: a batch; all its vectors are in memory at once.
        exclude: ``"context"`` excludes the context passages, ``"prefix"`` all passages of the document before the
            target, ``"none"`` nothing.
        texts: return texts too; None where the bank has none.
    """
    rows = windows.context
    mask = rows >= 0
    if mask.all():
        vectors = bank.gather(rows.ravel()).reshape(*rows.shape, bank.dimension)
    else:
        vectors = np.zeros((*rows.shape, bank.dimension), dtype=np.float32)
        vectors[mask] = bank.gather(rows[mask])
    return Contexts(vectors, mask, rows, excluded_rows(bank, windows, exclude), _texts(bank, rows) if texts else None)


def excluded_rows(bank: Bank, windows: Windows, exclude: Exclusion) -> Int[np.ndarray, "window excluded"]:
    """Return the rows that are excluded from the candidates, padded with -1; ranking excludes their duplicates too."""
    if exclude == "context":
        return windows.context
    if exclude == "none":
        return np.empty((len(windows), 0), dtype=np.int64)
    first = bank.first_row[bank.document_of[windows.target]].astype(np.int64)
    longest = int((windows.target - first).max(initial=0))
    rows = first[:, None] + np.arange(longest)  # [window, prefix]
    read = rows < windows.target[:, None]
    read &= bank.alive[np.where(read, rows, 0)]
    return np.where(read, rows, -1)


def following_rows(
    bank: Bank, windows: Windows, *, exclude: Exclusion = "context", horizon: int = HORIZON
) -> Int[np.ndarray, "window horizon"]:
    """Return the target and the passages after it in its document, -1 where there is no such candidate.

    There is none after the end of the document, where a passage was deleted or is missing, and where it has the text of
    an excluded one. The first column is always the target.

    Args:
        bank: the bank of the windows.
        windows: some of its windows.
        exclude: which passages are excluded from the candidates.
        horizon: number of passages, the target included.
    """
    target = windows.target[:, None]
    rows = np.minimum(target + np.arange(horizon), len(bank) - 1)  # [window, horizon]
    distance = bank.position[rows] - bank.position[target]
    follows = (bank.document_of[rows] == bank.document_of[target]) & (distance == np.arange(horizon)) & bank.alive[rows]
    read = excluded_rows(bank, windows, exclude)
    read_groups = np.where(read >= 0, bank.duplicate_group[read], -1)
    follows &= (bank.duplicate_group[rows][:, :, None] != read_groups[:, None, :]).all(axis=2)
    follows[:, 0] = True
    return np.where(follows, rows, -1)


def last_contexts(bank: Bank, documents: Int[np.ndarray, "chosen"], context: int) -> Int[np.ndarray, "some context"]:
    """Return the last passages of each document as contexts without a target, padded in front with -1.

    Documents with a deleted or missing passage among them are left out.
    """
    first, last = bank.first_row[documents], bank.first_row[documents] + bank.num_rows[documents] - 1
    rows = last[:, None].astype(np.int64) - np.arange(context - 1, -1, -1)  # [chosen, context]
    rows[rows < first[:, None]] = -1
    return rows[~_has_missing(bank, rows, last.astype(np.int64))]


def _texts(bank: Bank, rows: Int[np.ndarray, "window context"]) -> list[tuple[str, ...]] | None:
    """Return one tuple of texts per window, oldest first, without padding."""
    if not bank.has_texts:
        return None
    distinct, place = np.unique(rows[rows >= 0], return_inverse=True)
    texts = bank.texts(distinct)
    flat = iter(texts[number] for number in place)
    return [tuple(next(flat) for _ in range(count)) for count in (rows >= 0).sum(axis=1)]


def target_vectors(bank: Bank, windows: Windows) -> Float[np.ndarray, "window dim"]:
    """Return the unit vectors of the targets."""
    return bank.gather(windows.target)
