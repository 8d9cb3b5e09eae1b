"""Builder of the watch over an upstream's endpoints: its policy by the settings and the route file, and its metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from config.groups.health import statuses
from gateway.traffic.health import HealthPolicy
from gateway.traffic.outliers import EjectionPolicy
from gateway.traffic.watch import Watch, WatchPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from config.groups.health import EjectionEntry, Health, HealthEntry
    from config.routes import UpstreamEntry
    from gateway.metrics import Metrics
    from gateway.proxy.upstreams import Upstream
    from gateway.traffic.cluster import Cluster
    from gateway.wire.endpoint import Endpoint
    from gateway.wire.endpoint_dialler import EndpointDialler


def watch_policy(default: Health, entry: UpstreamEntry | None, *, ours: bool) -> WatchPolicy:
    """Return the policy of an upstream; `default` gives what `entry` leaves out.

    `ours` is true of the service at GATEWAY_UPSTREAM_URL.
    """
    checks = default.checks(None if entry is None else entry.health, ours=ours)
    panic, slow = (None, None) if entry is None else (entry.panic_percent, entry.slow_start_seconds)
    return WatchPolicy(
        ejection=_ejection(default.ejections(None if entry is None else entry.ejection)),
        health=None if checks is None else _health(checks),
        panic_percent=default.panic_percent if panic is None else panic,
        slow_start_seconds=default.slow_start_seconds if slow is None else slow,
    )


def _health(entry: HealthEntry) -> HealthPolicy:
    return HealthPolicy(
        path=entry.path,
        host=(entry.host or "").encode("ascii"),
        statuses=statuses(entry.statuses),
        body=(entry.body or "").encode(),
        interval_seconds=entry.interval_seconds,
        jitter_percent=entry.jitter_percent,
        timeout_seconds=entry.timeout_seconds,
        rise=entry.rise,
        fall=entry.fall,
    )


def _ejection(entry: EjectionEntry) -> EjectionPolicy:
    return EjectionPolicy(
        connect_failures=entry.connect_failures,
        failures=entry.failures,
        statuses=statuses(entry.statuses),
        base_seconds=entry.base_seconds,
        max_seconds=entry.max_seconds,
        max_percent=entry.max_percent,
    )


def watch_over(name: str, policy: WatchPolicy, endpoints: EndpointDialler, cluster: Cluster) -> Watch:
    """Make the watch over the endpoints of the upstream `name`, which has them from now on, as the cluster has."""
    watch = cluster.watch = Watch(name, policy, time.monotonic)

    def changed(every: list[Endpoint]) -> None:
        cluster.take(every)
        watch.take(every)
        # With one endpoint there is nothing to choose, whatever it does.
        cluster.observe([watch.observe] if len(every) > 1 else [])

    endpoints.changed, endpoints.unreached, endpoints.reached = changed, watch.unreached, watch.reached
    changed(endpoints.every())
    return watch


def publish_watches(metrics: Metrics, upstreams: Callable[[], Iterable[Upstream]]) -> None:
    """Publish the metrics of all watches; the list of upstreams is read at each scrape."""

    def watches() -> Iterator[tuple[str, Watch]]:
        for upstream in upstreams():
            if upstream.cluster.watch is not None:
                yield upstream.name, upstream.cluster.watch

    def by_word(read: Callable[[Watch], Mapping[Any, int]]) -> Callable[[], dict[tuple[str, ...], float]]:
        return lambda: {
            (name, word): number for name, watch in watches() for word, number in read(watch).items()
        }

    metrics.read_gauges(
        "gateway_upstream_panic",
        "1: all endpoints are used, because too few of them are healthy and not ejected; 0: they are not.",
        ("upstream",),
        lambda: {(name,): float(watch.availability.panic) for name, watch in watches()},
    )
    for suffix, meaning, label, counts in _COUNTS:
        metrics.read_counters(f"gateway_upstream_{suffix}", meaning, ("upstream", label), by_word(counts))


_COUNTS: Final[tuple[tuple[str, str, str, Callable[[Watch], Mapping[Any, int]]], ...]] = (
    (
        "ejections",
        "Ejections of endpoints, by their cause: connect, reset, timeout or status.",
        "cause",
        lambda watch: watch.availability.ejections,
    ),
    (
        "ejections_withheld",
        "Ejections that were due and not made: as many endpoints as may be were ejected already.",
        "cause",
        lambda watch: watch.availability.withheld,
    ),
    (
        "health_checks",
        "Active checks, by outcome: ok, connect, tls, timeout, reset, malformed, status or body.",
        "outcome",
        lambda watch: watch.checks,
    ),
)


def is_panicking(upstream: Upstream) -> int:
    """Return 1 if all endpoints of an upstream are used because too few are usable, else 0."""
    watch = upstream.cluster.watch
    return 0 if watch is None else int(watch.availability.panic)
