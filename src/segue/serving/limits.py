"""The gate in front of the API: sizes, time, keys and hosts, before anything is parsed.

A request's body is read here, up to its limits, and handed on whole. So nothing behind this ever waits for a slow
client, and a slow client keeps nobody else waiting.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from segue.errors import InputError, explain
from segue.files import write_text
from segue.serving.metrics import Metrics
from segue.serving.schema import problem
from segue.serving.settings import ServeSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN = ("/healthz", "/readyz")
"""Answered to everyone, whatever the load: what asks here decides whether the server lives."""


@dataclass(frozen=True)
class Refusal(Exception):
    """A request that is not let through."""

    status: int
    code: str
    message: str
    reason: str
    close: bool = False


class Gate:
    """Lets requests through to the application.

    Args:
        app: the application.
        settings: the server's.
        hashes: of the keys; None: everyone may ask.
        metrics: what counts.
        draining: tells whether the server is about to stop, so that connections are not kept.
    """

    def __init__(
        self,
        app: App,
        settings: ServeSettings,
        *,
        hashes: tuple[str, ...] | None,
        metrics: Metrics,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._app, self._settings, self._limits = app, settings, settings.limits
        self._hashes, self._metrics, self._draining = hashes, metrics, draining
        self._reading = self._working = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with what is wrong."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answered = _Answered(send, closing=self._draining())
        began = perf_counter()
        try:
            await self._pass(scope, receive, answered)
        except Refusal as refusal:
            self._metrics.refused.labels(refusal.reason).inc()
            await problem(refusal.status, refusal.code, refusal.message, close=refusal.close)(scope, receive, answered)
        route = getattr(scope.get("route"), "path", "refused")
        self._metrics.requests.labels(route, str(answered.status)).inc()
        self._metrics.seconds.labels(route).observe(perf_counter() - began)

    async def _pass(self, scope: Message, receive: Receive, send: Send) -> None:
        path, headers = scope["path"], dict(scope["headers"])
        self._check_host(headers)
        if path in OPEN:
            await self._app(scope, receive, send)
            return
        if not (path == "/" or path.startswith("/page/")):  # the page's files hold no data: it asks for a key itself
            self._check_key(headers)
        body = await self._body(headers, receive)
        if self._working >= self._limits.concurrency:
            raise Refusal(429, "too_many_requests", f"the server works on {self._limits.concurrency} requests already; "
                          "ask again in a second", "concurrency")  # fmt: skip
        self._working += 1
        self._metrics.working.set(self._working)
        try:
            await self._timed(scope, _replayed(body, receive), send)
        finally:
            self._working -= 1
            self._metrics.working.set(self._working)

    async def _timed(self, scope: Message, receive: Receive, send: Send) -> None:
        seconds = self._limits.request_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._app(scope, receive, send)
        except TimeoutError:
            if getattr(send, "status", None) is not None:
                raise
            raise Refusal(
                503, "took_too_long", f"the answer took longer than {seconds:g} s; ask again", "time"
            ) from None

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        allowed = self._settings.allowed_hosts
        name = _host_name(headers.get(b"host", b"").decode("latin-1"))
        if allowed is not None and name not in allowed:
            raise Refusal(400, "unknown_host", f"this server does not answer for the host {name[:60]!r}", "host")

    def _check_key(self, headers: dict[bytes, bytes]) -> None:
        if self._hashes is not None and not is_known(given_key(headers), self._hashes):
            raise Refusal(401, "unauthorized", "give an API key: Authorization: Bearer KEY", "key")

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Read the body within its limits."""
        announced = headers.get(b"content-length", b"0")
        most = self._limits.body_bytes
        if announced.isdigit() and int(announced[:20]) > most:
            raise _too_large(most)
        if self._reading >= self._limits.reading:
            raise Refusal(
                429, "too_many_requests", "too many requests are being sent; ask again in a second", "reading"
            )
        self._reading += 1
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                return await _read(receive, most)
        except TimeoutError:
            raise Refusal(408, "body_too_slow", f"the body took longer than {self._limits.body_seconds:g} s", "slow",
                          close=True) from None  # fmt: skip
        finally:
            self._reading -= 1


class _Answered:
    """Sends, and remembers the status."""

    def __init__(self, send: Send, *, closing: bool) -> None:
        self._send, self._closing = send, closing
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._closing:
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await self._send(message)


async def _read(receive: Receive, most: int) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "disconnected", "the client went away before the body was there", "disconnect")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise _too_large(most)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large(most: int) -> Refusal:
    return Refusal(413, "body_too_large", f"the body may have {most} bytes", "size", close=True)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Hand the body on in one piece; what comes after it is the connection's own."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _host_name(host: str) -> str:
    """Return a Host header without its port.

    >>> _host_name("localhost:8080"), _host_name("[::1]:8080")
    ('localhost', '::1')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


PREFIX = "segue_"


def new_key(path: Path, *, label: str = "") -> str:
    """Make a key, add its hash to a file, and return it: it is shown this once."""
    key = PREFIX + secrets.token_urlsafe(32)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    line = f"{_hash(key)}  {now} {' '.join(label.split())}".rstrip()
    write_text(path, before + ("\n" if before and not before.endswith("\n") else "") + line + "\n")
    path.chmod(0o600)
    return key


def read_keys(path: Path) -> tuple[str, ...]:
    """Return the hashes of a file of keys: one a line, and behind it whatever helps to know whose it is.

    Raises:
        InputError: there is no such file, no key in it, or something else.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            explain(f"cannot read the keys in {path}", got=str(error), fix="name a file of keys")
        ) from error
    hashes = tuple(words[0] for words in lines if words and not words[0].startswith("#"))
    if not hashes or not all(re.fullmatch(r"[0-9a-f]{64}", one) for one in hashes):
        raise InputError(explain(f"{path} is no file of keys", expected="a sha256 at the beginning of each line",
                                 fix="make one with `segue serve --new-key FILE`"))  # fmt: skip
    return hashes


def is_known(key: str, hashes: tuple[str, ...]) -> bool:
    """Tell whether a key's hash is among ``hashes``; all of them are compared."""
    asked = _hash(key)
    return sum(hmac.compare_digest(asked, known) for known in hashes) > 0


def given_key(headers: dict[bytes, bytes]) -> str:
    """Return the key of a request: ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``; empty where there is none."""
    authorization = headers.get(b"authorization", b"").decode("latin-1")
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get(b"x-api-key", b"").decode("latin-1").strip()


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", errors="surrogatepass")).hexdigest()
