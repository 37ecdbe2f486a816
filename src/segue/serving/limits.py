"""The gate in front of the API: hosts, keys, sizes and time are checked before anything is parsed.

A body is read here, up to its limit, and passed on complete: a client that sends slowly does not count as a request
being worked on, and does not delay others. How long a client may take to send is left to a proxy; see docs/serving.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segue.errors import InputError
from segue.files import write_text
from segue.serving.schema import ApiError
from segue.serving.served import Server

OPEN = ("/healthz", "/readyz")
"""Paths that are answered without a key and under any load: they decide whether the server is kept running."""


READ_AND_DROP = 4
"""Bodies up to this many times the limit are read to their end before they are refused."""


class Gate:
    """Middleware that lets requests through to the application or answers why not.

    Args:
        app: the application.
        server: whose settings, metrics and state count.
        hashes: hashes of the accepted keys; None: no key is needed.
    """

    def __init__(self, app: ASGIApp, server: Server, hashes: tuple[str, ...] | None) -> None:
        self._app, self._server, self._hashes = app, server, hashes
        self._limits, self._metrics = server.settings.limits, server.metrics
        self._working = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with what is wrong."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, close=self._server.draining)
        began = perf_counter()
        try:
            await self._pass(scope, receive, answer)
        except ApiError as error:
            self._metrics.refused.labels(error.reason).inc()
            await error.response()(scope, receive, answer)
        route = getattr(scope.get("route"), "path", "refused")
        self._metrics.requests.labels(route, str(answer.status)).inc()
        self._metrics.seconds.labels(route).observe(perf_counter() - began)

    async def _pass(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        path, headers = scope["path"], dict(scope["headers"])
        self._check_host(headers)
        if path in OPEN:
            await self._app(scope, receive, answer)
            return
        if not (path == "/" or path.startswith("/page/")):  # files without data; the page itself asks for a key
            self._check_key(headers)
        body = await self._body(headers, receive)
        if self._working >= self._limits.concurrency:
            raise ApiError(429, "too_many_requests", f"the server works on {self._limits.concurrency} requests already;"
                           " repeat the request in a second", reason="concurrency")  # fmt: skip
        self._working += 1
        self._metrics.working.set(self._working)
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                await self._app(scope, _replay(body, receive), answer)
        except TimeoutError:
            if answer.status is not None:
                raise
            seconds = f"{self._limits.request_seconds:g} s"
            raise ApiError(503, "took_too_long", f"the answer took longer than {seconds}; repeat the request",
                           reason="time") from None  # fmt: skip
        finally:
            self._working -= 1
            self._metrics.working.set(self._working)

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        allowed = self._server.settings.allowed_hosts
        name = _host_name(headers.get(b"host", b"").decode("latin-1"))
        if allowed is not None and name not in allowed:
            raise ApiError(400, "unknown_host", f"this server does not answer for the host {name[:60]!r}",
                           reason="host")  # fmt: skip

    def _check_key(self, headers: dict[bytes, bytes]) -> None:
        if self._hashes is not None and not is_known(given_key(headers), self._hashes):
            raise ApiError(401, "unauthorized", "give an API key: Authorization: Bearer KEY", reason="key")

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Read the body of a request, up to the limit.

        A body that is somewhat larger is read to its end and dropped: if the connection were closed on unread bytes,
        the client might see a reset instead of the answer.
        """
        most, parts, size, more = self._limits.body_bytes, [], 0, True
        announced = headers.get(b"content-length", b"0")
        too_large = ApiError(413, "body_too_large", f"the body may have {most} bytes", reason="size", close=True)
        if announced.isdigit() and int(announced[:20]) > READ_AND_DROP * most:
            raise too_large
        while more and size <= READ_AND_DROP * most:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ApiError(400, "disconnected", "the client left before its body was complete", reason="disconnect")
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
            if size <= most:
                parts.append(message.get("body", b""))
        if size > most:
            raise too_large
        return b"".join(parts)


class _Answer:
    """Sends an answer and keeps its status."""

    def __init__(self, send: Send, *, close: bool) -> None:
        self._send, self._close = send, close
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._close:
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await self._send(message)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a channel that passes on the body in one piece, then the messages of the connection."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


def _host_name(host: str) -> str:
    """Return a Host header without its port.

    >>> _host_name("localhost:8080"), _host_name("[::1]:8080")
    ('localhost', '::1')
    """
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0].lower()


PREFIX = "segue_"


def new_key(path: Path, *, label: str = "") -> str:
    """Make a key, add its hash to a file, and return the key, which is stored nowhere."""
    key = PREFIX + secrets.token_urlsafe(32)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    line = f"{_hash(key)}  {now} {' '.join(label.split())}".rstrip()
    write_text(path, before + ("\n" if before and not before.endswith("\n") else "") + line + "\n")
    path.chmod(0o600)
    return key


def read_keys(path: Path) -> tuple[str, ...]:
    """Return the hashes in a file of keys: one at the beginning of each line, then free text.

    Raises:
        InputError: the file cannot be read, holds no key, or a line that begins with something else.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the keys in {path}", got=str(error), fix="name a file of keys") from error
    hashes = tuple(words[0] for words in lines if words and not words[0].startswith("#"))
    if not hashes or not all(re.fullmatch(r"[0-9a-f]{64}", one) for one in hashes):
        raise InputError(
            f"{path} is not a file of keys",
            expected="a sha256 at the beginning of each line",
            fix="make one with `segue serve --new-key FILE`",
        )
    return hashes


def is_known(key: str, hashes: tuple[str, ...]) -> bool:
    """Return whether a key's hash is among ``hashes``; all are compared, each in constant time."""
    given = _hash(key)
    return sum(hmac.compare_digest(given, known) for known in hashes) > 0


def given_key(headers: dict[bytes, bytes]) -> str:
    """Return the key of a request, from ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``; empty without one."""
    authorization = headers.get(b"authorization", b"").decode("latin-1")
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get(b"x-api-key", b"").decode("latin-1").strip()


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", errors="surrogatepass")).hexdigest()
