"""Quota gate: it charges permitted requests to the quotas of their callers, before they are sent.

Laws:

- Charged are requests to upstreams, and those that other proxies ask about. The gateway's own endpoints are free: a
  caller without quota can still sign out, and see what is left.
- Nobody is charged for a request without a proven caller, nor for one that was refused before.
- What a refused request has taken of its route's limits is given back: a key over its quota uses up no limit of its
  user, organization or network.
- On a route in shadow the request is charged and goes on; the refusal is recorded.
- A caller whose counts are known waits for nothing. The first request of one in a day waits for them, for a moment.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from authcore.errors import AuthError
from gateway.wire.drive import offload

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from authcore.permit import Permit
    from authcore.quota_ledger import QuotaLedger
    from authcore.store.clock import DatabaseClock
    from gateway.proxy.decision_context import DecisionContext
    from gateway.proxy.routes import Route


class QuotaGate:
    """Quota gate of one process."""

    def __init__(
        self, ledger: QuotaLedger, clock: DatabaseClock, learn: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """`learn` has the database asked for the counts that the ledger does not know; it never fails."""
        self._ledger = ledger
        self._clock = clock
        self._learn = learn

    async def charge(self, context: DecisionContext, route: Route, permit: Permit) -> None:
        """Charge a request, in a driven coroutine.

        Raises:
            QuotaExceeded: a quota of its API key or organization is used up.
            QuotaUnknown: what is left of one is not known, and GATEWAY_QUOTA_STORE_AWAY is closed.
        """
        principal = permit.principal
        if route.internal or principal.organization_id is None:
            return
        key, organization, now = principal.key_id, principal.organization_id, self._clock.now()
        if not self._ledger.knows(key, organization, now):
            await offload(self._learn())
        try:
            self._ledger.charge(key, organization, now)
        except AuthError as refusal:
            if not route.shadow:
                if context.hold is not None:
                    context.hold.withdraw(time.monotonic())
                raise
            if context.shadowed is None:
                context.shadowed = refusal
