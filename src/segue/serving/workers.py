"""Workers: processes that answer on one listening socket, and the supervisor that replaces one that ended.

Each worker loads the bundle itself. Its vectors and texts are mapped from the files, so the workers share them; model
and encoder are in the memory of each. A connection is accepted by whichever worker is free. The supervisor forwards
SIGTERM, SIGINT and SIGHUP; without it the workers stop as on SIGTERM.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from prometheus_client.multiprocess import mark_process_dead

from segue.errors import SegueError
from segue.serving.settings import MULTIPROCESS

log = logging.getLogger("segue.serving")

PAUSE_SECONDS = 0.5
"""Time before a worker is replaced, seconds."""
Work = Callable[[Connection], None]
"""Work of a worker; it sends a line when it answers, or the error with which it ends."""


class Supervisor:
    """Starts the workers of a server, and replaces those that end.

    Args:
        work: can be pickled.
        count: number of workers.
    """

    def __init__(self, work: Work, count: int) -> None:
        self._work, self._count, self._stopping = work, count, False
        self._context = multiprocessing.get_context("spawn")  # a fork would copy locks that threads of PyTorch hold
        self._live: dict[BaseProcess, Connection] = {}

    def run(self, announce: Callable[[str], None]) -> None:
        """Keep the workers running until a signal arrives; ``announce`` gets the first one's line.

        Raises:
            SegueError: the first worker could not begin.
        """
        with tempfile.TemporaryDirectory(prefix="segue-metrics-") as folder:
            os.environ[MULTIPROCESS] = folder
            try:
                announce(self._first())  # alone, so that a bundle that cannot be loaded is reported once
                self._keep()
            finally:
                del os.environ[MULTIPROCESS]

    def _keep(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._forward)
        while len(self._live) < self._count and not self._stopping:
            self._start()
        while self._live:
            wait([process.sentinel for process in self._live])
            self._replace([process for process in self._live if not process.is_alive()])

    def _first(self) -> str:
        answering = self._start()
        try:
            found = answering.recv()
        except EOFError:
            found = SegueError("the first worker ended before it answered", fix="see the lines above")
        if isinstance(found, SegueError):
            raise found
        return str(found)

    def _start(self) -> Connection:
        receive, send = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(self._work, send), daemon=True)
        process.start()
        send.close()
        self._live[process] = receive
        if self._stopping:
            process.terminate()
        return receive

    def _replace(self, ended: list[BaseProcess]) -> None:
        for process in ended:
            self._live.pop(process).close()
            mark_process_dead(_pid(process))
            if not self._stopping:
                log.warning("worker %d ended (exit code %s); another one begins", process.pid, process.exitcode)
                time.sleep(PAUSE_SECONDS)
            if not self._stopping:
                self._start()

    def _forward(self, number: int, frame: object) -> None:
        self._stopping = self._stopping or number != signal.SIGHUP
        for process in list(self._live):
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(_pid(process), signal.SIGHUP if number == signal.SIGHUP else signal.SIGTERM)


def _pid(process: BaseProcess) -> int:
    assert process.pid is not None, "it was started"
    return process.pid


def _work(work: Work, send: Connection) -> None:
    os.setpgrp()  # Ctrl-C in a terminal reaches the supervisor alone, which forwards it once
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a bundle to read again
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work(send)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
