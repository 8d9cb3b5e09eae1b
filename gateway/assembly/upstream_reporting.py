"""Reporting of upstreams: the metrics of their pools and endpoints, and what the status report has of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.assembly.delivery_reporting import publish_deliveries
from gateway.assembly.watching import publish_watches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gateway.metrics import Metrics
    from gateway.proxy.upstreams import Upstream
    from gateway.wire.endpoint import Endpoint
    from gateway.wire.pool import UpstreamPool

NAMED: Final = 32
"""Endpoints of an upstream that metrics have by name: names of a large service come and go, and labels stay."""
OTHER: Final = "other"


def publish_upstreams(metrics: Metrics, upstreams: Callable[[], Iterable[Upstream]]) -> None:
    """Publish the metrics of upstream connections; the list of upstreams is read at each scrape."""
    publish_places(metrics, upstreams)
    publish_deliveries(metrics, upstreams)
    publish_watches(metrics, upstreams)

    def by_upstream(read: Callable[[UpstreamPool], float]) -> Callable[[], dict[tuple[str, ...], float]]:
        return lambda: {(upstream.name,): read(upstream.pool) for upstream in upstreams()}

    gauges: tuple[tuple[str, str, Callable[[UpstreamPool], float]], ...] = (
        ("connections", "Connections open or opening, but for those of WebSockets.", lambda pool: pool.open),
        ("connections_idle", "Connections open and unused.", lambda pool: pool.idle),
        ("connections_max", "Connections at most.", lambda pool: pool.limits.connections),
        ("waiting", "Requests waiting for a connection.", lambda pool: pool.waiting),
        ("addresses", "Addresses known of its names.", _addresses),
        ("addresses_behind", "Addresses that requests go around: ejected, or failing their checks.", _behind),
    )
    for name, meaning, read in gauges:
        metrics.read_gauges(f"gateway_upstream_{name}", meaning, ("upstream",), by_upstream(read))
    metrics.read_gauges(
        "gateway_upstream_failing",
        "Failures since the upstream last answered.",
        ("upstream",),
        lambda: {(upstream.name,): upstream.meter.failing for upstream in upstreams()},
    )
    counts: tuple[tuple[str, str, Callable[[UpstreamPool], float]], ...] = (
        ("opened", "Connections opened.", lambda pool: pool.opened),
        ("closed", "Connections opened and gone.", lambda pool: pool.closed),
        ("failed", "Connections that could not be opened.", lambda pool: pool.failed),
        (
            "retired",
            "Connections ended because of their age, or as a name moved.",
            lambda pool: pool.lifetimes.retired,
        ),
    )
    for name, meaning, read in counts:
        metrics.read_counters(
            f"gateway_upstream_connections_{name}", meaning, ("upstream",), by_upstream(read)
        )
    publish_endpoints(metrics, upstreams)
    metrics.read_counters(
        "gateway_upstream_tls_handshakes",
        "TLS handshakes with upstreams, by whether an earlier one was resumed.",
        ("upstream", "resumed"),
        lambda: {
            (upstream.name, word): number
            for upstream in upstreams()
            if (tls := upstream.pool.tls) is not None
            for word, number in (("yes", tls.resumed), ("no", tls.handshakes - tls.resumed))
        },
    )


def publish_endpoints(metrics: Metrics, upstreams: Callable[[], Iterable[Upstream]]) -> None:
    """Publish the metrics of endpoints."""
    metrics.read_gauges(
        "gateway_upstream_endpoint_active",
        "Requests at work at an endpoint: they have a connection there, or wait for one.",
        ("upstream", "endpoint"),
        lambda: _by_endpoint(upstreams(), lambda endpoint: endpoint.active),
    )
    metrics.read_gauges(
        "gateway_upstream_endpoint_unhealthy",
        "1: it fails its active checks; 0: it passes them, or has none.",
        ("upstream", "endpoint"),
        lambda: _by_endpoint(upstreams(), lambda endpoint: int(endpoint.unhealthy)),
    )
    metrics.read_gauges(
        "gateway_upstream_endpoint_ejected",
        "1: it is ejected because it failed requests; 0: it is not.",
        ("upstream", "endpoint"),
        lambda: _by_endpoint(upstreams(), lambda endpoint: int(endpoint.ejected)),
    )
    metrics.read_counters(
        "gateway_upstream_endpoint_requests",
        "Requests that an endpoint was sent.",
        ("upstream", "endpoint"),
        partial(_RequestCounts().read, upstreams),
    )


class _RequestCounts:
    """Requests sent, by endpoint; those past the first ``NAMED`` of an upstream share a counter that never falls.

    Endpoints leave, and a counter that falls counts as one that began anew: its rate would show all it has left.
    """

    def __init__(self) -> None:
        self._seen: dict[Endpoint, int] = {}
        self._others: dict[str, int] = {}

    def read(self, upstreams: Callable[[], Iterable[Upstream]]) -> dict[tuple[str, ...], float]:
        """Return the counts, by upstream and endpoint."""
        numbers: dict[tuple[str, ...], float] = {}
        seen: dict[Endpoint, int] = {}
        others: dict[str, int] = {}
        for upstream in upstreams():
            for label, endpoint in _labelled(upstream):
                seen[endpoint] = requests = endpoint.requests
                if label[1] != OTHER:
                    numbers[label] = numbers.get(label, 0) + requests
                    continue
                before = others.get(upstream.name, self._others.get(upstream.name, 0))
                others[upstream.name] = before + requests - self._seen.get(endpoint, 0)
            if upstream.name in self._others:
                others.setdefault(upstream.name, self._others[upstream.name])
        self._seen, self._others = seen, others
        return numbers | {(name, OTHER): number for name, number in others.items()}


def _by_endpoint(
    upstreams: Iterable[Upstream], read: Callable[[Endpoint], int]
) -> dict[tuple[str, ...], float]:
    """Return a number of each endpoint; those past the first ``NAMED`` of an upstream are added up."""
    numbers: dict[tuple[str, ...], float] = {}
    for upstream in upstreams:
        for label, endpoint in _labelled(upstream):
            numbers[label] = numbers.get(label, 0) + read(endpoint)
    return numbers


def _labelled(upstream: Upstream) -> Iterator[tuple[tuple[str, str], Endpoint]]:
    """Yield each endpoint of an upstream with its labels."""
    for place, endpoint in enumerate(upstream.cluster.endpoints):
        yield (upstream.name, endpoint.name if place < NAMED else OTHER), endpoint


def _addresses(pool: UpstreamPool) -> float:
    return 0 if pool.endpoints is None else len(pool.endpoints.every())


def _behind(pool: UpstreamPool) -> float:
    endpoints = pool.endpoints
    return 0 if endpoints is None else sum(not endpoint.available for endpoint in endpoints.every())


def endpoints_report(upstream: Upstream) -> dict[str, dict[str, int]]:
    """Return the endpoints of an upstream with their counts and what speaks against them, as 1 or 0.

    ``behind``: requests go around it. ``ejected``: it failed requests. ``unhealthy``: it fails its checks.
    """
    endpoints = upstream.pool.endpoints
    if endpoints is None:
        return {}
    return {
        endpoint.name: {
            "open": endpoint.open,
            "behind": int(not endpoint.available),
            "ejected": int(endpoint.ejected),
            "unhealthy": int(endpoint.unhealthy),
            "active": endpoint.active,
            "requests": endpoint.requests,
            "weight": endpoint.weight,
        }
        for endpoint in endpoints.every()
    }


def publish_places(metrics: Metrics, upstreams: Callable[[], Iterable[Upstream]]) -> None:
    """Publish the metrics of the places before the hosted application."""
    for upstream in upstreams():
        for figure in () if upstream.places is None else upstream.places.figures():
            publish = metrics.read_counter if figure.counts else metrics.read_gauge
            publish(f"gateway_hosted_{figure.name}", figure.meaning, figure.read)
