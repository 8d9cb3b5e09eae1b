"""The watch over the callers' sockets, and its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.standing import Fall
from authcore.store.changes import Hearing
from gateway.proxy.sockets import Sockets

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.assembly.domain import Domain
    from gateway.metrics import Metrics


def build_sockets(settings: Settings, domain: Domain, metrics: Metrics) -> Sockets:
    """Build the watch; it hears what the memory hears."""
    identity = domain.identity
    sockets = Sockets(
        identity.fallen,
        told=lambda: identity.hearing is Hearing.PUSHED,
        max_seconds=settings.ws.max_seconds,
    )
    identity.tell(sockets)
    _publish(metrics, sockets)
    return sockets


def _publish(metrics: Metrics, sockets: Sockets) -> None:
    """Let its numbers be read when the metrics are scraped."""
    metrics.watch("gateway_sockets", "WebSockets of callers open.", lambda: len(sockets))
    closed = sockets.closed
    metrics.tally(
        "gateway_sockets_revoked",
        "WebSockets closed because what let them in had ended.",
        lambda: sum(closed.values()) - closed[Fall.TIME],
    )
    metrics.tally("gateway_sockets_expired", "WebSockets closed as over time.", lambda: closed[Fall.TIME])
