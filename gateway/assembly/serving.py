"""Builders of the request pipeline, and of the public listener in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from authcore.networks import network
from gateway.assembly.browsers import csrf_tokens
from gateway.assembly.signing import build_signing
from gateway.assembly.sockets import build_admission
from gateway.logs import AccessLog
from gateway.metrics.registry import running_version
from gateway.proxy.authorizer import Authorizer
from gateway.proxy.browsers import BrowserPolicy
from gateway.proxy.cors import build_policy
from gateway.proxy.forward_auth import ForwardAuth
from gateway.proxy.forwarded import Origins
from gateway.proxy.grown import Heads
from gateway.proxy.headers import HeaderPolicy
from gateway.proxy.pipeline import Pipeline
from gateway.proxy.record import Recorder
from gateway.tracing.context import TracePolicy
from gateway.wire.listener import ClientLimits, Listener

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.assembly.domain import Domain
    from gateway.metrics import Metrics
    from gateway.proxy.forward import Forwarder
    from gateway.proxy.routes import RouteTable
    from gateway.proxy.sockets import Sockets
    from gateway.tracing.spans import SpanSender
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.write_buffer import WriteBuffers

log = structlog.get_logger()


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
    decider, laws = build_decider(settings, domain, routes, metrics)
    path = settings.decision.path
    return Pipeline(
        decider=decider,
        decisions=ForwardAuth(path, decider, laws) if path else None,
        forwarder=forwarder,
        admission=build_admission(settings, decider, forwarder, sockets, deadlines, metrics),
        recorder=Recorder(metrics, access_log, laws.trace, spans),
        metrics=metrics,
        heads=Heads(laws),
        cors=build_policy(settings.cors),
    )


def build_access_log(settings: Settings) -> AccessLog:
    """Build the access log."""
    log = settings.log
    return AccessLog(enabled=log.access, sample=log.sample, form=log.format, query=log.query)


def build_spans(settings: Settings, metrics: Metrics) -> SpanSender | None:
    """Build the sender of spans; None if no endpoint is set."""
    spans = None
    if settings.trace.endpoint is not None:
        from gateway.tracing.spans import SpanSender  # noqa: PLC0415 -- nothing of OpenTelemetry without an endpoint

        spans = SpanSender(settings.trace.endpoint, settings.trace.service, running_version())
    metrics.read_counters(
        "gateway_trace_requests",
        "Requests recorded in traces, by what became of their spans: sent, failed or dropped.",
        ("outcome",),
        dict if spans is None else spans.outcomes,
    )
    return spans


def build_decider(
    settings: Settings, domain: Domain, routes: RouteTable, metrics: Metrics
) -> tuple[Authorizer, HeaderPolicy]:
    """Build the decider, and the header policy that turns its permits into headers."""
    trace = TracePolicy(records=settings.trace.endpoint is not None, sample=settings.trace.sample)
    laws = HeaderPolicy(
        settings.header.names(),
        cookies=settings.cookies,
        trace=trace,
        lenient=settings.is_lenient_about_organizations,
    )
    decider = Authorizer(
        routes=routes,
        authenticator=domain.identity.authenticator,
        laws=laws,
        origins=Origins(settings.trusted_proxies),
        metrics=metrics,
        clock=domain.clock,
        browsers=BrowserPolicy(csrf_tokens(settings)) if settings.cookies else None,
        signing=build_signing(settings),
    )
    return decider, laws


def build_listener(
    settings: Settings, pipeline: Pipeline, deadlines: Deadlines, outbox: WriteBuffers
) -> Listener:
    """Build the state that the public listener's connections share."""
    limit, timeout = settings.limit, settings.timeout
    limits = ClientLimits(
        head_bytes=limit.head_bytes,
        fields=limit.fields,
        target_bytes=limit.target_bytes,
        connections=limit.connections,
        connections_per_address=limit.connections_per_address,
        head_seconds=timeout.head_seconds,
        idle_seconds=timeout.idle_seconds,
        body_seconds=timeout.body_seconds,
        write_seconds=timeout.write_seconds,
    )
    trusts = Origins(settings.trusted_proxies).trusts
    return Listener(
        serve=pipeline.serve,
        limits=limits,
        deadlines=deadlines,
        outbox=outbox,
        exempt=trusts,
        network=network,
    )
