"""The process: uvicorn, with a graceful end and limits on what comes before a request.

On SIGTERM or SIGINT the server says on ``/readyz`` that it is leaving, goes on answering for ``drain_seconds`` so that
whoever sends requests here can notice, keeps no connection any more, then takes none and finishes what it has. SIGHUP
reads the bundle again. A connection whose first request's head does not come in time is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from segue.serving.app import make_app
from segue.serving.served import Server

log = logging.getLogger("segue.serving")
MOST_HEAD_BYTES = 32_768


class Uvicorn(uvicorn.Server):
    """Uvicorn that leaves in two steps, and without raising the signal again."""

    def __init__(self, config: uvicorn.Config, server: Server) -> None:
        super().__init__(config)
        self._shared = server

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say where: the port may have been chosen by the system."""
        await super().startup(sockets=sockets)
        for listening in [one for server in self.servers for one in server.sockets][:1]:
            host, port = listening.getsockname()[:2]
            print(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals for as long as the server runs, in the event loop."""
        loop = asyncio.get_running_loop()
        leaving = [signal.SIGTERM, signal.SIGINT]
        for one in leaving:
            loop.add_signal_handler(one, self.leave)
        loop.add_signal_handler(signal.SIGHUP, self.read_again)
        try:
            yield
        finally:
            for one in [*leaving, signal.SIGHUP]:
                loop.remove_signal_handler(one)

    def leave(self) -> None:
        """Begin to leave; the second time, do not wait for what is left."""
        if self._shared.draining:
            self.should_exit = self.force_exit = True
            return
        self._shared.draining = True
        log.warning("leaving: finishing what is there")
        asyncio.get_running_loop().call_later(self._shared.settings.drain_seconds, self._stop)

    def _stop(self) -> None:
        self.should_exit = True

    def read_again(self) -> None:
        """Read the bundle again, beside the one that is served."""
        task = asyncio.get_running_loop().create_task(self._shared.current.change(forced=True))
        self._shared.tasks.add(task)
        task.add_done_callback(self._shared.tasks.discard)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Leave; uvicorn's own name for it."""
        self.leave()


def with_deadline(seconds: float) -> type[H11Protocol]:
    """Return the HTTP protocol, made to close a connection on which no request has begun in time."""

    class Protocol(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            asyncio.get_running_loop().call_later(seconds, self._require_request)

        def _require_request(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                self.transport.close()

    return Protocol


def run(server: Server) -> None:
    """Serve until a signal comes."""
    settings = server.settings
    config = uvicorn.Config(
        make_app(server), host=settings.host, port=settings.port, http=with_deadline(settings.limits.body_seconds),
        ws="none", log_level="warning", access_log=False, server_header=False, date_header=False, proxy_headers=False,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES, timeout_keep_alive=30, lifespan="on",
        timeout_graceful_shutdown=round(settings.limits.request_seconds) + 1,
    )  # fmt: skip
    Uvicorn(config, server).run()
