"""What a server may be told: where it listens, how much it takes, how long it waits."""

from __future__ import annotations

from pydantic import Field

from segue.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Limits(Settings):
    """What one request may cost; beyond it the answer is a 4xx that says which limit."""

    body_bytes: int = Field(1_000_000, ge=1_000, description="size of a request's body, bytes")
    passages: int = Field(64, ge=1, description="passages, vectors or ids in a request")
    passage_characters: int = Field(8_000, ge=1, description="length of a passage, characters")
    text_characters: int = Field(200_000, ge=1, description="length of a text that is cut into passages, characters")
    k: int = Field(100, ge=1, description="passages answered")
    concurrency: int = Field(64, ge=1, description="requests worked on at once; more are answered 429")
    reading: int = Field(512, ge=1, description="requests whose bodies are read at once; more are answered 429")
    body_seconds: float = Field(10.0, gt=0, description="time for sending the head or the body of a request, s")
    request_seconds: float = Field(30.0, gt=0, description="time for answering a request, s")


class Batching(Settings):
    """How requests are answered together."""

    size: int = Field(16, ge=1, le=1024, description="requests answered together, at most")
    wait_ms: float = Field(
        0.0,
        ge=0,
        description="time the first of a batch waits for others, ms; 0: what came while the last was answered",
    )


class ServeSettings(Settings):
    """A server."""

    host: str = Field(
        "127.0.0.1", min_length=1, description="address to listen on; the default is reached from here only"
    )
    port: int = Field(8080, ge=0, le=65535, description="port; 0: any free one")
    keys: str | None = Field(None, description="file of hashed API keys; null: everyone may ask")
    runs: str | None = Field(None, description="folder of runs for the page to show; null: none")
    cors_origins: tuple[str, ...] = Field((), description="web origins whose pages may ask")
    hosts: tuple[str, ...] = Field(
        (), description="Host names that requests may give; empty: on loopback its own names"
    )
    watch_seconds: float = Field(1.0, gt=0, description="how often a folder of bundles is looked at, s")
    drain_seconds: float = Field(1.0, ge=0, description="how long it goes on taking requests after SIGTERM, s")
    limits: Limits = Field(default_factory=Limits, description="what one request may cost")
    batching: Batching = Field(default_factory=Batching, description="how requests are answered together")

    @property
    def allowed_hosts(self) -> frozenset[str] | None:
        """Host names that requests may give; None: any."""
        if self.hosts:
            return frozenset(self.hosts)
        return frozenset(LOOPBACK) if self.host in LOOPBACK else None
