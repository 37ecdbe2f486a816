"""What a server counts, in the form that Prometheus reads."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
MEDIA_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("segue_requests", "Requests answered", ["route", "status"], registry=self.registry)
        self.seconds = self._seconds("segue_request_seconds", "From the request's first byte to the answer", "route")
        self.stages = self._seconds("segue_stage_seconds", "Spent by stage, per batch", "stage")
        self.batches = Histogram("segue_batch_size", "Requests answered together", ["kind"], buckets=SIZES,
                                 registry=self.registry)  # fmt: skip
        self.working = Gauge("segue_requests_in_progress", "Requests being worked on", registry=self.registry)
        self.refused = Counter("segue_refused", "Requests refused, by reason", ["reason"], registry=self.registry)
        self.swaps = Counter("segue_bundle_swaps", "Changes of the bundle", ["outcome"], registry=self.registry)
        self.bundle = Gauge("segue_bundle", "1 for the bundle that is served", ["version", "name"],
                            registry=self.registry)  # fmt: skip

    def _seconds(self, name: str, help: str, label: str) -> Histogram:
        return Histogram(name, help, [label], buckets=SECONDS, registry=self.registry)

    def serves(self, version: str, name: str) -> None:
        """Note which bundle is served."""
        self.bundle.clear()
        self.bundle.labels(version, name).set(1)

    def text(self) -> bytes:
        """Return all counters."""
        return generate_latest(self.registry)
