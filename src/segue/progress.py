"""What the command line draws: progress bars, silent when nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from segue.types import Progress, no_progress

messages = Console(stderr=True)
"""Where people are told things; results go to stdout."""


@contextmanager
def stages(title: str) -> Iterator[Progress]:
    """Show a bar while a stage runs; print nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total, note: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, TextColumn("[dim]{task.fields[note]}"), console=messages, transient=True) as bars:
        task = bars.add_task(title, total=None, note="")

        def progress(done: int, total: int | None, note: str) -> None:
            bars.update(task, completed=done, total=total, note=note)

        yield progress


Stages = Callable[[str], AbstractContextManager[Progress]]
"""``with stages("Encoding") as progress`` shows a bar for as long as the block runs."""


@contextmanager
def quiet(title: str) -> Iterator[Progress]:
    """Show nothing."""
    yield no_progress
