"""Ranks that tests start: processes connected by gloo, forked from one that has imported PyTorch already."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

PATIENCE = 300
"""Seconds after which a process of a test hangs."""
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["segue.training.train", "segue.workflows.train", "segue.cli.main"])


def run_ranks(size: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return what ``work(*arguments)`` returns on each of ``size`` ranks; None where a process was killed.

    Raises:
        AssertionError: it raised an error, or a process hangs.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes = [_CONTEXT.Pipe(duplex=False) for _ in range(size)]
    found: list[Any] = []
    processes = [
        _CONTEXT.Process(target=_rank, args=(number, size, port, pipe[1], work, arguments), daemon=True)
        for number, pipe in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    try:
        for (receive, send), process in zip(pipes, processes, strict=True):
            send.close()
            assert receive.poll(PATIENCE), "a rank hangs"
            try:
                error, result = receive.recv()
            except EOFError:
                error, result = None, None
            assert error is None, error
            found.append(result)
            process.join(PATIENCE)
    finally:
        for process in processes:
            process.kill()
    return found


def _rank(
    number: int, size: int, port: int, send: Connection, work: Callable[..., Any], given: tuple[Any, ...]
) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1"}  # fmt: skip
    try:
        send.send((None, work(*given)))
    except BaseException:
        send.send((traceback.format_exc(), None))


def commands(lines: list[list[str]], cache: str) -> tuple[list[tuple[int, str, str]], list[str]]:
    """Run command lines on this rank, one after the other, with a storage in memory that is the rank's own.

    Returns:
        The exit code, stdout and stderr of each, and the names of what this rank uploaded.
    """
    from fsspec.implementations.memory import MemoryFileSystem

    from segue.cli.main import main

    os.environ["SEGUE_CACHE"] = cache
    found = []
    for words in lines:
        sys.argv, code, out, err = ["segue", *words], 0, io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as stop:
                code = int(stop.code or 0)
        found.append((code, out.getvalue(), err.getvalue()))
    return found, sorted(MemoryFileSystem.store)
