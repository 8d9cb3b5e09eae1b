"""Reporting: it registers every part's metrics, and builds the report for /status and the readiness check."""

from __future__ import annotations

import asyncio
import platform
import time
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

from authcore.identity_headers import in_words
from authcore.store.migrate import migrations
from gateway.assembly.delivery_reporting import reported
from gateway.assembly.limits import publish_limits
from gateway.assembly.upstream_reporting import endpoints_report, publish_upstreams
from gateway.assembly.watching import is_panicking
from gateway.gc_tuning import PAUSES
from gateway.status.causes import CERTIFICATES, EXPECTED, WATCHES
from gateway.status.readiness import Readiness
from gateway.status.report import WATCHED, Report
from gateway.version import is_compiled, running_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from authcore.store.postgres import PostgresStore
    from config.settings import Settings
    from gateway.assembly.domain import Domain
    from gateway.assembly.routing import Routing
    from gateway.assembly.upstreams import Upstreams
    from gateway.logs import AccessLog
    from gateway.metrics import Metrics
    from gateway.proxy.pipeline import Pipeline
    from gateway.proxy.upstreams import Upstream
    from gateway.status.report import Snapshot
    from gateway.wire.listener import Listener
    from gateway.wire.states import Stateful
    from gateway.wire.tunnel import Tunnels


LISTED: Final = 20
"""Connections of a kind that a snapshot lists; the counts are of all."""


def snapshot(  # noqa: PLR0913, PLR0917 -- the parts with a state
    listener: Listener,
    tunnels: Tunnels,
    upstreams: Upstreams,
    hosted: Upstream,
    routing: Routing,
    domain: Domain,
) -> dict[str, object]:
    """Return the present state of connections, pools, routes and the verdict cache, a line each.

    Connections that are not idle are listed one by one, up to ``LISTED`` of a kind.
    """
    pools = {upstream.name: upstream.pool for upstream in (*upstreams.now.values(), hosted)}

    def listed(connections: Iterable[Stateful]) -> list[str]:
        return [repr(one) for one in islice((one for one in connections if one.state != "idle"), LISTED)]

    return {
        "listener": repr(listener),
        "clients": listed(listener.open),
        "tunnels": repr(tunnels),
        "pools": {name: repr(pool) for name, pool in pools.items()},
        "upstream_connections": {name: listed(pool.lifetimes.connections) for name, pool in pools.items()},
        "database": repr(domain.store),
        "identity": repr(domain.identity),
        "routes": repr(routing.table),
    }


def publish(  # noqa: PLR0913 -- the parts with metrics
    metrics: Metrics,
    domain: Domain,
    *,
    pipeline: Pipeline,
    listener: Listener,
    tunnels: Tunnels,
    upstreams: Callable[[], Iterable[Upstream]],
    access_log: AccessLog,
    routing: Routing,
    listening: Callable[[], bool],
) -> Report:
    """Register the metrics of all parts, and return the report of them."""
    publish_domain(metrics, domain)
    publish_clients(metrics, pipeline, listener, tunnels)
    publish_interpreter(metrics)
    publish_upstreams(metrics, upstreams)
    publish_nearness(metrics, domain, listener, upstreams)
    publish_log(metrics, access_log)
    limits = routing.limits
    publish_limits(metrics, limits)

    def gauges() -> Snapshot:
        return {
            "listening": listening(),
            "traffic": {
                "in_flight": pipeline.in_flight,
                "connections": len(listener.open),
                "connections_max": listener.limits.connections,
                "tunnels": len(tunnels.open_now),
                "loop_lag_seconds": max(listener.deadlines.lateness, default=0.0),
            },
            "upstreams": {upstream.name: _upstream(upstream) for upstream in upstreams()},
            "limits": limits.report(),
            WATCHED: metrics.present((*WATCHES, CERTIFICATES, EXPECTED)),
            "moment": time.time(),
        }

    def parts() -> Snapshot:
        return {
            "revocation": dict(domain.identity.staleness),
            **{
                part: {figure.name: figure.read() for figure in figures}
                for part, figures in domain.identity.figures().items()
            },
        }

    return Report(
        metrics, clock=time.monotonic, gauges=gauges, parts=parts, versions=_versions(time.time(), routing)
    )


def _versions(started: float, routing: Routing) -> Callable[[], Mapping[str, str]]:
    """Return the versions of programs and schema, and when the configuration was read."""

    def moment(seconds: float) -> str:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

    fixed = {
        "gateway": running_version(),
        "python": platform.python_version(),
        "warm path": "compiled" if is_compiled() else "interpreted",
        "newest migration it knows": migrations()[-1].name,
        "settings read": moment(started),
    }
    return lambda: {
        **fixed,
        "routes read": moment(routing.loaded),
        "last reading of the routes": "good" if routing.whole else "refused; those from before stay in force",
    }


def publish_nearness(
    metrics: Metrics, domain: Domain, listener: Listener, upstreams: Callable[[], Iterable[Upstream]]
) -> None:
    """Publish how much of each limit is used: a sum over several processes would hide one that has no room left."""
    figures = {
        part: {figure.name: figure.read for figure in of_part}
        for part, of_part in domain.identity.figures().items()
    }
    bcrypt, store = figures["bcrypt"], figures["store"]

    def read() -> dict[tuple[str, ...], float]:
        in_use = store["connections"]() - store["connections_idle"]()
        return {
            ("client_connections", ""): _share(len(listener.open), listener.limits.connections),
            ("password_work", ""): _share(bcrypt["pending"](), bcrypt["capacity"]()),
            ("database_connections", ""): _share(in_use, store["connections_max"]()),
            **{
                ("upstream_connections", one.name): _share(one.pool.open, one.pool.limits.connections)
                for one in upstreams()
            },
        }

    metrics.read_gauges(
        "gateway_limit_used_ratio",
        "Share of a limit that is used; of several workers, in the one that uses most of its own.",
        ("limit", "upstream"),
        read,
    )


