"""Every metric: its name, labels and buckets, declared once. Prometheus' conventions: base units, ``_total``.

Laws:

- Labels are bounded: a route's name, never a path; a status; a reason from an enum; a method from a fixed set.
- What every request touches is counted in plain integers (:mod:`gateway.metrics.meters`), and turned into metrics when
  somebody scrapes.
- A registry per gateway: two in one process do not share a number.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from gateway.metrics.families import RouteFamilies, UpstreamFamilies, histogram
from gateway.metrics.meters import RouteMeter, UpstreamMeter, VerdictMeter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from authcore.figures import Spread

    Labelled = Mapping[tuple[str, ...], float]

DROPS: Final = frozenset({408, 413, 414, 429, 431, 503})
"""Statuses that say that a limit was met, or that there is no room."""

KNOWN_DROPS: Final = (
    ("408", "request_timeout"),
    ("413", "body_too_large"),
    ("414", "target_too_long"),
    ("431", "head_too_large"),
    ("503", "too_many_connections"),
    ("503", "upstream_busy"),
    ("503", "overloaded"),
    ("503", "store_down"),
)
"""Told as 0 from the start: a rate over a series that appears with its first event does not see that event."""


class Metrics:
    """All metrics of one gateway."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.routes: dict[str, RouteMeter] = {}
        self.upstreams: dict[str, UpstreamMeter] = {}
        self.verdicts = VerdictMeter()
        registry.register(RouteFamilies(self.routes))
        registry.register(UpstreamFamilies(self.upstreams))
        self.tally_by(
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
        """Return the meter of a route; the same for the same name."""
        return self.routes.setdefault(name, RouteMeter())

    def upstream(self, name: str) -> UpstreamMeter:
        """Return the meter of an upstream; the same for the same name."""
        return self.upstreams.setdefault(name, UpstreamMeter())

    def refused(self, status: int, reason: str) -> None:
        """Count a request that the gateway answered itself."""
        self.faults.labels(reason).inc()
        if status in DROPS:
            self.drops.labels(str(status), reason).inc()

    def faults_by_reason(self) -> dict[str, float]:
        """Return how many requests the gateway answered itself, by reason."""
        return {
            sample.labels["reason"]: sample.value
            for family in self.faults.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        }

    # -- for every other part to add its own ---------------------------------------------------------------------

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        """Return a counter, for what happens now and then; its ``_total`` is added to the name."""
        return Counter(name, meaning, labels, registry=self.registry)

    def watch(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Publish a number that is read when it is scraped."""
        Gauge(name, meaning, registry=self.registry).set_function(read)

    def watch_by(
        self, name: str, meaning: str, labels: tuple[str, ...], read: Callable[[], Labelled]
    ) -> None:
        """Publish numbers by the values of `labels`, read when they are scraped."""
        self.registry.register(_Read(GaugeMetricFamily, name, meaning, labels, read))

    def tally(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Publish a count that somebody else keeps, read when it is scraped."""
        self.tally_by(name, meaning, (), lambda: {(): read()})

    def tally_by(
        self, name: str, meaning: str, labels: tuple[str, ...], read: Callable[[], Labelled]
    ) -> None:
        """Publish counts that somebody else keeps, by the values of `labels`."""
        self.registry.register(_Read(CounterMetricFamily, name, meaning, labels, read))

    def spread(self, name: str, meaning: str, spread: Spread) -> None:
        """Publish how values are spread."""
        self.registry.register(_Histogram(name, meaning, spread))


class _Read(Collector):
    """Numbers that are kept elsewhere."""

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


class _Histogram(Collector):
    """A spread that is kept elsewhere."""

    def __init__(self, name: str, meaning: str, spread: Spread) -> None:
        self._name = name
        self._meaning = meaning
        self._spread = spread

    def collect(self) -> Iterable[Metric]:
        yield histogram(self._name, self._meaning, (), {(): self._spread})


def running_version() -> str:
    """Return the version that is installed."""
    try:
        return version("whatomate-gateway")
    except PackageNotFoundError:
        return "unknown"
