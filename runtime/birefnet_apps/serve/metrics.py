"""What `GET /metrics` shows, for Prometheus."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)

from .limits import RequestQueue, UploadBudget

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STAGES = ("queue", "read", "run", "write")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters of one server, in a registry of its own.

    Args:
        queue: whose depth and pixels are shown.
        held: whose bytes are shown.
        facts: of the model: name, provider, size, version.
        batch: the most pictures in one run.
    """

    def __init__(
        self, queue: RequestQueue, held: UploadBudget, facts: dict[str, str], batch: int
    ) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "birefnet_requests", "Requests by path and code.", ["path", "code"], registry=registry
        )
        self._stages = Histogram(
            "birefnet_stage_seconds",
            "Seconds of a picture by stage: queue, read, run, write.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        for stage in STAGES:
            self._stages.labels(stage)
        self.batches = Histogram(
            "birefnet_batch_size",
            "Pictures that went through the network together.",
            buckets=sorted({1, 2, 4, 8, 16, 32, batch}),
            registry=registry,
        )
        self.interrupted = Counter(
            "birefnet_runs_interrupted",
            "Runs that were ended since nobody waited for them.",
            registry=registry,
        )
        for name, text, value in (
            ("birefnet_queue_depth", "Requests that wait or are worked on.", lambda: queue.count),
            ("birefnet_pixels", "Pixels of the pictures under way.", lambda: queue.pixels),
            ("birefnet_held_bytes", "Bytes of bodies and answers.", lambda: held.bytes),
        ):
            Gauge(name, text, registry=registry).set_function(value)
        Info("birefnet_model", "What runs.", registry=registry).info(facts)

    def count(self, path: str, code: int) -> None:
        """Count a request."""
        self._requests.labels(path, str(code)).inc()

    def took(self, stage: str, seconds: float) -> None:
        """Learn how long a picture spent in a stage."""
        self._stages.labels(stage).observe(seconds)

    def text(self) -> bytes:
        """All of them, in Prometheus's text format."""
        return generate_latest(self._registry)
