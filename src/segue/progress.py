"""What a command shows while it works: bars on a terminal and in a notebook, elsewhere plain lines on stderr.

A stage is opened with its title and yields a callback: ``with stages("Encoding") as progress: progress(done, total,
note)``. Results go to stdout, all of this to stderr.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from segue.printable import printable, printable_line
from segue.types import Progress, no_progress

SECONDS_BETWEEN_LINES = 10.0
"""Time between two lines of one stage, seconds."""
MUCH_LONGER, LONG = 3.0, 30.0
"""Where nothing moves for so many times the mean of the moves before, and so many seconds, no time left is shown."""


@runtime_checkable
class Stages(Protocol):
    """Shows the stages of a job and what they found out on the way."""

    def __call__(self, title: str) -> AbstractContextManager[Progress]:
        """Open a stage; it ends with the block."""

    def say(self, text: str) -> None:
        """Show a line that stays."""


class Quiet:
    """Shows nothing."""

    @contextmanager
    def __call__(self, title: str) -> Iterator[Progress]:
        """Open a stage."""
        yield no_progress

    def say(self, text: str) -> None:
        """Ignore the line."""


class Bars:
    """A progress bar for the stage that runs; it goes when the stage ends."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def __call__(self, title: str) -> Iterator[Progress]:
        """Open a stage."""
        numbers = (MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        title_shown = TextColumn("{task.description}", markup=False)
        note_shown = TextColumn("{task.fields[note]}", style="dim", markup=False)
        columns = (title_shown, BarColumn(bar_width=24), *numbers, note_shown)
        with Bar(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(printable_line(title), total=None, note="")

            def progress(done: int, total: int | None, note: str) -> None:
                bar.update(task, completed=done, total=total, note=printable_line(note))

            yield progress

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(printable(text), highlight=False, markup=False, soft_wrap=True)


class Lines:
    """A line when a stage begins and when it has ended, and one every ten seconds between, also where nothing moves."""

    def __init__(self, every: float = SECONDS_BETWEEN_LINES) -> None:
        self.every = every

    @contextmanager
    def __call__(self, title: str) -> Iterator[Progress]:
        """Open a stage."""
        stage, ended = _Stage(title), threading.Event()

        def repeat() -> None:
            while not ended.wait(self.every):
                self.say(stage.line())

        self.say(title)
        thread = threading.Thread(target=repeat, name="progress", daemon=True)
        thread.start()
        try:
            yield stage.progress
        finally:
            ended.set()
            thread.join()
        self.say(f"{title}: done in {duration(stage.elapsed())}")

    def say(self, text: str) -> None:
        """Print the line at once."""
        print(printable(text), file=sys.stderr, flush=True)


class _Stage:
    """State of a running stage, and the line that describes it."""

    def __init__(self, title: str) -> None:
        self.title, self.began = title, monotonic()
        self.first: tuple[float, int] | None = None  # when work was first reported, and how much was done by then
        self.moves, self.moved = 0, 0.0  # how often more was done since then, and when that was last
        self.done, self.total, self.note = 0, None, ""  # type: tuple[int, int | None, str]

    def elapsed(self) -> float:
        return monotonic() - self.began

    def progress(self, done: int, total: int | None, note: str) -> None:
        if self.first is None or not self.done:  # reading before it is no work done
            self.first = self.elapsed(), done
        elif done != self.done:
            self.moves, self.moved = self.moves + 1, self.elapsed()
        self.done, self.total, self.note = done, total, note

    def line(self) -> str:
        """Return the title, done of total, the rate, the note, the time so far and the time left, what is known.

        The time left is not known while something takes much longer than what was done before it.
        """
        spent = self.elapsed()
        since, before = self.first or (spent, 0)
        rate = (self.done - before) / (spent - since) if spent > since else 0.0
        even = spent - self.moved <= max(LONG, MUCH_LONGER * (self.moved - since) / max(self.moves, 1))
        left = (self.total - self.done) / rate if self.total and rate > 0 and even else None
        parts = [f"{self.done:,}" + (f" of {self.total:,}" if self.total else "") if self.done or self.total else "",
                 f"{rate:,.0f} a second" if rate >= 1 else "", self.note, f"{duration(spent)} so far",
                 f"about {duration(left)} left" if left else ""]  # fmt: skip
        return f"{self.title}: {', '.join(part for part in parts if part)}"


quiet: Stages = Quiet()


def visible() -> Stages:
    """Return bars where stderr is a terminal or a notebook, else lines."""
    console = Console(stderr=True)
    return Bars(console) if console.is_terminal or console.is_jupyter else Lines()


def duration(seconds: int | float) -> str:
    """Return a time span in the two units that matter.

    >>> duration(4.21), duration(80.1), duration(3780)
    ('4.2 s', '1 min 20 s', '1 h 03 min')
    """
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
