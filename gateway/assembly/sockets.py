"""Builders of the watch over sockets and streams, of the forwarder, and of the admission by first message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.revocation import RevocationReason
from authcore.store.changes import Hearing
from gateway.assembly.browsers import cookie_places
from gateway.proxy.admission import Admission
from gateway.proxy.forward import Forwarder
from gateway.proxy.sockets import Sockets
from gateway.proxy.streams import Streams

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.assembly.domain import Domain
    from gateway.metrics import Metrics
    from gateway.proxy.authorizer import Authorizer
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.tunnel import Tunnels


def build_sockets(settings: Settings, domain: Domain, metrics: Metrics) -> Sockets:
    """Build the watch over sockets and streams; it gets the changes that the verdict cache gets."""
    identity = domain.identity
    sockets = Sockets(
        identity.revoked_among,
        told=lambda: identity.hearing is Hearing.PUSHED,
        max_seconds=settings.ws.max_seconds,
        stream_max_seconds=settings.stream.max_seconds,
        now=domain.clock.now,
    )
    identity.tell(sockets)
    _publish(metrics, sockets)
    return sockets


def build_forwarder(
    settings: Settings, tunnels: Tunnels, sockets: Sockets, deadlines: Deadlines
) -> tuple[Forwarder, Streams]:
    """Build the forwarder to upstreams, and the registry of the streams that it relays."""
    streams = Streams(sockets, deadlines)
    places = cookie_places(settings) if settings.cookies else None
    return Forwarder(tunnels, sockets, streams, places), streams


def build_admission(  # noqa: PLR0913, PLR0917 -- the parts it is made of
    settings: Settings,
    decider: Authorizer,
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
    metrics.read_gauge(
        "gateway_sockets_unproven",
        "WebSockets that nobody has authenticated yet, their handshakes included.",
        lambda: len(admission.waiting),
    )
    metrics.read_counters(
        "gateway_sockets_refused",
        "WebSockets closed by their first message, or for want of it, by the reason.",
        ("reason",),
        lambda: {(reason,): number for reason, number in admission.refused.items()},
    )
    return admission


def _publish(metrics: Metrics, watch: Sockets) -> None:
    """Register its metrics."""
    sockets, streams = watch.sockets, watch.streams
    metrics.read_gauge("gateway_sockets", "WebSockets of callers open.", lambda: sockets.open)
    metrics.read_counter(
        "gateway_sockets_revoked",
        "WebSockets closed because what let them in had ended.",
        lambda: sum(sockets.closed.values()) - sockets.closed[RevocationReason.TIME],
    )
    metrics.read_counter(
        "gateway_sockets_expired",
        "WebSockets closed as over time.",
        lambda: sockets.closed[RevocationReason.TIME],
    )
    metrics.read_gauge(
        "gateway_streams",
        "Requests and answers of callers whose bodies have flowed for a while.",
        lambda: streams.open,
    )
    metrics.read_counter(
        "gateway_streams_revoked",
        "Requests and answers broken off because what let them in had ended.",
        lambda: sum(streams.closed.values()) - streams.closed[RevocationReason.TIME],
    )
    metrics.read_counter(
        "gateway_streams_expired",
        "Requests and answers broken off as over time.",
        lambda: streams.closed[RevocationReason.TIME],
    )
