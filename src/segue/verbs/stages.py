"""How a verb tells what it is doing: it opens a stage by name and reports progress within it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from segue.types import Progress, no_progress

Stages = Callable[[str], AbstractContextManager[Progress]]
"""``with stages("Encoding") as progress`` shows a bar for as long as the block runs."""


@contextmanager
def quiet(title: str) -> Iterator[Progress]:
    """Show nothing."""
    yield no_progress
