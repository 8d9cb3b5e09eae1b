"""Connection pool of one upstream: bounded, reusing the most recently used connection first.

Laws:

- At most ``connections`` are open or opening. At most ``pending`` exchanges wait for one, in order, none longer than
  the connect timeout; a further exchange is refused at once (:class:`PoolExhausted`).
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
)
from gateway.wire.known_heads import KnownHeads
from gateway.wire.states import in_states
from gateway.wire.tls import upstream_fault
from gateway.wire.upstream import UpstreamConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from gateway.wire.deadlines import Deadlines
    from gateway.wire.endpoint import Endpoint
    from gateway.wire.round_robin import Endpoints
    from gateway.wire.tls import UpstreamTls
    from gateway.wire.write_buffer import WriteBuffers

    Dial = Callable[
        [Callable[[], UpstreamConnection]], Awaitable[tuple[asyncio.BaseTransport, UpstreamConnection]]
    ]

MAX_IDLE: Final = 512
_NO_DESCRIPTOR: Final = "the process has no file descriptor left for a connection to the upstream"
_JITTER: Final = 0.1
_PROOF: Final = 32
"""An upstream with so many idle connections keeps them."""


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
        """`dial` opens a transport for the protocol that its argument makes, as ``loop.create_connection`` does."""
        self._dial = dial
        self.tls = tls
        self.limits = limits
        self._deadlines = deadlines
        self._outbox = outbox
        self._idle: list[UpstreamConnection] = []
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
            f"{len(self._idle)} to lend, {len(self._waiting)} exchanges waiting{', closed' if self._closed else ''}>"
        )

    @property
    def connections(self) -> Collection[UpstreamConnection]:
        """The open connections, lent and unused."""
        return self._every

    @property
    def idle(self) -> int:
        """Number of open and unused connections."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Number of exchanges that wait for a connection."""
        return len(self._waiting)

    def idle_connection(self, *, look: bool = False) -> UpstreamConnection | None:
        """Lend the most recently used idle connection; None if there is none.

        With `look`, none that the upstream may have closed: for requests that cannot be sent again.
        """
        if look:
            return self._lasting_connection()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    def _lasting_connection(self) -> UpstreamConnection | None:
        """Lend an idle connection that the upstream has not closed, and is not expected to be closing now.

        The kernel is asked, as it may know more than the event loop. A close is expected of an upstream that has just
        answered and has closed another connection behind as many answers, or is not known to keep any.
        """
        doubtful = len(self._idle) < _PROOF and self.open < self.limits.connections
        for place in range(len(self._idle) - 1, -1, -1):
            connection = self._idle[place]
            if not connection.is_open:
                del self._idle[place]
            elif connection.is_lasting(doubtful=doubtful):
                del self._idle[place]
                if connection.is_silent:
                    return connection
                connection.has_ended(connection.served)
                connection.abort()
        return None

    async def acquire(self, *, fresh: bool = False, look: bool = False) -> UpstreamConnection:
        """Lend a connection: an idle one (unless `fresh`), else a new one, else the next that is released.

        With `look`, no used connection that the upstream has closed; see :meth:`idle_connection`.

        Raises:
            PoolExhausted: too many exchanges are waiting already.
            UpstreamTimedOut: connecting or waiting took too long.
            UpstreamUnreachable: connecting failed.
            DescriptorsExhausted: the process has no descriptor left.
        """
        if not fresh and (connection := self.idle_connection(look=look)) is not None:
            return connection
        if self.open >= self.limits.connections:
            if self._idle:  # a fresh connection is wanted, and an idle one takes up its place
                self._idle.pop(0).abort()
            else:
                lent = await self._queue()
                if lent is not None and (not look or (lent.is_lasting(doubtful=False) and lent.is_silent)):
                    return lent
                if lent is not None:
                    lent.abort()
        return await self._connect()

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

    async def _connect(self) -> UpstreamConnection:
        """Open a connection. The dial counts against the bound until it has failed or its connection is lost."""
        if are_descriptors_scarce():
            raise DescriptorsExhausted(_NO_DESCRIPTOR)
        DIALS.under_way += 1
        self.open += 1
        dial = asyncio.get_running_loop().create_task(self._dialled())
        dial.add_done_callback(DIALS.ended)
        try:
            return await settled(dial)
        except ssl.SSLError as error:
            raise upstream_fault(error) from error
        except TimeoutError as error:
            raise UpstreamNotConnected(self._too_late()) from error
        except OSError as error:
            if error.errno in NO_ROOM:
                raise DescriptorsExhausted(_NO_DESCRIPTOR) from error
            words = error.strerror or str(error) or type(error).__name__
            raise UpstreamUnreachable(f"the upstream cannot be reached: {words}") from error
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

    async def _dialled(self) -> UpstreamConnection:
        made: list[UpstreamConnection] = []

        def make() -> UpstreamConnection:
            made.append(UpstreamConnection(self._deadlines, self._outbox, self._known, self._forget))
            return made[-1]

        try:
            async with asyncio.timeout(self.limits.connect_timeout_seconds):
                _, connection = await self._dial(make)
        except BaseException:
            for one in made:  # when the time was up, its transport may have been connected already
                one.disown()
            self.open -= 1
            self.failed += 1
            self._hand_over(None)
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
        idle = [connection for connection in self._idle if connection.endpoint is endpoint]
        busy = [
            connection
            for connection in self._every
            if connection.endpoint is endpoint and not connection.retired and connection not in idle
        ]
        for connection in [*idle, *busy][:most]:
            self._retire(connection)

    def _retire(self, connection: UpstreamConnection) -> None:
        """Close a connection if it is unused; else let it not be lent again."""
        self.retired += 1
        connection.retired = True
        if connection in self._idle:
            self._idle.remove(connection)
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
        if self._closed or not connection.reusable:
            connection.abort()
            return
        self._keep(connection)

    def _keep(self, connection: UpstreamConnection) -> None:
        """Lend a connection to a waiting exchange; make it idle if none waits."""
        connection.rest(self.limits.idle_seconds)
        if not self._hand_over(connection):
            if self._closed or len(self._idle) >= MAX_IDLE:
                connection.abort()
            else:
                self._idle.append(connection)

    def _hand_over(self, connection: UpstreamConnection | None) -> bool:
        """Pass `connection`, or None for the room to open one, to the exchange that has waited longest."""
        while self._waiting:
            signal = self._waiting.popleft()
            if not signal.done:
                signal.set(connection)
                return True
        return False

    def _forget(self, connection: UpstreamConnection) -> None:
        """Uncount a connection that is gone, and pass its room on."""
        self.open -= 1
        self.closed += 1
        timer = self._every.pop(connection, None)
        if timer is not None:
            timer.cancel()
        if connection.endpoint is not None:
            connection.endpoint.open -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        self._hand_over(None)

    def close(self) -> None:
        """Drop the idle connections now, and every other one when it is released; follow names no longer."""
        self._closed = True
        if self.endpoints is not None:
            self.endpoints.close()
        for connection in self._idle:
            connection.abort()
        self._idle.clear()
