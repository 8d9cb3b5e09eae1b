"""Every metric: its name, labels and buckets, declared once. Prometheus' conventions: base units, ``_total``.

Laws:

- Labels are bounded: a route's name, never a path; a status; a reason from an enum; a method from a fixed set.
- Children are bound before the first request and looked up by tuple afterwards; nothing here does I/O.
- A registry per gateway: two in one process do not share a number.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

if TYPE_CHECKING:
    from collections.abc import Callable

DURATION_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})


class RouteMeter:
    """The metrics of one route, bound."""

    __slots__ = ("_counts", "_durations", "_metrics", "_name")

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics = metrics
        self._name = name
        self._counts: dict[tuple[bytes, int], Counter] = {}
        self._durations = metrics.durations.labels(name)

    def record(self, method: bytes, status: int, seconds: float) -> None:
        """Count one request that has been answered."""
        child = self._counts.get((method, status))
        if child is None:
            known = method.decode() if method in _METHODS else "other"
            child = self._counts[method, status] = self._metrics.requests.labels(
                self._name, known, str(status)
            )
        child.inc()
        self._durations.observe(seconds)


class Metrics:
    """All metrics of one gateway."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Counter(
            "gateway_requests", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self.durations = Histogram(
            "gateway_request_duration_seconds",
            "From the request's head to the end of its answer.",
            ["route"],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge("gateway_requests_in_flight", "Requests being served.", registry=registry)
        self.authentications = Counter(
            "gateway_authentications",
            "Verdicts on callers: ok, or the reason for the refusal.",
            ["credential", "outcome"],
            registry=registry,
        )
        self.sign_ins = Counter(
            "gateway_sign_ins",
            "Verdicts of the hosted endpoints: ok, or the reason for the refusal.",
            ["endpoint", "outcome"],
            registry=registry,
        )
        self.faults = Counter(
            "gateway_faults",
            "Requests the gateway answered itself, by reason.",
            ["reason"],
            registry=registry,
        )
        build = Info("gateway_build", "The running version.", registry=registry)
        build.info({"version": _version()})
        self._outcomes: dict[tuple[str, str], Counter] = {}

    def route(self, name: str) -> RouteMeter:
        """Return the meter of a route."""
        return RouteMeter(self, name)

    def authenticated(self, credential: str, outcome: str) -> None:
        """Count a verdict on a caller."""
        child = self._outcomes.get((credential, outcome))
        if child is None:
            child = self._outcomes[credential, outcome] = self.authentications.labels(credential, outcome)
        child.inc()

    def watch(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Publish a number that is read when it is scraped."""
        Gauge(name, meaning, registry=self.registry).set_function(read)


def _version() -> str:
    try:
        return version("whatomate-gateway")
    except PackageNotFoundError:
        return "unknown"
