"""Connection pool of one upstream: bounded, reusing the most recently used connection first.

Laws:

- At most ``connections`` are open or opening. At most ``pending`` exchanges wait for one, in order, none longer than
  the connect timeout; a further exchange, and one that waited so long, are refused (:class:`PoolExhausted`).
- An exchange that asks for an endpoint gets a connection to it if the pool has one that is idle, or room for one more.
- If the pool is full, the exchange takes the next connection that is released, whatever its endpoint is. That
  connection is closed, and one to the asked endpoint opened, if the exchange accepts no other endpoint, if the other
  endpoint is out of use, or if the asked one has less than half as many connections.
- A connection is lent to one exchange and comes back by ``release``, whatever happened to it.
- A connection that has switched protocols counts no longer: those of clients are bounded, and requests need not wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authcore.pause_aware import PauseAwareTimeout, PauseAwareTimer
from gateway.wire.descriptors import DIALS, are_descriptors_scarce
from gateway.wire.dial_faults import NO_DESCRIPTOR, dial_fault
from gateway.wire.drive import Signal, settled
from gateway.wire.faults import DescriptorsExhausted, PoolExhausted, caused
from gateway.wire.known_heads import KnownHeads
from gateway.wire.lifetimes import Lifetimes
from gateway.wire.released import is_alive, suits
from gateway.wire.states import in_states
from gateway.wire.unused import UnusedConnections
from gateway.wire.upstream import UpstreamConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.wire.deadlines import Deadlines
    from gateway.wire.endpoint import Endpoint
    from gateway.wire.endpoint_dialler import EndpointDialler
    from gateway.wire.tls import UpstreamTls
    from gateway.wire.write_buffer import WriteBatch

    Dial = Callable[
        [Callable[[], UpstreamConnection], Endpoint | None],
        Awaitable[tuple[asyncio.BaseTransport, UpstreamConnection]],
    ]

_TOOK_LONG: Final = "no connection to the upstream became free in time"
MAX_IDLE: Final = 512


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of a pool; times in seconds. Without ``max_age_seconds`` a connection may live for ever."""

    connections: int
    pending: int
    idle_seconds: float
    connect_timeout_seconds: float
    max_age_seconds: float = 0.0


