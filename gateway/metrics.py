"""Every metric: its name, labels and buckets, declared once. Prometheus' conventions: base units, ``_total``.

Laws:

- Labels are bounded: a route's name, never a path; a status; a reason from an enum; a method from a fixed set.
- What every request touches is counted in plain integers (:class:`RouteMeter`, :class:`Verdicts`) by the one thread
  that serves, and turned into metrics when it is scraped: a counter of the library takes a lock for each increment.
- A registry per gateway: two in one process do not share a number.
"""

from __future__ import annotations

from bisect import bisect_left
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Info, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

DURATION_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BOUNDS: Final = (*(str(float(bound)) for bound in DURATION_BUCKETS), "+Inf")
_METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})


class RouteMeter:
    """The numbers of one route.

    Attributes:
        answered: Requests by method and status.
        buckets: Requests by the bucket their duration falls into; one more than there are bounds.
        seconds: The sum of their durations.
    """

    __slots__ = ("answered", "buckets", "seconds")

    def __init__(self) -> None:
        self.answered: dict[tuple[bytes, int], int] = {}
        self.buckets = [0] * (len(DURATION_BUCKETS) + 1)
        self.seconds = 0.0

    def record(self, method: bytes, status: int, seconds: float) -> None:
        """Count one request that has been answered."""
        key = (method, status)
        self.answered[key] = self.answered.get(key, 0) + 1
        self.buckets[bisect_left(DURATION_BUCKETS, seconds)] += 1
        self.seconds += seconds


class _Tallies(Collector):
    """What has been counted in plain integers, as metrics."""

    def __init__(self) -> None:
        self.routes: dict[str, RouteMeter] = {}
        self.verdicts: dict[tuple[str, str], int] = {}

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as the library's collectors do."""
        requests = CounterMetricFamily(
            "gateway_requests", "Requests answered.", labels=["route", "method", "status"]
        )
        durations = HistogramMetricFamily(
            "gateway_request_duration_seconds",
            "From the request's head to the end of its answer.",
            labels=["route"],
        )
        verdicts = CounterMetricFamily(
            "gateway_authentications",
            "Verdicts on callers: ok, or the reason for the refusal.",
            labels=["credential", "outcome"],
        )
        for name, meter in self.routes.items():
            by_label: dict[tuple[str, str], int] = {}
            for (method, status), number in meter.answered.items():
                label = (method.decode() if method in _METHODS else "other", str(status))
                by_label[label] = by_label.get(label, 0) + number
            for label, number in by_label.items():
                requests.add_metric([name, *label], number)
            total, buckets = 0, []
            for bound, number in zip(_BOUNDS, meter.buckets, strict=True):
                total += number
                buckets.append((bound, float(total)))
            durations.add_metric([name], buckets, meter.seconds)
        for (credential, outcome), number in self.verdicts.items():
            verdicts.add_metric([credential, outcome], number)
        yield from (requests, durations, verdicts)


class Metrics:
    """All metrics of one gateway."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._tallies = _Tallies()
        registry.register(self._tallies)
        self.in_flight = Gauge("gateway_requests_in_flight", "Requests being served.", registry=registry)
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
        self.decisions = Counter(
            "gateway_decisions",
            "Decisions made for other proxies, by the endpoint they asked and the status they were told.",
            ["endpoint", "status"],
            registry=registry,
        )
        build = Info("gateway_build", "The running version.", registry=registry)
        build.info({"version": _version()})

    def route(self, name: str) -> RouteMeter:
        """Return the meter of a route; the same for the same name."""
        return self._tallies.routes.setdefault(name, RouteMeter())

    def authenticated(self, credential: str, outcome: str) -> None:
        """Count a verdict on a caller."""
        verdicts = self._tallies.verdicts
        verdicts[credential, outcome] = verdicts.get((credential, outcome), 0) + 1

    def watch(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Publish a number that is read when it is scraped."""
        Gauge(name, meaning, registry=self.registry).set_function(read)

    def tally(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Publish a count that somebody else keeps, read when it is scraped."""
        self.registry.register(_Tally(name, meaning, read))


class _Tally(Collector):
    """A counter that is kept elsewhere."""

    def __init__(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        self._name = name
        self._meaning = meaning
        self._read = read

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(self._name, self._meaning, value=self._read())


def merged(pages: Mapping[str, str], *, label: str) -> tuple[bytes, str]:
    """Merge pages of metrics into one, each page's samples under its own value of `label`; with its content type."""
    families: dict[str, Metric] = {}
    for value, page in pages.items():
        for family in text_string_to_metric_families(page):
            known = families.setdefault(family.name, family)
            samples = [sample._replace(labels={**sample.labels, label: value}) for sample in family.samples]
            known.samples = samples if known is family else [*known.samples, *samples]

    class Merged(Collector):
        def collect(self) -> Iterable[Metric]:
            return families.values()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Merged())
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _version() -> str:
    try:
        return version("whatomate-gateway")
    except PackageNotFoundError:
        return "unknown"
