"""Builders of the socket watch and of the admission by first message, with their metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.standing import Fall
from authcore.store.changes import Hearing
from gateway.proxy.admission import Admission
from gateway.proxy.sockets import Sockets

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.assembly.domain import Domain
    from gateway.metrics import Metrics
    from gateway.proxy.decide import Decider
    from gateway.proxy.forward import Forwarder
    from gateway.wire.deadlines import Deadlines


def build_sockets(settings: Settings, domain: Domain, metrics: Metrics) -> Sockets:
    """Build the socket watch; it gets the changes that the verdict cache gets."""
    identity = domain.identity
    sockets = Sockets(
        identity.fallen,
        told=lambda: identity.hearing is Hearing.PUSHED,
        max_seconds=settings.ws.max_seconds,
        now=domain.clock.now,
    )
    identity.tell(sockets)
    _publish(metrics, sockets)
    return sockets


def build_admission(  # noqa: PLR0913, PLR0917 -- the parts it is made of
    settings: Settings,
    decider: Decider,
    forwarder: Forwarder,
    sockets: Sockets,
    deadlines: Deadlines,
    metrics: Metrics,
) -> Admission:
    """Build the admission of sockets by their first message."""
    admission = Admission(
        decider,
        forwarder,
        sockets,
        deadlines,
        seconds=settings.ws.auth_seconds,
        most=settings.ws.unproven,
    )
    metrics.watch(
        "gateway_sockets_unproven",
        "WebSockets that nobody has authenticated yet, their handshakes included.",
        lambda: len(admission.waiting),
    )
    metrics.tally_by(
        "gateway_sockets_refused",
        "WebSockets closed by their first message, or for want of it, by the reason.",
        ("reason",),
        lambda: {(reason,): number for reason, number in admission.refused.items()},
    )
    return admission


def _publish(metrics: Metrics, sockets: Sockets) -> None:
    """Register its metrics."""
    metrics.watch("gateway_sockets", "WebSockets of callers open.", lambda: len(sockets))
    closed = sockets.closed
    metrics.tally(
        "gateway_sockets_revoked",
        "WebSockets closed because what let them in had ended.",
        lambda: sum(closed.values()) - closed[Fall.TIME],
    )
    metrics.tally("gateway_sockets_expired", "WebSockets closed as over time.", lambda: closed[Fall.TIME])