def _share(used: float, most: float) -> float:
    return used / most if most else 0.0


def publish_domain(metrics: Metrics, domain: Domain) -> None:
    """Publish the metrics of the auth domain's parts."""
    parts = {
        **domain.identity.figures(),
        "clock": domain.clock.figures(),
        "sessions": domain.sessions.figures(),
        "audit": domain.trail.figures(),
    }
    if domain.redis is not None:
        parts["whatomate_redis"] = domain.redis.figures()
    if domain.quotas is not None:
        parts["quotas"] = domain.quotas.figures()
    if domain.outbound is not None:
        outcomes = domain.outbound.outcomes
        metrics.read_counters(
            "gateway_provider_requests",
            "Requests to identity providers, by how they ended: ok (answered), host or address (refused here), size, "
            "timeout or failed.",
            ("outcome",),
            lambda: {(outcome,): number for outcome, number in outcomes.items()},
        )
    if domain.rotation is not None:
        parts["key_ring"] = domain.rotation.figures()
    for part, figures in parts.items():
        for figure in figures:
            publish = metrics.read_counter if figure.counts else metrics.read_gauge
            publish(f"gateway_{part}_{figure.name}", figure.meaning, figure.read)
    for part, histograms in domain.identity.histograms().items():
        for one in histograms:
            metrics.read_histogram(f"gateway_{part}_{one.name}", one.meaning, one.histogram)


def publish_clients(metrics: Metrics, pipeline: Pipeline, listener: Listener, tunnels: Tunnels) -> None:
    """Publish the metrics of the clients' side: requests, connections, tunnels, and the lag of the event loop."""
    metrics.in_flight.set_function(lambda: pipeline.in_flight)
    most, lateness = listener.limits.connections, listener.deadlines.lateness
    for name, meaning, gauge in (
        ("gateway_connections", "Client connections open.", lambda: len(listener.open)),
        ("gateway_connections_max", "Client connections at most.", lambda: most),
        ("gateway_tunnels", "WebSocket tunnels open.", lambda: len(tunnels.open_now)),
        (
            "gateway_loop_lag_seconds",
            "How late the event loop came to its timer, at worst in the last ten seconds.",
            lambda: max(lateness, default=0.0),
        ),
    ):
        metrics.read_gauge(name, meaning, gauge)
    for name, meaning, count in (
        ("gateway_connections_opened", "Client connections opened.", lambda: listener.counts.opened),
        (
            "gateway_connections_closed",
            "Client connections closed.",
            lambda: listener.counts.opened - len(listener.open),
        ),
        ("gateway_connections_idled", "Client connections closed as idle.", lambda: listener.counts.idled),
        ("gateway_tunnels_opened", "WebSocket tunnels opened.", lambda: tunnels.opened),
    ):
        metrics.read_counter(name, meaning, count)


def publish_interpreter(metrics: Metrics) -> None:
    """Publish what the running event loop and the garbage collector do."""
    loop = asyncio.get_running_loop()
    metrics.read_gauge(
        "gateway_tasks", "Tasks of the event loop that have not ended.", lambda: len(asyncio.all_tasks(loop))
    )
    metrics.read_histogram(
        "gateway_gc_pause_seconds", "Garbage collections, by how long each stopped the process.", PAUSES
    )


def _upstream(upstream: Upstream) -> Snapshot:
    """Return the part of /status about an upstream."""
    pool = upstream.pool
    return {
        "open": pool.open,
        "idle": pool.idle,
        "max": pool.limits.connections,
        "waiting": pool.waiting,
        "failing": upstream.meter.failing,
        "identity": in_words(upstream.withheld),
        "panic": is_panicking(upstream),
        "addresses": endpoints_report(upstream),
        **reported(upstream),
    }


def publish_log(metrics: Metrics, access_log: AccessLog) -> None:
    """Publish the metrics of the access log."""
    metrics.read_gauge("gateway_log_pending", "Log records to be written.", lambda: access_log.pending)
    metrics.read_counter("gateway_log_written", "Log records written.", lambda: access_log.written)
    metrics.read_counter("gateway_log_dropped", "Log records lost.", lambda: access_log.dropped)
    metrics.read_counter("gateway_log_skipped", "Successes left out by sampling.", lambda: access_log.skipped)


def build_readiness(
    settings: Settings, store: PostgresStore, listening: Callable[[], bool], metrics: Metrics
) -> Readiness:
    """Build the check behind ``/readyz``, and publish its last verdict and whether changes should be notified."""
    metrics.read_gauge(
        "gateway_changes_expected",
        "1: changes should be notified as they are committed; 0: GATEWAY_DATABASE_TRIGGERS is off.",
        lambda: settings.database.triggers,
    )
    readiness = Readiness(
        store,
        listening,
        strict=settings.ready == "strict",
        stale_seconds=settings.identity.stale_seconds,
    )
    metrics.read_gauge(
        "gateway_ready",
        "1: requests should be sent here, as /readyz last found, looked at every five seconds; 0: they should not.",
        lambda: float(readiness.ready and listening()),
    )
    return readiness
