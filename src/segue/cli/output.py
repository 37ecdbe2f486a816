"""Shared by the commands: options with one meaning, and how results are printed."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from segue.printable import printable, printable_json

if TYPE_CHECKING:
    from segue.bank.changes import BankChange

GONE_SHOWN = 5
"""Ids that a line names."""

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"] | None, typer.Option(help="Where models run.")]
Unsafe = Annotated[bool, typer.Option("--unsafe", help="Print numbers that a check blocks, labelled.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Wide = Annotated[bool, typer.Option("--wide", help="Print every column of the table, at any width.")]
OwnBank = Annotated[Path | None, typer.Option("--bank", help="Folder of its bank; default: where it was recorded.")]
BankFolder = Annotated[Path, typer.Argument(metavar="BANK", help="A bank folder.")]


def stages(silent: bool, begin: str = "") -> Any:
    """Return what shows progress, and show ``begin``; imported here, so that ``--help`` is fast."""
    from segue.progress import quiet, visible

    shown = quiet if silent else visible()
    if begin:
        shown.say(begin)
    return shown


def columns() -> int:
    """Return the width of the terminal; COLUMNS sets it, and a file or a pipe has 120."""
    return shutil.get_terminal_size((120, 24)).columns


def print_json(value: object) -> None:
    """Print a result for scripts."""
    print(printable_json(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)))


def show(text: object, *, file: TextIO | None = None) -> None:
    """Print a result for people; what it quotes from documents and files acts on no terminal."""
    print(printable(text), file=file or sys.stdout)


def _cell(value: object) -> str:
    """Return a value as a cell of a table, without markup."""
    from rich.markup import escape

    return escape(printable(value))


def print_rows(rows: Sequence[Mapping[str, object]]) -> None:
    """Print objects with the same keys as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*(map(_cell, rows[0]) if rows else ()), box=None, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else _cell(value) for value in row.values()))
    Console(width=columns()).print(table)


def print_info(info: Mapping[str, object], *, as_json: bool) -> None:
    """Print facts by name, as a table or for scripts."""
    if as_json:
        print_json(info)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in info.items():
        shown = "\n".join(value) if isinstance(value, list) else str("" if value is None else value)
        if isinstance(value, dict):
            shown = ", ".join(f"{k} {v}" for k, v in value.items() if v not in (None, ""))
        table.add_row(name, _cell(shown or "none"))
    Console().print(table)


def print_change(change: BankChange, *, as_json: bool) -> None:
    """Print what a command did to a bank, or would do."""
    found = change.to_json()
    if as_json:
        print_json(found)
        return
    ids, dry = found.pop("ids"), found.pop("dry_run")
    if not found["skipped"]:
        del found["skipped"]
    print_info(found, as_json=False)
    if ids["gone"]:
        names = ", ".join(ids["gone"][:GONE_SHOWN]) + (" …" if len(ids["gone"]) > GONE_SHOWN else "")
        show(f"gone from the corpus, kept in the bank: {names} (--remove-gone removes them)")
    if dry:
        print("dry run: nothing was changed")
    elif change.differs:
        print("Runs, indexes and bundles made before are of the bank as it was: compare again in a new run folder.")
