"""Processes that tests start: they import the package under test, and are killed at a call, not at a time."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from segue.errors import InputError

TESTS = Path(__file__).parent


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment, with the package under test and the tests first on the path."""
    import segue

    first = [str(Path(segue.__file__).resolve().parents[1]), str(TESTS)]
    path = os.pathsep.join([*first, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **more}


class CallCounter:
    """Counts the calls of this thread, of Python and of C functions, and kills the process at the last allowed one.

    A moment named by a number of calls is as good as a random one, and is the same on a fast and on a slow machine.
    """

    def __init__(self, most: int | None = None) -> None:
        self.calls, self.most = 0, most

    def __call__(self, frame: object, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            self.calls += 1
            if self.calls == self.most:
                os.kill(os.getpid(), signal.SIGKILL)

    def start(self) -> CallCounter:
        """Count from here on."""
        sys.setprofile(self)
        return self


def refuse(answering: Connection) -> None:
    """Work of a server's worker that cannot load its bundle."""
    answering.send(InputError("no such bundle"))


def die(answering: Connection) -> None:
    """Work of a server's worker that is killed before it answers."""
    os.kill(os.getpid(), signal.SIGKILL)
