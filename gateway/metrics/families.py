"""Collectors that turn meters into Prometheus metric families at each scrape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from gateway.metrics.meters import DURATION_BUCKETS, KINDS, SIZE_BITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

    from authcore.figures import Histogram
    from gateway.metrics.meters import RouteMeter, Sizes, UpstreamMeter

UPSTREAM: Final = "upstream"
GATEWAY: Final = "gateway"
PARTIES: Final = (UPSTREAM, GATEWAY)
"""The parties that can have failed a request: values of the label ``blame``."""


def histogram(
    name: str, meaning: str, labels: Sequence[str], histograms: Mapping[tuple[str, ...], Histogram]
) -> HistogramMetricFamily:
    """Return histograms of one name as one family, by the values of `labels`."""
    family = HistogramMetricFamily(name, meaning, labels=labels)
    for values, one in histograms.items():
        family.add_metric(values, _buckets(one.bounds, one.counts), one.total)
    return family


def _buckets(bounds: Sequence[float], counts: Sequence[int], below: int = 0) -> list[tuple[str, float]]:
    total, buckets = below, []
    for bound, number in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        total += number
        buckets.append((bound, float(total)))
    return buckets


def _add_added(family: HistogramMetricFamily, labels: Sequence[str], histograms: Iterable[Histogram]) -> None:
    """Add the sum of histograms of durations as one sample; nothing if there are none."""
    spreads = list(histograms)
    if spreads:
        counts = [sum(each) for each in zip(*(one.counts for one in spreads), strict=True)]
        family.add_metric(labels, _buckets(DURATION_BUCKETS, counts), sum(one.total for one in spreads))


def _of_sizes(sizes: Sizes, number: int) -> list[tuple[str, float]]:
    """Return the buckets of `number` bodies; those that `sizes` did not count are empty bodies."""
    empty = number - sum(sizes.counts)
    buckets = [(str(float(1 << bits)), float(empty + sizes.up_to(bits))) for bits in SIZE_BITS]
    return [*buckets, ("+Inf", float(number))]


class RouteFamilies(Collector):
    """Collector of the requests of each route."""

    def __init__(self, routes: Mapping[str, RouteMeter]) -> None:
        self._routes = routes

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families; a route without a request has no samples."""
        requests = CounterMetricFamily(
            "gateway_requests", "Requests answered.", labels=["route", "method", "status"]
        )
        failures = CounterMetricFamily(
            "gateway_failures",
            "Requests that the upstream or the gateway failed; what a client did wrong is none.",
            labels=["route", "blame"],
        )
        durations = HistogramMetricFamily(
            "gateway_request_duration_seconds",
            "From the request's head to the end of its answer. A stream is a WebSocket, or flows for over a second.",
            labels=["route", "kind"],
        )
        heads = HistogramMetricFamily(
            "gateway_request_head_seconds",
            "From the request's head to the head of its answer, of whatever kind.",
            labels=["route"],
        )
        received = HistogramMetricFamily(
            "gateway_request_size_bytes", "Body of the request.", labels=["route"]
        )
        sent = HistogramMetricFamily("gateway_response_size_bytes", "Body of the answer.", labels=["route"])
        for name, meter in self._routes.items():
            by_label: dict[tuple[str, str], int] = {}
            for (method, status), number in meter.answered.items():
                label = (method.decode(), str(status))
                by_label[label] = by_label.get(label, 0) + number
            for label, number in by_label.items():
                requests.add_metric([name, *label], number)
            if number := sum(by_label.values()):
                for party in PARTIES:
                    failed = sum(count for (blame, _), count in meter.failures.items() if blame == party)
                    failures.add_metric([name, party], failed)
                for kind in KINDS:
                    _add_added(durations, [name, kind], meter.durations(kind).values())
                _add_added(heads, [name], (meter.heads,))
                received.add_metric([name], _of_sizes(meter.received, number), meter.received.total)
                sent.add_metric([name], _of_sizes(meter.sent, number), meter.sent.total)
        yield from (requests, failures, durations, heads, received, sent)


class UpstreamFamilies(Collector):
    """Collector of upstream latencies, failures and retries."""

    def __init__(self, upstreams: Mapping[str, UpstreamMeter]) -> None:
        self._upstreams = upstreams

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        meters = {(name,): meter for name, meter in self._upstreams.items()}
        yield histogram(
            "gateway_upstream_response_seconds",
            "From the request sent to the head of its answer.",
            ["upstream"],
            {name: meter.heads for name, meter in meters.items()},
        )
        waits = HistogramMetricFamily(
            "gateway_upstream_wait_seconds",
            "Until there was a connection to send on; none for an idle one.",
            labels=["upstream"],
        )
        failures = CounterMetricFamily(
            "gateway_upstream_failures", "Requests an upstream failed.", labels=["upstream", "reason"]
        )
        secured = CounterMetricFamily(
            "gateway_upstream_tls_failures",
            "Requests an upstream failed because TLS did, by what was wrong.",
            labels=["upstream", "reason"],
        )
        retries = CounterMetricFamily(
            "gateway_upstream_retries",
            "Requests sent again, because: stale, connect, reset, timeout or status.",
            labels=["upstream", "cause"],
        )
        for name, meter in meters.items():
            one = meter.waits
            waits.add_metric(name, _buckets(one.bounds, one.counts, meter.at_once), one.total)
            for reason, number in meter.failures.items():
                failures.add_metric([*name, reason], number)
            for reason, number in meter.tls_failures.items():
                secured.add_metric([*name, reason], number)
            for cause, number in meter.retries.items():
                retries.add_metric([*name, cause], number)
        yield from (waits, failures, secured, retries)
