"""Connection pool of one upstream: bounded, reusing the most recently used connection first.

Laws:

- At most ``connections`` are open or opening. At most ``pending`` exchanges wait for one, in order, none longer than
  the connect timeout; a further exchange is refused at once (:class:`PoolExhausted`).
- An exchange that asks for an endpoint gets a connection to it, as long as the bound and the endpoint let it: where
  all are in use it takes the next that is released, unless it has to be that endpoint, or that endpoint has far fewer.
- A connection is lent to one exchange and comes back by ``release``, whatever happened to it.
- A connection that has reached its longest life is closed when it is unused, and not lent again otherwise. The life is
  up to a tenth shorter, by chance, so that connections opened together do not end together.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.wire.descriptors import DIALS, NO_ROOM, are_descriptors_scarce
from gateway.wire.drive import Signal, settled
from gateway.wire.faults import (
    DescriptorsExhausted,
    PoolExhausted,
    UpstreamNotConnected,
    UpstreamTimedOut,
    UpstreamUnreachable,
    caused,
)
from gateway.wire.known_heads import KnownHeads
from gateway.wire.states import in_states
from gateway.wire.tls import upstream_fault
from gateway.wire.unused import UnusedConnections
from gateway.wire.upstream import UpstreamConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from gateway.wire.deadlines import Deadlines
    from gateway.wire.endpoint import Endpoint
    from gateway.wire.round_robin import Endpoints
    from gateway.wire.tls import UpstreamTls
    from gateway.wire.write_buffer import WriteBuffers

    Dial = Callable[
        [Callable[[], UpstreamConnection], Endpoint | None],
        Awaitable[tuple[asyncio.BaseTransport, UpstreamConnection]],
    ]

MAX_IDLE: Final = 512
_NO_DESCRIPTOR: Final = "the process has no file descriptor left for a connection to the upstream"
_JITTER: Final = 0.1
_FEWER: Final = 2
"""An endpoint has far fewer connections than another one if it has so many times fewer."""


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
        retired: Number of connections that were not used again because of their age, or because a name moved.
        endpoints: The addresses that ``dial`` leads to; None if it leads elsewhere.
    """

    def __init__(
        self,
        dial: Dial,
        limits: PoolLimits,
        deadlines: Deadlines,
        outbox: WriteBuffers,
        tls: UpstreamTls | None = None,
    ) -> None:
        """`dial` opens a transport for the protocol that its first argument makes, as ``loop.create_connection`` does.

        Its second argument is the endpoint to try first, if there is one.
        """
        self._dial = dial
        self.tls = tls
        self.limits = limits
        self._deadlines = deadlines
        self._outbox = outbox
        self.unused = UnusedConnections()
        self._waiting: deque[Signal[UpstreamConnection | None]] = deque()
        self._known = KnownHeads()
        self._closed = False
        self._every: dict[UpstreamConnection, asyncio.TimerHandle | None] = {}
        """All open connections, each with the timer that ends its life."""
        self.opened = self.failed = self.closed = self.retired = 0
        self.open = 0
        self.endpoints: Endpoints | None = None

    def __repr__(self) -> str:
        states = "".join(f", {count} {state}" for state, count in in_states(self._every).items())
        dialling = self.open - len(self._every)
        return (
            f"<upstream pool: {self.open} of {self.limits.connections} connections ({dialling} opening{states}), "
            f"{self.idle} to lend, {len(self._waiting)} exchanges waiting{', closed' if self._closed else ''}>"
        )

    @property
    def connections(self) -> Collection[UpstreamConnection]:
        """The open connections, lent and unused."""
        return self._every

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

    def idle_connection(self, *, look: bool, to: Endpoint | None = None) -> UpstreamConnection | None:
        """Lend an unused connection; None if there is none. `look` and `to` are as in :meth:`acquire`."""
        return self.unused.lend_lasting(to, room=self.has_room) if look else self.unused.lend(to)

    async def acquire(
        self, *, fresh: bool = False, look: bool = False, to: Endpoint | None = None, strict: bool = False
    ) -> UpstreamConnection:
        """Lend a connection: an idle one (unless `fresh`), else a new one, else the next that is released.

        Args:
            fresh: No connection that was used before, as long as the bound lets one be opened.
            look: No used connection that the upstream may have closed: for requests that cannot be sent again.
            to: The endpoint that it should lead to.
            strict: Of those that are released, only one that leads there will do.

        Raises:
            PoolExhausted: too many exchanges are waiting already.
            UpstreamTimedOut: connecting or waiting took too long.
            UpstreamUnreachable: connecting failed.
            DescriptorsExhausted: the process has no descriptor left.
        """
        if not fresh:
            unused = self.idle_connection(look=look, to=to)
            if unused is not None:
                return unused
        if to is None:
            connection = await self._next(None, look=look, strict=False)
        else:
            to.active += 1
            try:
                connection = await self._next(to, look=look, strict=strict)
            finally:
                to.active -= 1
        endpoint = connection.endpoint
        if endpoint is not None:
            endpoint.active += 1
            endpoint.requests += 1
        return connection

    async def _next(self, to: Endpoint | None, *, look: bool, strict: bool) -> UpstreamConnection:
        """Return a new connection, or the next that is released."""
        while not self.has_room:
            longest = self.unused.longest()
            if longest is not None:  # it leads elsewhere, or is not fresh, and takes up the place
                self._drop(longest)
                continue
            released = await self._queue()
            if released is not None:
                if not (look and not _lasts(released)) and _suits(released, to, strict=strict):
                    return released
                self._drop(released)
        return await self._connect(to)

    def _drop(self, connection: UpstreamConnection) -> None:
        """Close a connection that is not lent. Its room is free at once, and is the caller's."""
        self._uncount(connection)
        connection.disown()

    async def _queue(self) -> UpstreamConnection | None:
        """Wait for a released connection; None means that there is room to open one."""
        if len(self._waiting) >= self.limits.pending:
            raise PoolExhausted("too many requests wait for the upstream")
        signal: Signal[UpstreamConnection | None] = Signal()
        timer = asyncio.get_running_loop().call_later(
            self.limits.connect_timeout_seconds,
            lambda: signal.fail(UpstreamTimedOut("no connection to the upstream became free in time")),
        )
        self._waiting.append(signal)
        try:
            return await signal
        finally:
            timer.cancel()
            if (
                signal in self._waiting
            ):  # it timed out, or an error was thrown in: the next exchange takes its turn
                self._waiting.remove(signal)

    async def _connect(self, to: Endpoint | None) -> UpstreamConnection:
        """Open a connection. The dial counts against the bound until it has failed or its connection is lost."""
        if are_descriptors_scarce():
            raise DescriptorsExhausted(_NO_DESCRIPTOR)
        DIALS.under_way += 1
        self.open += 1
        dial = asyncio.get_running_loop().create_task(self._dialled(to))
        dial.add_done_callback(DIALS.ended)
        try:
            return await settled(dial)
        except ssl.SSLError as error:
            raise caused(upstream_fault(error), error) from error
        except TimeoutError as error:
            raise caused(UpstreamNotConnected(self._too_late()), error) from error
        except OSError as error:
            if error.errno in NO_ROOM:
                raise caused(DescriptorsExhausted(_NO_DESCRIPTOR), error) from error
            words = error.strerror or str(error) or type(error).__name__
            unreachable = UpstreamUnreachable(f"the upstream cannot be reached: {words}")
            raise caused(unreachable, error) from error
        except BaseException:
            # The exchange is gone. The dial goes on, so the count stays right and the next exchange can use the
            # connection.
            dial.add_done_callback(self._spare)
            raise

    def _too_late(self) -> str:
        name = "" if self.endpoints is None else self.endpoints.awaited
        if name:
            return f"no name server answered for {name} in time"
        return "the upstream did not accept a connection in time"

    async def _dialled(self, to: Endpoint | None) -> UpstreamConnection:
        made: list[UpstreamConnection] = []

        def make() -> UpstreamConnection:
            made.append(UpstreamConnection(self._deadlines, self._outbox, self._known, self._forget))
            return made[-1]

        try:
            async with asyncio.timeout(self.limits.connect_timeout_seconds):
                _, connection = await self._dial(make, to)
        except BaseException:
            for one in made:  # when the time was up, its transport may have been connected already
                one.disown()
            self.open -= 1
            self.failed += 1
            self._offer_room()
            raise
        self.opened += 1
        if connection.is_open:
            self._every[connection] = self._life(connection)
        return connection

    def _life(self, connection: UpstreamConnection) -> asyncio.TimerHandle | None:
        """Start the timer that ends a connection's life, if it has an end."""
        seconds = self.limits.max_age_seconds * (1 - _JITTER * random.random())  # noqa: S311 -- no secret
        loop = asyncio.get_running_loop()
        return loop.call_later(seconds, self._retire, connection) if seconds else None

    def retire(self, endpoint: Endpoint, most: int | None) -> None:
        """Use `most` connections to an endpoint, or all, no more: the longest unused are closed first."""
        unused = [connection for connection in self.unused if connection.endpoint is endpoint]
        busy = [
            connection
            for connection in self._every
            if connection.endpoint is endpoint and not connection.retired and connection not in unused
        ]
        for connection in [*unused, *busy][:most]:
            self._retire(connection)

    def _retire(self, connection: UpstreamConnection) -> None:
        """Close a connection if it is unused; else let it not be lent again."""
        self.retired += 1
        connection.retired = True
        if self.unused.withdraw(connection):
            connection.abort()

    def _spare(self, dial: asyncio.Task[UpstreamConnection]) -> None:
        """Return the connection of a dial to the pool, as the exchange that caused it is gone."""
        if dial.cancelled() or dial.exception() is not None:
            return
        connection = dial.result()
        if connection.retired:
            connection.abort()
        elif connection.is_open:
            self._keep(connection)

    def release(self, connection: UpstreamConnection) -> None:
        """Take a connection back: it is lent again if it is reusable, and dropped if not."""
        if connection.endpoint is not None:
            connection.endpoint.active -= 1
        if self._closed or not connection.reusable:
            connection.abort()
            return
        self._keep(connection)

    def _keep(self, connection: UpstreamConnection) -> None:
        """Lend a connection to a waiting exchange; make it idle if none waits."""
        connection.rest(self.limits.idle_seconds)
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

    def _uncount(self, connection: UpstreamConnection) -> None:
        self.open -= 1
        self.closed += 1
        timer = self._every.pop(connection, None)
        if timer is not None:
            timer.cancel()
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


def _lasts(released: UpstreamConnection) -> bool:
    """Return whether the upstream has not closed a connection that was released, and is not expected to."""
    return released.is_lasting(doubtful=False) and released.is_silent


def _suits(released: UpstreamConnection, to: Endpoint | None, *, strict: bool) -> bool:
    """Return whether an exchange that wants `to` takes a connection that was released, where there is no room.

    Else it is closed, and one to `to` is opened in its place: an endpoint that is new, or is back, would get none as
    long as all connections are in use.
    """
    there = released.endpoint
    if to is None or there is None or there is to:
        return True
    return not strict and there.available and (to.open + to.dialling) * _FEWER >= there.open
