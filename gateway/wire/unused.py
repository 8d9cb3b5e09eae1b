"""Unused connections of one pool, the most recently used last: they are lent from the end.

Laws:

- Lending a connection counts an exchange at work at its endpoint. The function that takes it back counts it off.
- A connection that has closed meanwhile is not lent. A request that cannot be sent again gets none that the upstream
  may have closed: the kernel is asked, as it may know more than the event loop, and a close is expected of an upstream
  that has just answered and has closed another connection behind as many answers, or is not known to keep any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.wire.endpoint import Endpoint
    from gateway.wire.upstream import UpstreamConnection

_PROOF: Final = 32
"""An upstream with so many unused connections keeps them."""


class UnusedConnections:
    """Stack of unused connections; each endpoint counts its own (``idle``)."""

    __slots__ = ("_stack",)

    def __init__(self) -> None:
        self._stack: list[UpstreamConnection] = []

    def __len__(self) -> int:
        return len(self._stack)

    def __iter__(self) -> Iterator[UpstreamConnection]:
        return iter(self._stack)

    def add(self, connection: UpstreamConnection) -> None:
        """Take a connection whose exchange is over."""
        self._stack.append(connection)
        if connection.endpoint is not None:
            connection.endpoint.idle += 1

    def lend(self, endpoint: Endpoint | None) -> UpstreamConnection | None:
        """Lend the most recently used connection to `endpoint`, or to any; None if there is none."""
        stack = self._stack
        place = len(stack)
        while (place if endpoint is None else endpoint.idle) > 0:
            place -= 1
            connection = stack[place]
            there = connection.endpoint
            if endpoint is not None and there is not endpoint:
                continue
            del stack[place]
            if there is not None:
                there.idle -= 1
            if connection.is_open:
                _count(there)
                return connection
        return None

    def lend_lasting(self, endpoint: Endpoint | None, *, room: bool) -> UpstreamConnection | None:
        """Lend one that the upstream has not closed, and is not expected to be closing now; else as :meth:`lend`.

        With `room`, another one can be opened in its place.
        """
        stack = self._stack
        number = len(stack) if endpoint is None else endpoint.idle
        doubtful = room and number < _PROOF
        for place in range(len(stack) - 1, -1, -1):
            connection = stack[place]
            there = connection.endpoint
            if endpoint is not None and there is not endpoint:
                continue
            if connection.is_open and not connection.is_lasting(doubtful=doubtful):
                continue
            del stack[place]
            if there is not None:
                there.idle -= 1
            if connection.is_open:
                if connection.is_silent:
                    _count(there)
                    return connection
                connection.has_ended(connection.served)
                connection.abort()
        return None

    def longest(self) -> UpstreamConnection | None:
        """Return the connection that has been unused for longest; None if there is none. It stays."""
        return self._stack[0] if self._stack else None

    def withdraw(self, connection: UpstreamConnection) -> bool:
        """Take a connection out; return whether it was here."""
        if connection not in self._stack:
            return False
        self._stack.remove(connection)
        if connection.endpoint is not None:
            connection.endpoint.idle -= 1
        return True

    def clear(self) -> list[UpstreamConnection]:
        """Take all connections out."""
        every = list(self._stack)
        for connection in every:
            self.withdraw(connection)
        return every


def _count(endpoint: Endpoint | None) -> None:
    """Count an exchange at work at an endpoint."""
    if endpoint is not None:
        endpoint.active += 1
        endpoint.requests += 1
