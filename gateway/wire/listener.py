"""Listener: the limits, the count and the draining that all connections of one listening socket share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from gateway.wire.downstream import DownstreamConnection
from gateway.wire.proxy_protocol import ProxyPrelude
from gateway.wire.states import in_states
from gateway.wire.templates import FIXED_IN_REQUESTS, Templates

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from gateway.wire.deadlines import Deadlines
    from gateway.wire.inbound import Inbound
    from gateway.wire.limits import ClientLimits
    from gateway.wire.write_buffer import WriteBatch


TOO_MANY_OF_NETWORK: Final = "too many connections from this network"


def _unheard(_reason: str, _why: str, _peer: str) -> None:
    """Report to nobody."""


@dataclass(slots=True)
class ConnectionCounts:
    """Counts of client connections.

    Attributes:
        opened: How many were opened so far.
        idled: How many were closed because they were idle.
    """

    opened: int = 0
    idled: int = 0


@dataclass(slots=True, repr=False)
class Listener:
    """Listener: the shared state of one listening socket's connections.

    A copy (``dataclasses.replace``) serves another socket, with the same connections, counts and limits.

    Attributes:
        serve: Makes the coroutine that serves a request.
        exempt: Returns whether an address may have any number of connections (a proxy in front).
        network: Returns the network that an address is counted with.
        prefaced: Returns whether a peer's connections begin with a PROXY header; None if no peer's do.
        unprefaced: Reports a connection without a good PROXY header: the reason, what was wrong, and the peer.
        preludes: Connections whose PROXY header has not been read.
        secured: Returns the field lines about the client certificate of a TLS connection; None if none is one.
        open: The open connections.
        counts: How many connections there have been.
        draining: Every answer announces that its connection closes.
        ended: Connections without a request are closed too.
        templates: The shapes of its clients' requests.
    """

    serve: Callable[[Inbound], Coroutine[object, None, None]]
    limits: ClientLimits
    deadlines: Deadlines
    write_batch: WriteBatch
    exempt: Callable[[str], bool]
    network: Callable[[str], str] = str
    prefaced: Callable[[str], bool] | None = None
    unprefaced: Callable[[str, str, str], None] = _unheard
    preludes: set[ProxyPrelude] = field(default_factory=set)
    secured: Callable[[asyncio.BaseTransport], bytes | None] | None = None
    open: set[DownstreamConnection] = field(default_factory=set)
    counts: ConnectionCounts = field(default_factory=ConnectionCounts)
    draining: bool = False
    ended: bool = False
    templates: Templates = field(default_factory=lambda: Templates(FIXED_IN_REQUESTS))
    _refused: set[DownstreamConnection] = field(default_factory=set)
    _by_network: dict[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        states = "".join(f", {count} {state}" for state, count in in_states(self.open).items())
        stage = "closed" if self.ended else "draining" if self.draining else "open"
        preludes = f", {len(self.preludes)} without their PROXY header" if self.preludes else ""
        return f"<listener {stage}: {len(self.open)} of {self.limits.connections} clients{states}{preludes}>"

    def protocol(self, peer: str = "") -> asyncio.Protocol:
        """Make the protocol of a new connection (asyncio's protocol factory).

        Args:
            peer: The address of the client if its transport has none, as that of a Unix socket; else empty.
        """
        if self.prefaced is not None:
            return ProxyPrelude(self, peer)
        return cast("asyncio.Protocol", self.connection(peer))

    def connection(self, peer: str) -> DownstreamConnection:
        """Make a client connection; `peer` is its client's address if the transport does not know it, else empty."""
        return DownstreamConnection(self, peer)

    def enter(
        self, connection: DownstreamConnection, transport: asyncio.BaseTransport | None = None
    ) -> str | None:
        """Register a connection; return the reason if it is one too many, else None."""
        self.open.add(connection)
        self.counts.opened += 1
        if self.secured is not None and transport is not None:
            connection.secured = self.secured(transport)
        peer, most = connection.peer, self.limits.connections_per_address
        connection.network = network = self.network(peer)
        count = self._by_network.get(network, 0) + 1
        if len(self.open) - len(self._refused) > self.limits.connections:
            why = "too many connections"
        elif most and count > most and not self.exempt(peer):
            why = TOO_MANY_OF_NETWORK
        else:
            self._by_network[network] = count
            return None
        self._refused.add(connection)  # kept open until its 503 is written; not counted against any limit
        return why

    @property
    def crowded(self) -> bool:
        """True if more connections are being refused than may wait for their answer to be read."""
        return len(self._refused) > min(self.limits.refused, self.limits.connections)

    def leave(self, connection: DownstreamConnection) -> None:
        """Unregister a connection."""
        self.open.discard(connection)
        if connection in self._refused:
            self._refused.discard(connection)
            return
        left = self._by_network.get(connection.network, 1) - 1
        if left:
            self._by_network[connection.network] = left
        else:
            self._by_network.pop(connection.network, None)

    def drain(self) -> None:
        """Close idle connections now, and every other one after its present answer."""
        self.draining = self.ended = True
        for prelude in list(self.preludes):
            prelude.abort()
        for connection in list(self.open):
            connection.close_if_idle()

    def abort(self) -> None:
        """Drop every connection."""
        for prelude in list(self.preludes):
            prelude.abort()
        for connection in list(self.open):
            connection.abort()