class UpstreamPool:
    """Connection pool of one upstream.

    Attributes:
        limits: The bounds of the pool.
        opened: Number of connections opened so far.
        failed: Number of connections that could not be opened.
        closed: Number of connections that were opened and are gone.
        open: Number of connections that are open or opening now.
        unused: The open connections that nobody uses.
        tls: TLS towards the upstream; None without it.
        lifetimes: The open connections, lent and unused.
        endpoints: The addresses that ``dial`` leads to; None if it leads elsewhere.
    """

    def __init__(
        self,
        dial: Dial,
        limits: PoolLimits,
        deadlines: Deadlines,
        write_batch: WriteBatch,
        tls: UpstreamTls | None = None,
    ) -> None:
        """`dial` opens a transport for the protocol that its first argument makes, as ``loop.create_connection`` does.

        Its second argument is the endpoint to try first, if there is one.
        """
        self._dial = dial
        self.tls = tls
        self.limits = limits
        self._deadlines = deadlines
        self._write_batch = write_batch
        self.unused = UnusedConnections()
        self._waiting: deque[Signal[UpstreamConnection | None]] = deque()
        self._known = KnownHeads()
        self._closed = False
        self._switched: set[UpstreamConnection] = set()
        self.lifetimes = Lifetimes(self.unused)
        self.opened = self.failed = self.closed = 0
        self.open = 0
        self.endpoints: EndpointDialler | None = None

    def __repr__(self) -> str:
        states = "".join(
            f", {count} {state}" for state, count in in_states(self.lifetimes.connections).items()
        )
        dialling = self.open - len(self.lifetimes.connections)
        return (
            f"<upstream pool: {self.open} of {self.limits.connections} connections ({dialling} opening{states}), "
            f"{self.idle} to lend, {len(self._waiting)} exchanges waiting{', closed' if self._closed else ''}>"
        )

    @property
    def idle(self) -> int:
        """Number of open and unused connections."""
        return len(self.unused)

    @property
    def has_room(self) -> bool:
        """True if the bound lets one more connection be opened."""
        return self.open < self.limits.connections

    @property
    def waiting(self) -> int:
        """Number of exchanges that wait for a connection."""
        return len(self._waiting)

    def idle_connection(
        self, *, must_be_alive: bool, endpoint: Endpoint | None = None
    ) -> UpstreamConnection | None:
        """Lend an unused connection; None if there is none. The arguments are as in :meth:`acquire`."""
        if must_be_alive:
            return self.unused.lend_lasting(endpoint, room=self.has_room)
        return self.unused.lend(endpoint)

    async def acquire(
        self,
        *,
        fresh: bool = False,
        must_be_alive: bool = False,
        endpoint: Endpoint | None = None,
        only_that_endpoint: bool = False,
    ) -> UpstreamConnection:
        """Lend a connection: an idle one (unless `fresh`), else a new one, else the next that is released.

        Args:
            fresh: No connection that was used before, as long as the bound lets one be opened.
            must_be_alive: No used connection that the upstream may have closed: for requests that cannot be sent again.
            endpoint: The endpoint that it should lead to.
            only_that_endpoint: A released connection to another endpoint does not suffice.

        Raises:
            PoolExhausted: too many exchanges are waiting already, or this one waited too long.
            UpstreamTimedOut: connecting took too long.
            UpstreamUnreachable: connecting failed.
            DescriptorsExhausted: the process has no descriptor left.
        """
        if not fresh:
            unused = self.idle_connection(must_be_alive=must_be_alive, endpoint=endpoint)
            if unused is not None:
                return unused
        if endpoint is None:
            connection = await self._next(None, must_be_alive=must_be_alive, only_that_endpoint=False)
        else:
            endpoint.active += 1
            try:
                connection = await self._next(
                    endpoint, must_be_alive=must_be_alive, only_that_endpoint=only_that_endpoint
                )
            finally:
                endpoint.active -= 1
        there = connection.endpoint
        if there is not None:
            there.active += 1
            there.requests += 1
        return connection

    async def _next(
        self, endpoint: Endpoint | None, *, must_be_alive: bool, only_that_endpoint: bool
    ) -> UpstreamConnection:
        """Return a new connection, or the next that is released."""
        while not self.has_room:
            longest = self.unused.longest()
            if longest is not None:  # it leads elsewhere, or is not fresh, and takes up the place
                self._drop(longest)
                continue
            released = await self._queue()
            if released is not None:
                alive = not must_be_alive or is_alive(released)
                if alive and suits(released, endpoint, only_that_endpoint=only_that_endpoint):
                    return released
                self._drop(released)
        return await self._connect(endpoint)

    def _drop(self, connection: UpstreamConnection) -> None:
        """Close a connection that is not lent. Its room is free at once, and is the caller's."""
        self._uncount(connection)
        connection.disown()

    async def _queue(self) -> UpstreamConnection | None:
        """Wait for a released connection; None means that there is room to open one."""
        if len(self._waiting) >= self.limits.pending:
            raise PoolExhausted("too many requests wait for the upstream")
        signal: Signal[UpstreamConnection | None] = Signal()
        seconds = self.limits.connect_timeout_seconds
        timer = PauseAwareTimer(seconds, lambda: signal.fail(PoolExhausted(_TOOK_LONG)))
        self._waiting.append(signal)
        try:
            return await signal
        finally:
            timer.cancel()
            # If it still waits, it timed out or an error was thrown in: the next exchange takes its turn.
            if signal in self._waiting:
                self._waiting.remove(signal)

    async def _connect(self, endpoint: Endpoint | None) -> UpstreamConnection:
        """Open a connection. The dial counts against the bound until it has failed or its connection is lost."""
        if are_descriptors_scarce():
            raise DescriptorsExhausted(NO_DESCRIPTOR)
        DIALS.under_way += 1
        self.open += 1
        dial = asyncio.get_running_loop().create_task(self._dialled(endpoint))
        dial.add_done_callback(DIALS.ended)
        try:
            return await settled(dial)
        except OSError as error:  # TLS errors and timeouts are such too
            # Not by a local variable: the fault's traceback refers to this frame, and that would be a cycle.
            raise caused(self._dial_fault(error), error) from error
        except BaseException:
            # The exchange is gone. The dial goes on, so the count stays right and the next exchange can use the
            # connection.
            dial.add_done_callback(self._adopt)
            raise

    def _dial_fault(self, error: OSError) -> Exception:
        return dial_fault(error, "" if self.endpoints is None else self.endpoints.awaited)

    async def _dialled(self, endpoint: Endpoint | None) -> UpstreamConnection:
        made: list[UpstreamConnection] = []

        def make() -> UpstreamConnection:
            made.append(UpstreamConnection(self._deadlines, self._write_batch, self._known, self._forget))
            return made[-1]

        try:
            async with PauseAwareTimeout(self.limits.connect_timeout_seconds):
                _, connection = await self._dial(make, endpoint)
        except BaseException:
            for one in made:  # when the time was up, its transport may have been connected already
                one.disown()
            self.open -= 1
            self.failed += 1
            self._offer_room()
            raise
        self.opened += 1
        self.lifetimes.begin(connection, self.limits.max_age_seconds)
        if not connection.is_open:
            self._forget(connection)
        return connection

    def _adopt(self, dial: asyncio.Task[UpstreamConnection]) -> None:
        """Return the connection of a dial to the pool, as the exchange that caused it is gone."""
        if dial.cancelled() or dial.exception() is not None:
            return
        connection = dial.result()
        if connection.retired:
            connection.abort()
        elif connection.is_open:
            self._lend_or_idle(connection)

    def release(self, connection: UpstreamConnection) -> None:
        """Take a connection back: it is lent again if it is reusable, and dropped if not."""
        if connection.endpoint is not None:
            connection.endpoint.active -= 1
        if self._closed or not connection.reusable:
            connection.abort()
            return
        self._lend_or_idle(connection)

    def _lend_or_idle(self, connection: UpstreamConnection) -> None:
        """Lend a connection to a waiting exchange; make it idle if none waits."""
        connection.become_idle(self.limits.idle_seconds)
        if not self._hand_over(connection):
            if self._closed or len(self.unused) >= MAX_IDLE:
                connection.abort()
            else:
                self.unused.add(connection)

    def _hand_over(self, connection: UpstreamConnection | None) -> bool:
        """Pass `connection`, or None for the room to open one, to the exchange that has waited longest."""
        while self._waiting:
            signal = self._waiting.popleft()
            if not signal.done:
                signal.set(connection)
                return True
        return False

    def _offer_room(self) -> None:
        """Let the exchange that has waited longest open a connection, if the bound allows one more."""
        if self.has_room:
            self._hand_over(None)

    def _forget(self, connection: UpstreamConnection) -> None:
        """Uncount a connection that is gone, and pass its room on."""
        self._uncount(connection)
        self._offer_room()

    def has_switched(self, connection: UpstreamConnection) -> None:
        """Count out a lent connection that has switched protocols, and pass its room on."""
        self._switched.add(connection)
        self.lifetimes.end(connection)
        self.open -= 1
        self._offer_room()

    def _uncount(self, connection: UpstreamConnection) -> None:
        if connection in self._switched:
            self._switched.discard(connection)
        elif connection in self.lifetimes.connections:
            self.open -= 1
            self.lifetimes.end(connection)
        else:
            return  # its dial has not ended, or it was uncounted
        self.closed += 1
        self.unused.withdraw(connection)
        if connection.endpoint is not None:
            connection.endpoint.open -= 1

    def resize(self, limits: PoolLimits) -> None:
        """Take other bounds; connections that are open keep the life that they have."""
        self.limits = limits
        while self.open > limits.connections and (longest := self.unused.longest()) is not None:
            self._drop(longest)
        for _ in range(min(limits.connections - self.open, len(self._waiting))):
            self._offer_room()

    def close(self) -> None:
        """Drop the idle connections now, and every other one when it is released; follow names no longer."""
        self._closed = True
        if self.endpoints is not None:
            self.endpoints.close()
        for connection in self.unused.clear():
            connection.abort()
