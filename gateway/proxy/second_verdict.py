"""Second verdict: it judges the caller of a request that has waited since it was decided on.

Laws:

- The request keeps its route, whatever the table of routes is by then: it is on its way to that route's upstream.
- A caller is authenticated again by the same credential, but for a ticket: that is good once, and was used up by the
  first verdict. What counts of it is whether the access that it stands for has ended, as for an open socket.
- A connection that was lent to a request goes back to its pool if the request is refused.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from authcore.errors import TokenRevoked
from authcore.principal import AuthMethod
from gateway.proxy.authorizer import FORWARDED_IN_SHADOW
from gateway.proxy.streams import YOUNG_SECONDS
from gateway.wire.drive import offload

if TYPE_CHECKING:
    from authcore.permit import Permit
    from gateway.proxy.authorizer import Authorizer
    from gateway.proxy.exchange import Exchange
    from gateway.proxy.forward import Reauthorize
    from gateway.proxy.sockets import Sockets
    from gateway.wire.pool import UpstreamPool
    from gateway.wire.upstream import UpstreamConnection


class SecondVerdict:
    """Judge of requests that have waited."""

    def __init__(self, authorizer: Authorizer, sockets: Sockets) -> None:
        self._authorizer = authorizer
        self._sockets = sockets

    async def permit(self, exchange: Exchange) -> Permit:
        """Return the permit of a request that has a route and a permit already.

        Raises:
            GatewayFault, AuthError: as of :meth:`~gateway.proxy.authorizer.Authorizer.decide`.
        """
        permit, route = exchange.permit, exchange.route
        if permit is None or route is None or permit.principal.method is not AuthMethod.WS:
            return (await self._authorizer.decide(exchange))[1]
        try:
            if await offload(self._sockets.has_ended(permit.principal)):
                raise TokenRevoked
        except FORWARDED_IN_SHADOW as refusal:
            if not route.shadow:
                raise
            exchange.shadowed = refusal
        return permit


async def judged_again(
    reauthorize: Reauthorize | None,
    exchange: Exchange,
    pool: UpstreamPool,
    connection: UpstreamConnection,
    start: bytes,
) -> bytes:
    """Return the start of a request that was lent `connection` by `pool`: another one than `start` if it has waited.

    Raises:
        GatewayFault, AuthError: its caller's access has ended.
    """
    if reauthorize is None or time.monotonic() - exchange.decided <= YOUNG_SECONDS:
        return start
    is_let_in = False
    try:
        start = await reauthorize(exchange)
        is_let_in = True
    finally:
        if not is_let_in:
            # In a later turn of the loop: the next request in the queue gets it, and may be refused at once as well. A
            # row of these would nest.
            asyncio.get_running_loop().call_soon(pool.release, connection)
    return start
