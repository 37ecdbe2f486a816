"""A server of this machine with the interface of OpenAI's embeddings, which fails as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fake_encoder import HashEncoder

Reply = tuple[int, dict[str, str], str | bytes]
"""HTTP state, headers and body of an answer that is no success."""


class EndpointServer:
    """Answers each request with the next of ``replies``, or as it should when there is none.

    A reply is ``(state, headers, body)``, a function that changes the right answer, or "silence".
    """

    def __init__(self, dimension: int = 8) -> None:
        self.encoder = HashEncoder(dimension)
        self.replies: list[Reply | Callable[[dict[str, Any]], object] | str] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.ended = threading.Event()
        self.base_url = ""

    @property
    def texts(self) -> list[str]:
        """All texts that were received, of failed requests too."""
        return [text for body in self.bodies for text in body["input"]]

    def right(self, texts: list[str]) -> dict[str, Any]:
        """Return the right answer, last text first, with vectors of length 3."""
        vectors = 3 * self.encoder.vectors(texts)
        data = [{"object": "embedding", "index": place, "embedding": vectors[place].tolist()}
                for place in reversed(range(len(texts)))]  # fmt: skip
        return {"object": "list", "data": data, "model": "small-1",
                "usage": {"prompt_tokens": 5 * len(texts), "total_tokens": 5 * len(texts)}}  # fmt: skip


@contextmanager
def serving(server: EndpointServer) -> Iterator[EndpointServer]:
    """Let a server answer at its ``base_url``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.bodies.append(body)
            server.headers.append(dict(self.headers))
            reply = server.replies.pop(0) if server.replies else lambda answer: answer
            if reply == "silence":
                server.ended.wait(20)
                return
            if self.path != "/v1/embeddings":
                reply = (404, {}, f"no {self.path}")
            state, headers, text = reply if isinstance(reply, tuple) else (200, {}, reply(server.right(body["input"])))
            text = text if isinstance(text, str | bytes) else json.dumps(text)
            data = text.encode() if isinstance(text, str) else text
            self.send_response(state)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    server.base_url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield server
    finally:
        server.ended.set()
        http.shutdown()
        http.server_close()
        thread.join()
