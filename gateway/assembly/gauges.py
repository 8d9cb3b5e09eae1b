"""Numbers that others keep, to be read when the metrics are scraped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.assembly.domain import Domain
    from gateway.metrics import Metrics
    from gateway.proxy.pipeline import Pipeline
    from gateway.proxy.upstreams import Upstream
    from gateway.wire.listener import Listener
    from gateway.wire.tunnel import Tunnels


def publish_gauges(  # noqa: PLR0913, PLR0917 -- who keeps numbers
    metrics: Metrics,
    domain: Domain,
    pipeline: Pipeline,
    listener: Listener,
    upstream: Upstream,
    tunnels: Tunnels,
) -> None:
    """Let the numbers that others keep be read when the metrics are scraped."""
    pool = upstream.pool
    parts = dict(domain.identity.figures())
    if domain.rotation is not None:
        parts["key_ring"] = domain.rotation.figures()
    for part, figures in parts.items():
        for figure in figures:
            publish = metrics.tally if figure.counts else metrics.watch
            publish(f"gateway_{part}_{figure.name}", figure.meaning, figure.read)
    metrics.in_flight.set_function(lambda: pipeline.in_flight)
    metrics.watch("gateway_connections", "Client connections open.", lambda: len(listener.open))
    metrics.watch("gateway_connections_idled", "Client connections closed as idle.", lambda: listener.idled)
    metrics.watch("gateway_tunnels", "WebSocket tunnels open.", lambda: len(tunnels.open_now))
    metrics.watch("gateway_upstream_connections", "Upstream connections open.", lambda: pool.open)
    metrics.watch("gateway_upstream_idle", "Upstream connections unused.", lambda: pool.idle)
    metrics.watch("gateway_upstream_waiting", "Requests waiting for a connection.", lambda: pool.waiting)
