"""CORS preflight decision: by which policy a preflight is answered, and whether its origin may call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.faults import MethodNotAllowed, NotFound, OriginRefused
from gateway.proxy.matching import host_of

if TYPE_CHECKING:
    from gateway.proxy.cors import CorsPolicy
    from gateway.proxy.decision_context import DecisionContext
    from gateway.proxy.routes import Route, RouteTable


def grant_preflight(context: DecisionContext, routes: RouteTable, cors: CorsPolicy | None) -> bytes | None:
    """Return the field lines that answer a CORS preflight; None if it is none, or no policy covers what it asks for.

    `cors` is the policy of what matches no route.

    Raises:
        OriginRefused: its origin may not call.
    """
    if context.parsed is None or not context.parsed.preflight or context.head.method != b"OPTIONS":
        return None
    asked = _asked_about(context, routes)
    policy = cors if asked is None else asked.cors
    if policy is None:
        return None
    context.route = asked
    granted = policy.preflight(context.head)
    if granted is None:
        raise OriginRefused("Pages of this origin may not call; GATEWAY_CORS_ORIGINS lists those that may")
    return granted


def _asked_about(context: DecisionContext, routes: RouteTable) -> Route | None:
    """Return the route that a CORS preflight asks about; None if there is none."""
    if context.target is None:
        raise RuntimeError("asked before read")
    first = context.head.first
    host = host_of(first.get(b"host", b"")) if routes.by_host else ""
    try:
        return routes.match(
            first[b"access-control-request-method"], context.target.path, host, preflight=False
        )
    except (NotFound, MethodNotAllowed):
        return None
