"""Signals that end a command: one line on stderr and the documented exit code, from the first import on.

It imports three modules of Python alone, so a signal that arrives while the command line is still loading ends it too.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes after SIGINT and SIGTERM."""
KEPT = "finished work is kept, run the same command to resume"

AGAIN_SECONDS = 0.01
"""Seconds until an exit that Python ignored is raised again."""

_ended: dict[int, int] = {}
"""Exit code of each process that a signal has ended; a forked process is another one."""


def listen() -> None:
    """End the process at SIGINT and at SIGTERM; a second signal does not wait for anything.

    A SIGINT that the parent process ignores, as shells do for jobs in the background, stays ignored.
    """
    signal.signal(signal.SIGTERM, terminated)
    sys.unraisablehook = _exit_again
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupted)


def stop_listening() -> None:
    """Give both signals their default action: the command is done, and the interpreter may end at any moment."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def interrupted(number: int, frame: object) -> NoReturn:
    """Report a SIGINT and exit with 130."""
    _end("interrupted", INTERRUPTED)


def terminated(number: int, frame: object) -> NoReturn:
    """Report a SIGTERM and exit with 143."""
    _end("terminated", TERMINATED)


def rank() -> int:
    """Return this process's number among those that ``torchrun`` started; without it, 0."""
    return int(os.environ["RANK"]) if "TORCHELASTIC_RUN_ID" in os.environ else 0


def _end(word: str, code: int) -> NoReturn:
    if os.getpid() in _ended:
        os._exit(code)
    _ended[os.getpid()] = code
    if not rank():
        os.write(2, f"segue: {word}; {KEPT}\n".encode())  # print may be what was interrupted
    sys.exit(code)


def _exit_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise an exit again that Python ignored, since the signal arrived in a destructor or a callback."""
    code = _ended.get(os.getpid())
    if code is None or not isinstance(unraisable.exc_value, SystemExit):
        sys.__unraisablehook__(unraisable)
        return
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(code))
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
