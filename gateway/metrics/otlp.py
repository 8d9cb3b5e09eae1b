"""OpenTelemetry metrics sender: it sends the metrics of one process by OTLP over HTTP, again and again.

With ``gateway/tracing/spans.py`` the only module that imports OpenTelemetry, and only if an endpoint is set. Laws:

- Nothing is counted twice: what is sent is read from the meters behind ``/metrics``, on the event loop, and turned into
  OTLP by a thread.
- Nobody waits for the collector: one reading may wait for the one under way, and further ones are dropped and counted.
- Every process is a resource of its own (``service.instance.id``), with cumulative sums since its start.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from config.collectors import signal_url
from gateway.metrics.meters import DURATION_BUCKETS, KINDS, METHODS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric as Family
    from prometheus_client.samples import Sample

    from gateway.metrics.registry import Metrics

    Attributes = Mapping[str, str | int]

SEND_SECONDS: Final = 5.0
_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE
_SERVER_ERROR: Final = 500
_CREATED: Final = "_created"
_UNITS: Final = (("_seconds", "s"), ("_bytes", "By"))
_NAMES: Final = {
    "process_cpu_seconds": "process.cpu.time",
    "process_resident_memory_bytes": "process.memory.usage",
    "process_virtual_memory_bytes": "process.memory.virtual",
}
"""Names by OpenTelemetry's conventions of metrics that mean the same. All others have those of ``/metrics``."""

log = structlog.get_logger()


class Requests(NamedTuple):
    """Durations of the requests of one route, kind, method and status."""

    route: str
    kind: str
    method: bytes
    status: int
    counts: list[int]
    seconds: float


class Reading(NamedTuple):
    """Values of all metrics at one moment."""

    at: int
    families: list[Family]
    requests: list[Requests]


class MetricsSender:
    """Reader of the metrics, and the thread that sends them.

    Attributes:
        sent: Number of readings that the collector accepted.
        failed: Number of readings that it did not accept.
        dropped: Number of readings that found another one waiting.
    """

    def __init__(
        self, metrics: Metrics, endpoint: str, service: str, version: str, scheme: str = "http"
    ) -> None:
        """`endpoint` is a collector's base URL, or its URL for metrics; `scheme` that of the public listener."""
        self._metrics = metrics
        url = signal_url(endpoint, "metrics")
        self._exporter = OTLPMetricExporter(endpoint=url, timeout=SEND_SECONDS)
        self._maker = MetricsMaker(service, version, time.time_ns(), scheme)
        self._queue: queue.SimpleQueue[Reading | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send_all, name="metrics", daemon=True)
        self.sent = self.failed = self.dropped = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def read(self) -> None:
        """Read the meters, and leave the rest to the thread. Call it on the event loop, which counts."""
        if self._queue.qsize():
            self.dropped += 1
            return
        families = [one for one in self._metrics.registry.collect() if not one.name.endswith(_CREATED)]
        requests = [
            Requests(route, kind, method, status, list(spread.counts), spread.total)
            for route, meter in self._metrics.routes.items()
            for kind in KINDS
            for (method, status), spread in meter.durations(kind).items()
        ]
        self._queue.put(Reading(time.time_ns(), families, requests))

    @property
    def is_sending(self) -> bool:
        """Return whether the thread has not ended."""
        return self._thread.is_alive()

    def finish(self) -> None:
        """Have the thread send the last figures, and end."""
        try:
            self.read()
        except Exception:  # a part that is closed already: the reading before stands
            log.exception("metrics_not_read")
        self._queue.put(None)

    def abandon(self) -> None:
        """Have the thread try nothing again: it ends with what it is sending."""
        self._exporter.shutdown()

    def outcomes(self) -> dict[tuple[str, ...], float]:
        """Return the counts, by outcome."""
        return {("sent",): self.sent, ("failed",): self.failed, ("dropped",): self.dropped}

    def _send_all(self) -> None:
        while (reading := self._queue.get()) is not None:
            try:
                result = self._exporter.export(self._maker.make(reading))
                taken = result is MetricExportResult.SUCCESS
            except Exception:  # a library's exception of any kind: the next reading may succeed
                log.exception("metrics_failed")
                taken = False
            if taken:
                self.sent += 1
            else:
                self.failed += 1


