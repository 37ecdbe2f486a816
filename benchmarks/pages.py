"""Tables of a page: what stands between two markers is written from records, the text around them by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable

from segue.errors import InputError


def markers(name: str) -> tuple[str, str]:
    """Return the lines between which a table stands."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def placed(text: str, name: str, table: str) -> str:
    """Return a page with a table between its markers.

    Raises:
        InputError: the page does not have these markers once.
    """
    begin, end = markers(name)
    text, count = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n\n{table}\n\n{end}", text, flags=re.DOTALL)
    if count != 1:
        raise InputError("the page has no place for a table", got=f"{count} places", expected=f"{begin} … {end}, once")
    return text


def table(head: list[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table in Markdown; whole numbers with their thousands apart.

    >>> print(table(["command", "cells"], [["train", 1234]]))
    | command | cells |
    | --- | --- |
    | train | 1,234 |
    """
    shown = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *shown])
