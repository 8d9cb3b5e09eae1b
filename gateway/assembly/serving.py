"""Builders of the proxy: authorizer, pipeline, listener, forwarder, identity signing, and the watch over sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from authcore.revocation import RevocationReason
from authcore.store.changes import Hearing
from gateway.assembly.browsers import cookie_places, csrf_tokens
from gateway.assembly.signing import build_signing
from gateway.assembly.trail import refusal_recorder
from gateway.logs import quoted
from gateway.logs.limited import LimitedEvents
from gateway.proxy.admission import Admission
from gateway.proxy.authorizer import Authorizer
from gateway.proxy.browsers import BrowserPolicy
from gateway.proxy.cors import build_policy
from gateway.proxy.forward import Forwarder
from gateway.proxy.forward_auth import ForwardAuth
from gateway.proxy.forwarded import Origins
from gateway.proxy.head_size_report import Heads
from gateway.proxy.headers import HeaderPolicy
from gateway.proxy.pipeline import Pipeline
from gateway.proxy.quotas import QuotaGate
from gateway.proxy.record import Recorder
from gateway.proxy.second_verdict import SecondVerdict
from gateway.proxy.shedding import Shedder
from gateway.proxy.sockets import Sockets
from gateway.proxy.streams import Streams
from gateway.proxy.upstream_start import UpstreamStart
from gateway.proxy.vary import VaryPolicy
from gateway.tracing.context import TracePolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import Settings
    from gateway.assembly.domain import Domain
    from gateway.logs import AccessLog
    from gateway.metrics import Metrics
    from gateway.proxy.routes import RouteTable
    from gateway.tracing.spans import SpanSender
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.tunnel import Tunnels

log = structlog.get_logger()

_ELEMENT_CHARACTERS: Final = 64
"""Characters of an unreadable element in the log."""


def build_pipeline(  # noqa: PLR0913 -- the parts it is made of
    settings: Settings,
    domain: Domain,
    *,
    routes: RouteTable,
    forwarder: Forwarder,
    sockets: Sockets,
    deadlines: Deadlines,
    metrics: Metrics,
    access_log: AccessLog,
    spans: SpanSender | None,
) -> Pipeline:
    """Build the request pipeline."""
    if settings.shadow:
        log.warning(
            "shadow", meaning="nothing is refused but what the gateway hosts", because="GATEWAY_SHADOW"
        )
    authorizer, upstream_start = build_authorizer(settings, domain, routes, metrics)
    header_policy = upstream_start.header_policy
    path = settings.decision.path
    quotas = (
        None if domain.quotas is None else QuotaGate(domain.quotas.ledger, domain.clock, domain.quotas.learn)
    )
    return Pipeline(
        authorizer=authorizer,
        second_verdict=SecondVerdict(authorizer, sockets),
        upstream_start=upstream_start,
        forward_auth=ForwardAuth(path, authorizer, upstream_start, quotas) if path else None,
        forwarder=forwarder,
        admission=build_admission(settings, authorizer, forwarder, sockets, deadlines, metrics, quotas),
        recorder=Recorder(
            metrics, access_log, header_policy.trace, spans, refusal_recorder(settings, domain.trail)
        ),
        metrics=metrics,
        heads=Heads(header_policy),
        whole_by=lambda: deadlines.after(settings.timeout.hosted_request_seconds),
        cors=build_policy(settings.cors),
        quotas=quotas,
        shedder=_build_shedder(settings, deadlines, metrics),
    )


def _build_shedder(settings: Settings, deadlines: Deadlines, metrics: Metrics) -> Shedder | None:
    """Build the load shedder; None if it is off."""
    shed = settings.shed
    shedder = None
    if shed.lag_seconds or shed.memory:
        shedder = Shedder(deadlines, lag_seconds=shed.lag_seconds, memory=shed.memory)
    metrics.read_gauge(
        "gateway_shed_level",
        "What is shed for want of time or memory: 0 nothing, 1 requests without a proven caller, 2 dear ones too.",
        lambda: 0.0 if shedder is None else float(shedder.level),
    )
    return shedder


def build_authorizer(
    settings: Settings, domain: Domain, routes: RouteTable, metrics: Metrics, *, spends: bool = True
) -> tuple[Authorizer, UpstreamStart]:
    """Build the authorizer, and the builder of upstream requests that takes its permits.

    Unless it `spends`, what it decides uses up nothing of limits, and no ticket.
    """
    header_policy = HeaderPolicy(
        settings.header.names(),
        cookies=settings.cookies,
        trace=TracePolicy(records=settings.trace.endpoint is not None, sample=settings.trace.sample),
        lenient=settings.is_lenient_about_organizations,
        loop=domain.loop,
    )
    authorizer = Authorizer(
        routes=routes,
        authenticator=domain.identity.authenticator,
        header_policy=header_policy,
        origins=Origins(settings.trusted_proxies, _unreadable_hops(metrics), unix=settings.unix.trusted),
        metrics=metrics,
        clock=domain.clock,
        browsers=BrowserPolicy(csrf_tokens(settings)) if settings.cookies else None,
        spends=spends,
    )
    return authorizer, UpstreamStart(header_policy, build_signing(settings))


_UNREADABLE: Final = {
    "for": "have the proxy write addresses: until then its own stands for all of its clients",
    "proto": "have the proxy write http or https: until then the scheme of its own connection stands there",
    "host": "have the proxy write the host that the client asked for: until then its own Host stands there",
}
"""What to do about a part of Forwarded or X-Forwarded-* that cannot be read."""


def _unreadable_hops(metrics: Metrics) -> Callable[[str, str, str, str], None]:
    """Return the function that reports an unreadable hop, scheme or host of a trusted proxy."""
    events = LimitedEvents()
    count = metrics.counter(
        "gateway_forwarded_unreadable",
        "Elements of X-Forwarded-* and Forwarded by trusted proxies that could not be read; repeated heads count once.",
        "field",
    )

    def report(field: str, part: str, element: str, peer: str) -> None:
        count.labels(field).inc()
        events.warning(
            "forwarded_unreadable",
            key=f"{field} {part} {peer}",
            field=field,
            part=part,
            peer=peer,
            element=quoted(element, _ELEMENT_CHARACTERS),
            advice=_UNREADABLE[part],
        )

    return report


def build_sockets(settings: Settings, domain: Domain, metrics: Metrics) -> Sockets:
    """Build the watch over sockets and streams; it gets the changes that the verdict cache gets."""
    identity = domain.identity
    sockets = Sockets(
        identity.standings,
        pushed=lambda: identity.hearing is Hearing.PUSHED,
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
    vary = VaryPolicy(settings.header.names().values(), cookies=settings.cookies)
    return Forwarder(tunnels, sockets, streams, vary, places), streams


def build_admission(  # noqa: PLR0913, PLR0917 -- the parts it is made of
    settings: Settings,
    authorizer: Authorizer,
    forwarder: Forwarder,
    sockets: Sockets,
    deadlines: Deadlines,
    metrics: Metrics,
    quotas: QuotaGate | None,
) -> Admission:
    """Build the admission of sockets by their first message."""
    admission = Admission(
        authorizer,
        forwarder,
        sockets,
        deadlines,
        seconds=settings.ws.auth_seconds,
        most=settings.ws.unproven,
        quotas=quotas,
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
