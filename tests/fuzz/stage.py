"""The wire layer alone, on transports that are lists: what goes in is chosen, what comes out is kept.

No socket, no clock, no event loop: a client connection, one upstream connection and a coroutine between them that does
what the gateway's forwarder does. So millions of exchanges can be tried, and everything can be counted afterwards.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.wire.deadlines import Deadlines
from gateway.wire.faults import UpstreamFault
from gateway.wire.inbound import ClientGone, Inbound
from gateway.wire.known_heads import KnownHeads
from gateway.wire.limits import ClientLimits
from gateway.wire.listener import Listener
from gateway.wire.messages import BodyKind, ProtocolError
from gateway.wire.upstream import UpstreamConnection
from gateway.wire.write_buffer import WriteBatch

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = ClientLimits(
    head_bytes=4096,
    fields=40,
    target_bytes=1024,
    connections=10,
    connections_per_address=0,
    head_seconds=10,
    idle_seconds=10,
    body_seconds=10,
    write_seconds=10,
)


class Wire(asyncio.Transport):
    """A transport that is a list."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.written = bytearray()
        self.closing = False
        self.reading = True
        self.finished = False

    def write(self, data: Any) -> None:
        assert not self.finished, "written after the end"
        if not self.closing:
            self.written += data

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.finished = True

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True


@dataclass
class Stage:
    """A client, an upstream, and the wire between them.

    Attributes:
        escaped: Exceptions that left a coroutine; there must never be one.
        busy: The loop's turn goes on until ``turn``; else each event ends one.
        served: Exchanges that have ended.
    """

    served: int = 0
    escaped: list[BaseException] = field(default_factory=list)
    busy: bool = False
    up: Wire | None = None
    upstream: UpstreamConnection | None = None

    def __post_init__(self) -> None:
        self.deadlines = Deadlines()
        self.known = KnownHeads()
        self.lost = 0
        self.opened = 0
        self.due: list[Callable[[], None]] = []
        self.write_batch = WriteBatch(self.due.append)
        self.listener = Listener(self._serve, LIMITS, self.deadlines, self.write_batch, lambda _: False)
        self.client = self.listener.connection("")
        self.down = Wire()
        self.client.connection_made(self.down)

    def _connection(self) -> UpstreamConnection:
        """The upstream connection at rest, or a new one."""
        if self.upstream is None or self.up is None or self.up.closing:
            self._drop_upstream()
            self.up = Wire()
            self.upstream = UpstreamConnection(self.deadlines, self.write_batch, self.known, self._count_lost)
            self.upstream.connection_made(self.up)
            self.opened += 1
        return self.upstream

    def _count_lost(self, _: UpstreamConnection) -> None:
        self.lost += 1

    def _drop_upstream(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None and upstream.is_open is False and self.up is not None:
            upstream.connection_lost(None)

    async def _serve(self, inbound: Inbound) -> None:
        try:
            await self._forward(inbound)
        except ClientGone:
            pass
        except (ProtocolError, UpstreamFault) as fault:
            if inbound.answered:
                inbound.abort()
            else:
                inbound.sink = None
                status = fault.status if isinstance(fault, ProtocolError) else 502
                start = b"HTTP/1.1 %d No\r\n" % status
                inbound.answer(start, BodyKind.LENGTH, 0, pieces=[], complete=True)
        except BaseException as error:
            self.escaped.append(error)
            raise
        finally:
            self.served += 1

    async def _forward(self, inbound: Inbound) -> None:
        if inbound.fault is not None:
            raise inbound.fault
        head = inbound.head
        if head.upgrade:
            raise ProtocolError(501, "no tunnels on this stage")
        connection = self._connection()
        start = b"%b %b HTTP/1.1\r\nHost: e\r\n" % (head.method, head.target)
        complete = inbound.complete
        connection.send(start, head, inbound.take(), complete=complete, head_timeout=1, body_timeout=1)
        try:
            if not complete:
                connection.feed_from(inbound)
                inbound.pipe(connection)
            response = await connection.response()
            while response.interim:
                inbound.interim(b"HTTP/1.1 %d Go\r\n" % response.status)
                response = await connection.response()
            told = b"content-length" in response.first and response.status != 204
            start = b"HTTP/1.1 %d Ok\r\n" % response.status
            length = response.length if told else None
            pieces = connection.take()
            inbound.answer(
                start, response.kind, length, pieces=pieces, complete=connection.complete, source=connection
            )
            if not connection.complete:
                connection.relay(inbound)
                await connection.finished()
        finally:
            if connection.reusable:
                connection.become_idle(10)
            else:
                connection.abort()

    # -- what the world does -----------------------------------------------------------------------------------

    def client_sends(self, data: bytes) -> None:
        """Deliver bytes of the client's, as a transport does: none while reading is paused, none when closed."""
        if data and not self.down.closing and self.down.reading:
            self.client.data_received(data)
        self._event()

    def upstream_sends(self, data: bytes) -> None:
        """Deliver bytes of the upstream's, who answers what has left."""
        self.turn()
        if (
            data
            and self.upstream is not None
            and self.up is not None
            and not self.up.closing
            and self.up.reading
        ):
            self.upstream.data_received(data)
        self._event()
        self.settle()

    def _event(self) -> None:
        if not self.busy:
            self.turn()

    def turn(self) -> None:
        """End a turn of the loop that there is not."""
        due, self.due[:] = list(self.due), []
        for call in due:
            call()

    def upstream_closes(self) -> None:
        """Let the upstream end its connection."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None and self.up is not None:
            self.up.closing = True
            upstream.connection_lost(None)
            self._event()

    def settle(self) -> None:
        """Tell connections of the transports they have closed, as the loop would in its next turn."""
        if self.up is not None and self.up.closing and self.upstream is not None:
            self.upstream_closes()
        if self.down.closing and self.client in self.listener.open:
            self.client.connection_lost(None)
            self.settle()

    def end(self) -> None:
        """Let everybody leave, and check that nothing is left."""
        self.turn()
        self.down.closing = True
        self.settle()
        if self.upstream is not None:
            self.upstream_closes()
        assert self.escaped == []
        assert not self.listener.open
        assert not self.deadlines.watched
        assert self.lost == self.opened
