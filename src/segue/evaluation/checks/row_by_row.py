"""Ask rows one by one, so that a row that cannot be asked hides nothing about the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from segue.errors import SegueError, StorageError
from segue.evaluation.checks.case import Row

Found = TypeVar("Found")


def each_row(rows: Sequence[Row], ask: Callable[[Row], Found]) -> tuple[dict[str, Found], SegueError | None]:
    """Return what each row answered, by name, and the first error of a row that could not be asked.

    A check that finds no breach raises the error: it has not seen every row, so it vouches for nothing. Rows of other
    folds than the first row's are named with their fold.

    Raises:
        StorageError: the disk is at fault, not the row.
    """
    found: dict[str, Found] = {}
    first: SegueError | None = None
    for row in rows:
        try:
            found[row.name if row.fold == rows[0].fold else f"{row.name}, fold {row.fold}"] = ask(row)
        except StorageError:
            raise
        except SegueError as error:
            first = first or error
    return found, first
