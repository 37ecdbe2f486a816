"""Records every attempt to reach another machine, also one whose failure nobody notices."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

EVENTS = ("socket.connect", "socket.getaddrinfo", "socket.sendto")
HERE = ("127.0.0.1", "::1", "localhost", None)

_watching: list[list[object]] = []  # a hook cannot be removed, so one serves all


def _hook(event: str, given: tuple[object, ...]) -> None:
    if _watching and event in EVENTS:
        address = given[0] if event == "socket.getaddrinfo" else given[1]
        host = address[0] if isinstance(address, tuple) else address
        if host not in HERE and not str(host).startswith("/"):  # a path is a socket of this machine
            _watching[-1].append((event, host))


sys.addaudithook(_hook)


@contextmanager
def network_watched() -> Iterator[list[object]]:
    """Yield a list that gets each connection and each look-up of a name, of this process, until the block ends."""
    asked: list[object] = []
    _watching.append(asked)
    try:
        yield asked
    finally:
        _watching.remove(asked)
