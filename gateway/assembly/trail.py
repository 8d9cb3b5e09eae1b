"""Builder of the audit trail, and its record of refusals that hosted endpoints never hear of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.principal import ANONYMOUS
from authcore.trail import AuditOutcome
from gateway.endpoints.hosted import hosted_endpoints
from gateway.trail.trail import Trail

if TYPE_CHECKING:
    from collections.abc import Callable

    from authcore.store.clock import DatabaseClock
    from authcore.store.postgres import PostgresStore
    from config.settings import Settings
    from gateway.proxy.exchange import Exchange


def build_trail(settings: Settings, store: PostgresStore, clock: DatabaseClock) -> Trail:
    """Build the audit trail."""
    audit = settings.audit
    return Trail(
        store,
        clock.now,
        to_table=audit.table,
        to_log=audit.log,
        buffer=audit.buffer,
        refusals=audit.refusals,
        keep_days=audit.retention_days,
    )


def refusal_recorder(settings: Settings, trail: Trail) -> Callable[[Exchange], None] | None:
    """Return the function that records a 403 of a proved caller at a changing hosted endpoint; None if off.

    Refusals of unproved callers are in the access log alone: anybody can cause them.
    """
    if not trail.is_on:
        return None
    events = {
        (endpoint.method.encode(), endpoint.route_name): endpoint.event
        for endpoint in hosted_endpoints(settings)
        if endpoint.event is not None
    }

    def record(exchange: Exchange) -> None:
        route, principal = exchange.route, exchange.principal
        if route is None or principal is None or principal is ANONYMOUS or exchange.decision:
            return
        event = events.get((exchange.head.method, route.name))
        if event is None:
            return
        trail.record(
            event,
            AuditOutcome.REFUSED,
            reason=exchange.reason,
            user_id=principal.user_id,
            organization_id=principal.organization_id,
            api_key_id=principal.key_id,
            session_id=principal.session_id,
            address=None if exchange.parsed is None else exchange.parsed.origin.client,
            user_agent=exchange.head.first.get(b"user-agent", b"").decode("utf-8", "replace"),
            request_id=exchange.request_id.decode("ascii"),
            details={"path": None if exchange.target is None else exchange.target.path},
        )

    return record
