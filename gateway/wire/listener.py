"""What the connections of one listening socket share: their limits, their number, and their end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.wire.downstream import DownstreamConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gateway.wire.deadlines import Deadlines
    from gateway.wire.inbound import Inbound
    from gateway.wire.outbox import Outbox


MOST_REFUSED: Final = 256
"""Connections too many that may linger until their answer is read; those beyond it are dropped behind it."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What one client connection may do; sizes in bytes, times in seconds.

    Attributes:
        connections: Of all clients together.
        connections_per_address: Of one address; 0 for any number.
    """

    head_bytes: int
    fields: int
    target_bytes: int
    connections: int
    connections_per_address: int
    head_seconds: float
    idle_seconds: float
    body_seconds: float
    write_seconds: float


@dataclass(slots=True)
class Listener:
    """A listening socket's side of its connections.

    Attributes:
        serve: Makes the coroutine that serves a request.
        exempt: Tells of an address that it may have any number of connections (a proxy in front).
        open: The connections that are open.
        opened: How many there have been.
        idled: Connections closed because they were idle.
        draining: Every answer says that its connection closes.
        ended: And connections without a request are closed too.
    """

    serve: Callable[[Inbound], Coroutine[object, None, None]]
    limits: ClientLimits
    deadlines: Deadlines
    outbox: Outbox
    exempt: Callable[[str], bool]
    open: set[DownstreamConnection] = field(default_factory=set)
    opened: int = 0
    idled: int = 0
    draining: bool = False
    ended: bool = False
    _refused: set[DownstreamConnection] = field(default_factory=set)
    _by_address: dict[str, int] = field(default_factory=dict)

    def protocol(self) -> DownstreamConnection:
        """Make the protocol of a new connection (asyncio's protocol factory)."""
        return DownstreamConnection(self)

    def enter(self, connection: DownstreamConnection) -> str | None:
        """Count a connection in; return why it is one too many, if it is."""
        self.open.add(connection)
        self.opened += 1
        peer, most = connection.peer, self.limits.connections_per_address
        count = self._by_address.get(peer, 0) + 1
        if len(self.open) - len(self._refused) > self.limits.connections:
            why = "too many connections"
        elif most and count > most and not self.exempt(peer):
            why = "too many connections from this address"
        else:
            self._by_address[peer] = count
            return None
        self._refused.add(connection)  # it stays until it has its answer, and counts against nobody
        return why

    @property
    def crowded(self) -> bool:
        """Whether so many are being refused that none can be waited for."""
        return len(self._refused) > MOST_REFUSED

    def leave(self, connection: DownstreamConnection) -> None:
        """Count a connection out."""
        self.open.discard(connection)
        if connection in self._refused:
            self._refused.discard(connection)
            return
        left = self._by_address.get(connection.peer, 1) - 1
        if left:
            self._by_address[connection.peer] = left
        else:
            self._by_address.pop(connection.peer, None)

    def drain(self) -> None:
        """Close idle connections now and every other one after the answer it is at."""
        self.draining = self.ended = True
        for connection in list(self.open):
            connection.close_if_idle()

    def abort(self) -> None:
        """Drop every connection."""
        for connection in list(self.open):
            connection.abort()
