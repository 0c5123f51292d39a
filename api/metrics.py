"""What the service counts, in Prometheus' text form."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class Metrics:
    """The metrics of one application; nothing is global, so that several can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "plankwright_http_requests",
            "Answers by operation and status",
            ["operation", "status"],
            registry=self.registry,
        )
        self._latency = Histogram(
            "plankwright_http_request_seconds",
            "Time until an answer started",
            ["operation"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._known: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._jobs = Gauge("plankwright_jobs", "Jobs by state", ["state"], registry=self.registry)
        self._unleased = Gauge(
            "plankwright_running_jobs_without_lease",
            "Jobs at work whose lease ran out; above zero for more than a minute means that no sweeper runs",
            registry=self.registry,
        )
        self.open_streams = 0
        streams = Gauge("plankwright_event_streams", "Open event streams", registry=self.registry)
        streams.set_function(lambda: self.open_streams)

    def observe(self, operation: str, status: int, seconds: float) -> None:
        """Count one answer."""
        known = self._known.get((operation, status))
        if known is None:
            known = self._known[operation, status] = (
                self._requests.labels(operation, status),
                self._latency.labels(operation),
            )
        requests, latency = known
        requests.inc()
        latency.observe(seconds)

    @contextmanager
    def open_stream(self) -> Iterator[None]:
        """Count an event stream while it is open."""
        self.open_streams += 1
        try:
            yield
        finally:
            self.open_streams -= 1

    def expose(self, jobs_by_state: Mapping[str, int], unleased: int) -> bytes:
        """All metrics as text, with the jobs as the database has them now."""
        for state, count in jobs_by_state.items():
            self._jobs.labels(state).set(count)
        self._unleased.set(unleased)
        return generate_latest(self.registry)
