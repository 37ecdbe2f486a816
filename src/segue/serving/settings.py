"""Settings of a server: where it listens, limits of one request, how long things may take."""

from __future__ import annotations

from pydantic import Field

from segue.settings import Settings

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable: the folder in which workers share their metrics."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Limits(Settings):
    """Limits of one request; a request beyond a limit is refused with a 4xx that names the limit."""

    body_bytes: int = Field(1_000_000, ge=1_000, description="size of a request's body, bytes")
    passages: int = Field(64, ge=1, description="passages, vectors or ids in a request")
    passage_characters: int = Field(8_000, ge=1, description="length of a passage, characters")
    text_characters: int = Field(200_000, ge=1, description="length of a text that is cut into passages, characters")
    k: int = Field(100, ge=1, description="passages answered")
    concurrency: int = Field(
        64, ge=1, description="requests handled at the same time; further ones are answered with 429"
    )
    connections: int = Field(512, ge=1, description="open connections; requests on further ones are answered with 503")
    request_seconds: float = Field(30.0, gt=0, description="time for answering a request, s")


class ServeSettings(Settings):
    """Settings of a server."""

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; the default is this machine only")
    port: int = Field(8080, ge=0, le=65535, description="port; 0: any free one")
    keys: str | None = Field(None, description="file of hashed API keys; null: no key is needed")
    runs: str | None = Field(None, description="folder of runs for the page to show; null: none")
    cors_origins: tuple[str, ...] = Field((), description="other web origins whose pages may use the API")
    hosts: tuple[str, ...] = Field((), description="accepted Host names; empty: on loopback its own names, else any")
    watch_seconds: float = Field(1.0, gt=0, description="time between checks of a folder of bundles, s")
    drain_seconds: float = Field(1.0, ge=0, description="time in which requests are still taken after SIGTERM, s")
    limits: Limits = Field(default_factory=Limits, description="limits of one request")
    workers: int = Field(1, ge=1, le=256, description="processes that answer; limits are those of each")
    batch_size: int = Field(16, ge=1, le=1024, description="maximum number of queries answered together")

    @property
    def allowed_hosts(self) -> frozenset[str] | None:
        """Accepted Host names; None: any."""
        if self.hosts:
            return frozenset(self.hosts)
        return frozenset(LOOPBACK) if self.host in LOOPBACK else None
