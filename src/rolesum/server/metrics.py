"""What the service counts, for Prometheus. No text and no name of a client is among it."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from rolesum.server.schemas import SummariesOut

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self.requests = Counter("rolesum_requests", "Requests answered", ["path", "method", "status"], registry=own)
        self.request_seconds = Histogram(
            "rolesum_request_seconds",
            "From the request to the end of its answer",
            ["path"],
            buckets=SECONDS,
            registry=own,
        )
        self.first_seconds = Histogram(
            "rolesum_first_text_seconds", "From a streamed request to its first text", buckets=SECONDS, registry=own
        )
        self.summaries = Counter("rolesum_summaries", "Summaries written", ["model"], registry=own)
        self.tokens = Counter("rolesum_tokens", "Tokens of these summaries", ["model"], registry=own)
        self.flags = Counter("rolesum_flags", "What the checks objected to", ["check"], registry=own)
        self.withdrawn = Counter("rolesum_withdrawn", "Requests whose client went away", registry=own)

    def gauge(self, name: str, told: str, value: Callable[[], float]) -> None:
        """A figure that is looked up whenever Prometheus asks."""
        Gauge(f"rolesum_{name}", told, registry=self.registry).set_function(value)

    def count(self, made: SummariesOut) -> None:
        """Count the summaries of one dialogue."""
        self.summaries.labels(made.model).inc(len(made.summaries))
        self.tokens.labels(made.model).inc(sum(one.tokens for one in made.summaries))
        for one in made.summaries:
            for flag in one.flags:
                self.flags.labels(flag.check).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)
