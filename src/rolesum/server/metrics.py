"""Prometheus metrics of the server. They hold no text and no name of a client."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from rolesum.server.schemas import SummariesOut

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)  # seconds


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        labels = ["path", "method", "status"]
        self.requests = Counter("rolesum_requests", "Requests answered", labels, registry=registry)
        self.request_seconds = Histogram(
            "rolesum_request_seconds",
            "From the request to the end of its response",
            ["path"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.first_text_seconds = Histogram(
            "rolesum_first_text_seconds",
            "From a streamed request to its first text",
            buckets=BUCKETS,
            registry=registry,
        )
        self.summaries = Counter("rolesum_summaries", "Summaries generated", ["model"], registry=registry)
        self.tokens = Counter("rolesum_tokens", "Tokens of these summaries", ["model"], registry=registry)
        self.flags = Counter("rolesum_flags", "Flags of the checks in these summaries", ["check"], registry=registry)
        self.statements = Counter("rolesum_statements", "Statements of these summaries", ["verdict"], registry=registry)
        self.canceled_requests = Counter(
            "rolesum_canceled_requests", "Requests whose client disconnected", registry=registry
        )

    def add_gauge(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Add a value that is looked up whenever the metrics are collected."""
        Gauge(f"rolesum_{name}", description, registry=self._registry).set_function(value)

    def count(self, summaries: SummariesOut) -> None:
        """Count the summaries of one dialogue."""
        tokens = sum(summary.tokens for summary in summaries.summaries)
        tokens += summaries.fields.tokens if summaries.fields else 0
        self.count_summaries(summaries.model, len(summaries.summaries), tokens)
        for summary in summaries.summaries:
            for flag in summary.flags:
                self.flags.labels(flag.check).inc()
            for one in summary.statements:
                self.statements.labels(_verdict(one.support, summary.support_threshold)).inc()
            for _ in summary.dropped:
                self.statements.labels("dropped").inc()

    def count_summaries(self, model: str, number: int, tokens: int) -> None:
        """Count summaries and their tokens."""
        self.summaries.labels(model).inc(number)
        self.tokens.labels(model).inc(tokens)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


def _verdict(support: float | None, threshold: float | None) -> str:
    if support is None:
        return "unknown"
    return "doubtful" if support < (threshold or 0.0) else "supported"
