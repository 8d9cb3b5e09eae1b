"""Reporting: it registers every part's metrics for /metrics, and builds the report for /status."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from authcore.identity_headers import in_words
from gateway.assembly.gauges import publish_clients, publish_domain, publish_log, publish_upstreams
from gateway.status.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.assembly.domain import Domain
    from gateway.logs import AccessLog
    from gateway.metrics import Metrics
    from gateway.proxy.pipeline import Pipeline
    from gateway.proxy.upstreams import Upstream
    from gateway.status.report import Told
    from gateway.wire.listener import Listener
    from gateway.wire.tunnel import Tunnels


def publish(  # noqa: PLR0913 -- the parts with metrics
    metrics: Metrics,
    domain: Domain,
    *,
    pipeline: Pipeline,
    listener: Listener,
    tunnels: Tunnels,
    upstreams: Callable[[], Iterable[Upstream]],
    access_log: AccessLog,
    listening: Callable[[], bool],
) -> Report:
    """Register the metrics of all parts, and return the report of them."""
    publish_domain(metrics, domain)
    publish_clients(metrics, pipeline, listener, tunnels)
    publish_upstreams(metrics, upstreams)
    publish_log(metrics, access_log)

    def gauges() -> Told:
        return {
            "listening": listening(),
            "traffic": {
                "in_flight": pipeline.in_flight,
                "connections": len(listener.open),
                "connections_max": listener.limits.connections,
                "tunnels": len(tunnels.open_now),
                "loop_lag_seconds": max(listener.deadlines.lateness, default=0.0),
            },
            "upstreams": {
                upstream.name: {
                    "open": upstream.pool.open,
                    "idle": upstream.pool.idle,
                    "max": upstream.pool.limits.connections,
                    "waiting": upstream.pool.waiting,
                    "failing": upstream.meter.failing,
                    "identity": in_words(upstream.withheld),
                }
                for upstream in upstreams()
            },
        }

    def parts() -> Told:
        return {
            "revocation": dict(domain.identity.staleness),
            **{
                part: {figure.name: figure.read() for figure in figures}
                for part, figures in domain.identity.figures().items()
            },
        }

    return Report(metrics, clock=time.monotonic, gauges=gauges, parts=parts)
