"""Numbers that others keep, to be read when the metrics are scraped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.assembly.domain import Domain
    from gateway.assembly.upstreams import Upstreams
    from gateway.metrics import Metrics
    from gateway.proxy.pipeline import Pipeline
    from gateway.wire.listener import Listener
    from gateway.wire.pool import Pool
    from gateway.wire.tunnel import Tunnels


def publish_gauges(  # noqa: PLR0913, PLR0917 -- who keeps numbers
    metrics: Metrics,
    domain: Domain,
    pipeline: Pipeline,
    listener: Listener,
    upstreams: Upstreams,
    tunnels: Tunnels,
) -> None:
    """Let the numbers that others keep be read when the metrics are scraped."""

    def pools(read: Callable[[Pool], float]) -> Callable[[], dict[str, float]]:
        return lambda: {name: read(upstream.pool) for name, upstream in upstreams.now.items()}

    for part, figures in domain.identity.figures().items():
        for figure in figures:
            publish = metrics.tally if figure.counts else metrics.watch
            publish(f"gateway_{part}_{figure.name}", figure.meaning, figure.read)
    metrics.in_flight.set_function(lambda: pipeline.in_flight)
    metrics.watch("gateway_connections", "Client connections open.", lambda: len(listener.open))
    metrics.watch("gateway_connections_idled", "Client connections closed as idle.", lambda: listener.idled)
    metrics.watch("gateway_tunnels", "WebSocket tunnels open.", lambda: len(tunnels.open_now))
    metrics.watch_each(
        "gateway_upstream_connections",
        "Upstream connections open.",
        "upstream",
        pools(lambda pool: pool.open),
    )
    metrics.watch_each(
        "gateway_upstream_idle", "Upstream connections unused.", "upstream", pools(lambda pool: pool.idle)
    )
    metrics.watch_each(
        "gateway_upstream_waiting",
        "Requests waiting for a connection.",
        "upstream",
        pools(lambda pool: pool.waiting),
    )