class MetricsMaker:
    """Maker of OpenTelemetry's metrics from a reading."""

    def __init__(self, service: str, version: str, started: int, scheme: str = "http") -> None:
        """`started` is when counting began, in POSIX nanoseconds; `scheme` what the public listener speaks."""
        self._scheme = scheme
        self._resource = Resource.create(
            {
                "service.name": service,
                "service.version": version,
                "service.instance.id": str(uuid.uuid4()),
            }
        )
        self._scope = InstrumentationScope("whatomate-gateway", version)
        self._started = started

    def make(self, reading: Reading) -> MetricsData:
        """Return a reading as OpenTelemetry's metrics."""
        made = [self._server(reading), *(self._of(family, reading.at) for family in reading.families)]
        metrics = [one for one in made if one.data.data_points]
        scope = ScopeMetrics(self._scope, metrics, "")
        return MetricsData([ResourceMetrics(self._resource, [scope], "")])

    def _server(self, reading: Reading) -> Metric:
        """Return ``http.server.request.duration``, by the conventions for HTTP; ``gateway.kind`` is our own."""
        points = [
            self._spread(_of_server(one, self._scheme), one.counts, DURATION_BUCKETS, one.seconds, reading.at)
            for one in reading.requests
        ]
        meaning = "Duration of HTTP server requests."
        return Metric("http.server.request.duration", meaning, "s", Histogram(points, _CUMULATIVE))

    def _of(self, family: Family, at: int) -> Metric:
        figures: Sum | Gauge | Histogram
        if family.type == "histogram":
            figures = Histogram([*self._spreads(family.samples, at)], _CUMULATIVE)
        else:
            points = [
                NumberDataPoint(one.labels, self._started, at, float(one.value))
                for one in family.samples
                if not one.name.endswith(_CREATED)
            ]
            grows = family.type == "counter"
            adds_up = grows or family.name in _NAMES
            figures = Sum(points, _CUMULATIVE, is_monotonic=grows) if adds_up else Gauge(points)
        unit = next((unit for ending, unit in _UNITS if family.name.endswith(ending)), "1")
        name = f"{family.name}_info" if family.type == "info" else _NAMES.get(family.name, family.name)
        return Metric(name, family.documentation, unit, figures)

    def _spreads(self, samples: Iterable[Sample], at: int) -> Iterator[HistogramDataPoint]:
        """Yield a data point for each combination of labels; Prometheus' buckets hold those below, too."""
        totals: dict[tuple[tuple[str, str], ...], float] = {}
        buckets: dict[tuple[tuple[str, str], ...], list[tuple[str, float]]] = {}
        for sample in samples:
            labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
            if sample.name.endswith("_bucket"):
                buckets.setdefault(labels, []).append((sample.labels["le"], sample.value))
            elif sample.name.endswith("_sum"):
                totals[labels] = sample.value
        for labels, pairs in buckets.items():
            below, counts = 0.0, []
            for _, number in pairs:
                counts.append(int(number - below))
                below = number
            bounds = [float(bound) for bound, _ in pairs[:-1]]
            yield self._spread(dict(labels), counts, bounds, totals.get(labels, 0.0), at)

    def _spread(
        self, attributes: Attributes, counts: list[int], bounds: Iterable[float], total: float, at: int
    ) -> HistogramDataPoint:
        return HistogramDataPoint(
            attributes,
            self._started,
            at,
            sum(counts),
            total,
            counts,
            [*bounds],
            None,  # type: ignore[arg-type]  # the extremes, which OTLP may lack and nobody counts
            None,  # type: ignore[arg-type]
        )


def _of_server(one: Requests, scheme: str) -> Attributes:
    attributes: dict[str, str | int] = {
        "http.request.method": one.method.decode() if one.method in METHODS else "_OTHER",
        "http.response.status_code": one.status,
        "http.route": one.route,
        "url.scheme": scheme,
        "gateway.kind": one.kind,
    }
    if one.status >= _SERVER_ERROR:
        attributes["error.type"] = str(one.status)
    return attributes
