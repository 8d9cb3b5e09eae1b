"""What the connections of one listening socket share: their limits, their number, and their end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.wire.downstream import DownstreamConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gateway.wire.deadlines import Deadlines
    from gateway.wire.inbound import Inbound
    from gateway.wire.outbox import Outbox


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
    _by_address: dict[str, int] = field(default_factory=dict)

    def protocol(self) -> DownstreamConnection:
        """Make the protocol of a new connection (asyncio's protocol factory)."""
        return DownstreamConnection(self)

    def enter(self, connection: DownstreamConnection) -> str | None:
        """Count a connection in; return why it is one too many, if it is."""
        self.open.add(connection)
        self.opened += 1
        peer = connection.peer
        count = self._by_address[peer] = self._by_address.get(peer, 0) + 1
        if len(self.open) > self.limits.connections:
            return "too many connections"
        most = self.limits.connections_per_address
        if most and count > most and not self.exempt(peer):
            return "too many connections from this address"
        return None

    def leave(self, connection: DownstreamConnection) -> None:
        """Count a connection out."""
        self.open.discard(connection)
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
