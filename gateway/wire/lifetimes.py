"""Lifetimes of the open connections of one pool: each has a timer that retires it.

Laws:

- A connection is retired when it has reached its longest life, and when its endpoint is not the upstream's any more.
- The longest life is up to a tenth shorter, by chance: connections that were opened together do not end together.
- A retired connection is closed at once if it is unused. Else it is not lent again, and closed when it is released.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from gateway.wire.endpoint import Endpoint
    from gateway.wire.unused import UnusedConnections
    from gateway.wire.upstream import UpstreamConnection

_JITTER: Final = 0.1


class Lifetimes:
    """Open connections of one pool, lent and unused, each with its timer.

    Attributes:
        retired: Number of connections that were retired.
    """

    __slots__ = ("_timers", "_unused", "retired")

    def __init__(self, unused: UnusedConnections) -> None:
        """`unused` are the pool's connections that nobody uses."""
        self._unused = unused
        self._timers: dict[UpstreamConnection, asyncio.TimerHandle | None] = {}
        self.retired = 0

    @property
    def connections(self) -> Collection[UpstreamConnection]:
        """The open connections."""
        return self._timers

    def begin(self, connection: UpstreamConnection, seconds: float) -> None:
        """Take a connection that has been opened, and may live for `seconds`; for ever if it is 0."""
        timer: asyncio.TimerHandle | None = None
        if seconds:
            loop = asyncio.get_running_loop()
            jittered = seconds * (1 - _JITTER * random.random())  # noqa: S311 -- no secret
            timer = loop.call_later(jittered, self._retire, connection)
        self._timers[connection] = timer

    def end(self, connection: UpstreamConnection) -> None:
        """Forget a connection that is gone."""
        timer = self._timers.pop(connection, None)
        if timer is not None:
            timer.cancel()

    def retire(self, endpoint: Endpoint, most: int | None) -> None:
        """Retire up to `most` connections to `endpoint`, or all for None; those unused for longest come first."""
        unused = [connection for connection in self._unused if connection.endpoint is endpoint]
        lent = [
            connection
            for connection in self._timers
            if connection.endpoint is endpoint and not connection.retired and connection not in unused
        ]
        for connection in [*unused, *lent][:most]:
            self._retire(connection)

    def _retire(self, connection: UpstreamConnection) -> None:
        self.retired += 1
        connection.retired = True
        if self._unused.withdraw(connection):
            connection.abort()
