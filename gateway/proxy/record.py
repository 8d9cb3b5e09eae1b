"""Request recorder: it writes a request's metrics and its line of the access log, whatever happened.

Laws:

- Nothing here reads a header value or a body, and of a query only what :mod:`gateway.logs` lets through. The fields
  that a record may have are listed below and nowhere else (docs/logs.md).
- A refusal and an error are always recorded; successes may be sampled.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from authcore.principal import ANONYMOUS
from gateway.faults import describe
from gateway.logs import masked, redacted_query
from gateway.proxy.fault_attribution import blame
from gateway.tracing.ended import Ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.logs import AccessLog
    from gateway.metrics import Metrics, RouteMeter
    from gateway.proxy.delivery import Delivered
    from gateway.proxy.exchange import Exchange
    from gateway.tracing.context import TracePolicy
    from gateway.tracing.ended import Spans

_REFUSED: Final = 400
_FORBIDDEN: Final = 403
_SERVER_ERROR: Final = 500
_SECURE: Final = (b"https", b"wss")
_OF_UPSTREAM: Final = "upstream_"
"""Beginning of the reasons that the meter of the upstream has counted where they arose."""


class Recorder:
    """Request recorder."""

    def __init__(
        self,
        metrics: Metrics,
        access_log: AccessLog,
        trace: TracePolicy,
        spans: Spans | None,
        forbidden: Callable[[Exchange], None] | None,
    ) -> None:
        """`spans` gets the requests whose traces `trace` samples; None without a collector.

        `forbidden` gets those that the pipeline refused with 403 at a hosted endpoint; None if the trail is off.
        """
        self._forbidden = forbidden
        self._access_log = access_log
        self._trace = trace
        self._spans = spans
        self._unrouted = metrics.route("none")
        self._decisions = metrics.counter(
            "gateway_decisions",
            "Decisions made for other proxies, by the endpoint they asked and the status of the answer.",
            "endpoint",
            "status",
        )

        self._shadowed = metrics.counter(
            "gateway_shadow_denials",
            "Requests that went on because their route is in shadow, by the reason for which they would be refused.",
            "route",
            "reason",
        )

    def record(self, exchange: Exchange) -> None:
        """Record an exchange that has ended."""
        now = exchange.ended or time.monotonic()
        route = exchange.route
        meter = self._unrouted if route is None else route.meter
        if route is not None and route.internal:
            self._take_verdict(exchange)
        inbound = exchange.inbound
        if exchange.reason or exchange.status >= _SERVER_ERROR:
            _find_blame(exchange, meter)
        started, headed = exchange.started, exchange.headed
        meter.record(
            exchange.head.method,
            exchange.status,
            now - started,
            inbound.received,
            inbound.sent,
            headed - started,  # negative where the gateway itself answered
        )
        if exchange.decision:
            self._decisions.labels(exchange.decision, str(exchange.status)).inc()
        if exchange.shadowed is not None and route is not None:
            self._shadowed.labels(route.name, _reason(exchange.shadowed)).inc()
        access_log = self._access_log
        is_notable = exchange.status >= _REFUSED or exchange.reason or exchange.shadowed is not None
        if access_log.enabled and (is_notable or access_log.wants_success()):
            line = _line(exchange, now)
            if access_log.query and exchange.target is not None:
                query = exchange.target.forwarded.partition(b"?")[2]
                if query:
                    line["query"] = redacted_query(query, values=access_log.values)
            access_log.add(line)
        if self._spans is not None:
            self._add_spans(self._spans, exchange, now)

    def _take_verdict(self, exchange: Exchange) -> None:
        """Take what the hosted application left about a request; it never got one that the pipeline refused."""
        verdict = self._access_log.verdicts.take(exchange.own_id)
        if verdict is not None and not exchange.reason:
            exchange.reason, exchange.detail = verdict
        elif exchange.status == _FORBIDDEN and self._forbidden is not None:
            self._forbidden(exchange)

    def _add_spans(self, spans: Spans, exchange: Exchange, now: float) -> None:
        """Hand the request to `spans` if its trace is sampled."""
        context = None if exchange.parsed is None else exchange.parsed.trace
        if context.sampled if context is not None else self._trace.samples(exchange.own_id):
            spans.add(_ended(exchange, now))


def _find_blame(exchange: Exchange, meter: RouteMeter) -> None:
    """Find out who failed a request that was refused or answered 500 and above, and count it."""
    route = exchange.route
    hosted = route is not None and route.internal
    exchange.blame = blame(exchange.status, exchange.reason, hosted=hosted)
    if exchange.blame:
        meter.failed(exchange.blame, exchange.status)
        if route is not None and hosted and not exchange.reason.startswith(_OF_UPSTREAM):
            route.upstream.meter.faulted += 1


def _line(exchange: Exchange, now: float) -> dict[str, object]:
    inbound, route, parsed, target = exchange.inbound, exchange.route, exchange.parsed, exchange.target
    line: dict[str, object] = {
        "time": time.time(),
        "level": "error" if exchange.blame else "info",
        "event": "request",
        "request_id": exchange.request_id.decode("ascii"),
        "trace_id": (
            exchange.own_id if parsed is None or parsed.trace is None else parsed.trace.trace_id
        ).decode("ascii"),
        "client": inbound.connection.peer if parsed is None else parsed.origin.client,
        "method": exchange.head.method.decode("ascii"),
        "path": None if target is None else target.path,
        "status": exchange.status,
        "duration_ms": (now - exchange.started) * 1000,
        "bytes_in": inbound.received,
        "bytes_out": inbound.sent,
    }
    if exchange.decision:
        line["decision"] = exchange.decision
    if route is not None:
        line["route"] = route.name
        line["upstream"] = route.upstream.name
        line["attempts"] = exchange.attempts
        _add_phases(line, exchange, now)
        _add_delivery(line, exchange.delivered)
    if exchange.credential:
        line["credential"] = exchange.credential
    if exchange.permit is not None and (principal := exchange.permit.principal) is not ANONYMOUS:
        line["user_id"] = principal.user_id
        line["organization_id"] = principal.organization_id
    if parsed is not None and parsed.sent is not None and parsed.sent.contradicted and exchange.sent:
        line["organization_header"] = "ignored"
    if exchange.shadowed is not None:
        line["shadow"] = _reason(exchange.shadowed)
        line["shadow_detail"] = str(exchange.shadowed)
    if exchange.growth is not None:
        line["head_bytes_in"], line["head_bytes_out"], line["identity_bytes"] = exchange.growth
    if exchange.blame:
        line["blame"] = exchange.blame
    if exchange.reason:
        line["reason"] = exchange.reason
        line["detail"] = exchange.detail
    return line


def _add_delivery(line: dict[str, object], delivered: Delivered | None) -> None:
    """Add what a traffic policy did with a request; nothing if it had nothing to do."""
    if delivered is None:
        return
    if delivered.causes:
        line["retried"] = delivered.causes
    if delivered.waited:
        line["waited_ms"] = delivered.waited * 1000
    if delivered.stood_in:
        line["failover"] = delivered.stood_in


def _ended(exchange: Exchange, now: float) -> Ended:
    inbound, route, parsed, target = exchange.inbound, exchange.route, exchange.parsed, exchange.target
    principal = None if exchange.permit is None else exchange.permit.principal
    known = principal is not None and principal is not ANONYMOUS
    return Ended(
        own_id=exchange.own_id,
        request_id=masked(exchange.request_id.decode("ascii")),
        context=None if parsed is None else parsed.trace,
        ended_at=time.time(),
        started=exchange.started,
        decided=exchange.decided,
        sent=exchange.sent,
        headed=exchange.headed,
        ended=now,
        method=masked(exchange.head.method.decode("ascii")),
        path="" if target is None else masked(target.path),
        scheme="https" if parsed is not None and parsed.origin.proto in _SECURE else "http",
        status=exchange.status,
        route="" if route is None else route.name,
        upstream="" if route is None else route.upstream.name,
        client=inbound.connection.peer if parsed is None else parsed.origin.client,
        credential=exchange.credential,
        user_id=principal.user_id if known and principal is not None else None,
        organization_id=principal.organization_id if known and principal is not None else None,
        reason=exchange.reason,
        blame=exchange.blame,
        attempts=exchange.attempts,
        received=inbound.received,
        answered=inbound.sent,
    )


def _reason(refusal: Exception) -> str:
    """Return the bounded reason of a refusal, for labels."""
    return str(describe(refusal).reason)


def _add_phases(line: dict[str, object], exchange: Exchange, now: float) -> None:
    """Add the duration of each phase; the phases that were reached add up to the whole."""
    decided, sent, headed = exchange.decided, exchange.sent, exchange.headed
    line["authenticate_ms"] = ((decided or now) - exchange.started) * 1000
    if decided:
        line["connect_ms"] = ((sent or now) - decided) * 1000
    if sent:
        line["upstream_ms"] = ((headed or now) - sent) * 1000
    if headed:
        line["relay_ms"] = (now - headed) * 1000
