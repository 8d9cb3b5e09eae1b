"""The one record of a request: its route's metrics and a line of the access log, written whatever happened.

Law: nothing here reads a header value, a query or a body; what a record may hold is listed below and nowhere else.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from authcore.principal import ANONYMOUS
from gateway.faults import describe

if TYPE_CHECKING:
    from gateway.logs import AccessLog
    from gateway.metrics import Metrics
    from gateway.proxy.exchange import Exchange

_SERVER_ERROR = 500


class Recorder:
    """Writes records."""

    def __init__(self, metrics: Metrics, access_log: AccessLog) -> None:
        self._access_log = access_log
        self._unrouted = metrics.route("none")
        self._decisions = metrics.counter(
            "gateway_decisions",
            "Decisions made for other proxies, by the endpoint they asked and the status they were told.",
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
        seconds = time.monotonic() - exchange.started
        meter = self._unrouted if exchange.route is None else exchange.route.meter
        inbound = exchange.inbound
        meter.record(exchange.head.method, exchange.status, seconds, inbound.received, inbound.sent)
        if exchange.decision:
            self._decisions.labels(exchange.decision, str(exchange.status)).inc()
        if exchange.shadowed is not None and exchange.route is not None:
            self._shadowed.labels(exchange.route.name, _reason(exchange.shadowed)).inc()
        if self._access_log.enabled:
            self._access_log.add(_line(exchange, seconds))


def _line(exchange: Exchange, seconds: float) -> dict[str, object]:
    inbound, route, reading, target = exchange.inbound, exchange.route, exchange.reading, exchange.target
    line: dict[str, object] = {
        "time": time.time(),
        "level": "info" if exchange.status < _SERVER_ERROR else "error",
        "event": "request",
        "request_id": exchange.request_id.decode("ascii"),
        "client": inbound.connection.peer if reading is None else reading.origin.client,
        "method": exchange.head.method.decode("ascii"),
        "path": None if target is None else target.path,
        "status": exchange.status,
        "duration_ms": round(seconds * 1000, 3),
        "bytes_in": inbound.received,
        "bytes_out": inbound.sent,
    }
    if exchange.decision:
        line["decision"] = exchange.decision
    if route is not None:
        line["route"] = route.name
        line["upstream"] = route.upstream.name
        line["attempts"] = exchange.attempts
    if exchange.permit is not None and (principal := exchange.permit.principal) is not ANONYMOUS:
        line["user_id"] = principal.user_id
        line["organization_id"] = principal.organization_id
        line["auth"] = principal.method
    if exchange.shadowed is not None:
        line["shadow"] = _reason(exchange.shadowed)
        line["shadow_detail"] = str(exchange.shadowed)
    if exchange.reason:
        line["reason"] = exchange.reason
        line["detail"] = exchange.detail
    return line


def _reason(refusal: Exception) -> str:
    """Return the bounded word for a refusal."""
    return str(describe(refusal).reason)
