"""Metrics registry: it declares each name, label and bucket once. Prometheus' conventions: base units, ``_total``.

Laws:

- Labels are bounded: a route's name, never a path; a status; a reason from an enum; a method from a fixed set.
- Counts of every request are plain integers (:mod:`gateway.metrics.meters`), and become metrics at each scrape.
- There is one registry per gateway: two gateways in one process do not share a number.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from gateway.metrics.families import RouteFamilies, UpstreamFamilies, histogram
from gateway.metrics.meters import RouteMeter, UpstreamMeter, VerdictMeter
from gateway.version import running_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from authcore.figures import Histogram

    Labelled = Mapping[tuple[str, ...], float]

DROPS: Final = frozenset({408, 413, 414, 429, 431, 499, 503})
"""Statuses of requests that met a limit or found no room; 499 of clients that did not take their answer in time."""

KNOWN_DROPS: Final = (
    ("408", "request_timeout"),
    ("413", "body_too_large"),
    ("414", "target_too_long"),
    ("429", "concurrency_limited"),
    ("429", "rate_limited"),
    ("431", "head_too_large"),
    ("499", "displaced"),
    ("499", "write_timeout"),
    ("503", "too_many_connections"),
    ("503", "too_many_of_network"),
    ("503", "too_many_uploads"),
    ("503", "descriptors"),
    ("503", "upstream_busy"),
    ("503", "upstream_breaker"),
    ("503", "upstream_waiting"),
    ("503", "overloaded"),
    ("503", "store_down"),
)
"""Published as 0 from the start: a rate over a series that appears with its first event does not see that event."""


class Metrics:
    """Metrics registry of one gateway."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.routes: dict[str, RouteMeter] = {}
        self.upstreams: dict[str, UpstreamMeter] = {}
        self.verdicts = VerdictMeter()
        self._gauges: dict[str, Callable[[], Labelled]] = {}
        registry.register(RouteFamilies(self.routes))
        registry.register(UpstreamFamilies(self.upstreams))
        self.read_counters(
            "gateway_authentications",
            "Verdicts on callers: ok, stale (known, while the store is away), or the reason for the refusal.",
            ("credential", "outcome"),
            lambda: self.verdicts.counts,
        )
        self.in_flight = Gauge("gateway_requests_in_flight", "Requests being served.", registry=registry)
        self.sign_ins = Counter(
            "gateway_sign_ins",
            "Verdicts of the hosted endpoints: ok, or the reason for the refusal.",
            ["endpoint", "outcome"],
            registry=registry,
        )
        self.route_reloads = Counter(
            "gateway_routes_reloads",
            "Readings of the routes after the first: ok, or refused.",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("ok", "refused"):
            self.route_reloads.labels(outcome)
        self.faults = Counter(
            "gateway_faults",
            "Requests the gateway answered itself, by reason.",
            ["reason"],
            registry=registry,
        )
        self.drops = Counter(
            "gateway_drops",
            "Requests the gateway answered itself because they met a limit or found no room.",
            ["status", "reason"],
            registry=registry,
        )
        for labels in KNOWN_DROPS:
            self.drops.labels(*labels)
        build = Info("gateway_build", "The running version.", registry=registry)
        build.info({"version": running_version(), "python": platform.python_version()})

    def route(self, name: str) -> RouteMeter:
        """Return the meter of a route; one name always has the same meter."""
        return self.routes.setdefault(name, RouteMeter())

    def upstream(self, name: str) -> UpstreamMeter:
        """Return the meter of an upstream; one name always has the same meter."""
        return self.upstreams.setdefault(name, UpstreamMeter())

    def refused(self, status: int, reason: str) -> None:
        """Count a request that the gateway answered itself."""
        self.faults.labels(reason).inc()
        if status in DROPS:
            self.drops.labels(str(status), reason).inc()

    def present(self, names: Iterable[str]) -> dict[str, dict[str, float]]:
        """Return the values of gauges that other parts hold, by name and by the values of their labels."""
        return {
            name: {" ".join(labels): float(one) for labels, one in self._gauges[name]().items()}
            for name in names
            if name in self._gauges
        }

    def faults_by_reason(self) -> dict[str, float]:
        """Return how many requests the gateway answered itself, by reason."""
        return {
            sample.labels["reason"]: sample.value
            for family in self.faults.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        }

    # -- registration by other parts -----------------------------------------------------------------------------

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        """Return a counter for rare events; ``_total`` is added to its name."""
        return Counter(name, meaning, labels, registry=self.registry)

    def read_gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Publish a gauge that is read at each scrape."""
        Gauge(name, meaning, registry=self.registry).set_function(read)
        self._gauges[name] = lambda: {(): read()}

    def read_gauges(
        self, name: str, meaning: str, labels: tuple[str, ...], read: Callable[[], Labelled]
    ) -> None:
        """Publish gauges by the values of `labels`, read at each scrape."""
        self.registry.register(_Read(GaugeMetricFamily, name, meaning, labels, read))
        self._gauges[name] = read

    def read_counter(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Publish a counter that another part increments, read at each scrape."""
        self.read_counters(name, meaning, (), lambda: {(): read()})

    def read_counters(
        self, name: str, meaning: str, labels: tuple[str, ...], read: Callable[[], Labelled]
    ) -> None:
        """Publish counters that another part increments, by the values of `labels`."""
        self.registry.register(_Read(CounterMetricFamily, name, meaning, labels, read))

    def read_histogram(self, name: str, meaning: str, spread: Histogram) -> None:
        """Publish a histogram that another part fills."""
        self.registry.register(_HistogramCollector(name, meaning, spread))


class _Read(Collector):
    """Collector of gauges or counters that another part holds."""

    def __init__(
        self,
        kind: type[CounterMetricFamily | GaugeMetricFamily],
        name: str,
        meaning: str,
        labels: tuple[str, ...],
        read: Callable[[], Labelled],
    ) -> None:
        self._kind = kind
        self._name = name
        self._meaning = meaning
        self._labels = labels
        self._read = read

    def collect(self) -> Iterator[Metric]:
        family = self._kind(self._name, self._meaning, labels=self._labels)
        for values, number in self._read().items():
            family.add_metric(values, number)
        yield family


class _HistogramCollector(Collector):
    """Collector of a histogram that another part fills."""

    def __init__(self, name: str, meaning: str, spread: Histogram) -> None:
        self._name = name
        self._meaning = meaning
        self._spread = spread

    def collect(self) -> Iterable[Metric]:
        yield histogram(self._name, self._meaning, (), {(): self._spread})
