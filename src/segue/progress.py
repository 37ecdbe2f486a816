"""Progress bars of the command line; nothing is drawn where stderr is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from segue.types import Progress, no_progress

messages = Console(stderr=True)
"""Console for messages, on stderr; results go to stdout."""


@contextmanager
def stages(title: str) -> Iterator[Progress]:
    """Draw a progress bar while a stage runs."""
    if not sys.stderr.isatty():
        yield no_progress
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, TextColumn("[dim]{task.fields[note]}"), console=messages, transient=True) as bars:
        task = bars.add_task(title, total=None, note="")

        def progress(done: int, total: int | None, note: str) -> None:
            bars.update(task, completed=done, total=total, note=note)

        yield progress


Stages = Callable[[str], AbstractContextManager[Progress]]
"""Function that opens the progress bar of a stage: ``with stages("Encoding") as progress: ...``."""


@contextmanager
def quiet(title: str) -> Iterator[Progress]:
    """Draw no progress bar."""
    yield no_progress
