"""Limits of one request: the two phases in which the limits of its route are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.limits.keys import CallerKeys
from gateway.limits.limit_reservation import LimitReservation

if TYPE_CHECKING:
    from authcore.principal import Principal
    from gateway.limits.limit import RouteLimits
    from gateway.proxy.decision_context import DecisionContext
    from gateway.proxy.parsed_headers import ParsedHeaders


def enter(context: DecisionContext, limits: RouteLimits, parsed: ParsedHeaders) -> None:
    """Take of the limits that count before the credential is read: the phase limit(network)."""
    keys = parsed.keys
    if keys is None:
        keys = parsed.keys = CallerKeys(parsed.origin.client)
    hold = context.hold = LimitReservation(limits, keys, context.started, concurrent=not context.decision)
    try:
        hold.enter()
    finally:
        context.shadowed = hold.shadowed


def settle(context: DecisionContext, hold: LimitReservation, principal: Principal, now: float) -> None:
    """Take of the limits that count callers: the phase limit(caller)."""
    try:
        hold.settle(principal, now)
    finally:
        if context.shadowed is None:
            context.shadowed = hold.shadowed
