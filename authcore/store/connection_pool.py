"""Connection pool: it opens database connections to an address that may move, and lends each to one user at a time.

asyncpg's own pool fails the caller when one more connection is refused, has no greatest age, and cannot tell the
server of one connection from that of another.

Laws:

- A lent connection leads to the server of the newest connection (:mod:`authcore.store.connections`).
- Every ``look_seconds`` a new connection replaces the oldest: it shows where the address leads now, and bounds the age
  of all. While the server is read-only, this happens every second.
- A waiter gets a returned connection or a new one, whichever comes first. A refused connection fails no waiter while
  others are open.
- After a refusal because of too many connections, the pool does not grow. After a pause it tries one more; the pause
  grows with each refusal.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import asyncpg

from authcore.pause_aware import PauseAwareTimeout
from authcore.store.address import PROGRAM
from authcore.store.connections import Connections
from authcore.store.failures import DRIVER_ERRORS, NoConnection, classify
from authcore.store.kinds import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from authcore.store.address import Address, Opened

READ_ONLY_LOOK_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 300.0
_FIRST_PAUSE: Final = 0.25
_LAST_PAUSE: Final = 30.0
_RETRY_SECONDS: Final = 0.1
_NAME: Final = PROGRAM


class ConnectionPool:
    """Pool of the database connections of one process.

    Attributes:
        most: Most connections by the settings.
        limit: Most connections at the moment: fewer than `most` if the database refused more.
        open: The open connections.
        failed: Called with each error of opening a connection.
        refused: Number of connections refused because there were too many.
        renewed: Number of connections that replaced an older one.
    """

    def __init__(
        self, address: Address, *, fewest: int, most: int, acquire_timeout_seconds: float, look_seconds: float
    ) -> None:
        """Open at most `most` connections; close idle ones after a while, but keep `fewest` of them."""
        self._address = address
        self._fewest = min(fewest, most)
        self.most = self.limit = most
        self._acquire_timeout = acquire_timeout_seconds
        self._look_seconds = look_seconds
        self.open = Connections()
        self.open.suspected = self.suspect
        self._waiters: deque[asyncio.Future[Opened]] = deque()
        self._opening = 0
        self._looking: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._failure: tuple[float, BaseException] | None = None
        self._pause = 0.0
        self._growing: asyncio.TimerHandle | None = None
        self._closed = False
        self.failed: Callable[[BaseException], None] = lambda _: None
        self.refused = self.renewed = 0

    def __repr__(self) -> str:
        read_only = ", read-only" if self.open.is_read_only else ""
        return (
            f"{len(self.open.every)} of {self.limit} connections ({self._opening} opening), "
            f"{len(self.open.free)} to lend{read_only}"
        )

    # -- lending ---------------------------------------------------------------------------------------------------

    async def acquire(self) -> Opened:
        """Lend a connection.

        Raises:
            Exception: whatever the last attempt to open one has raised; ``NoConnection`` when all were in use;
                ``TimeoutError`` when none could be opened in time.
        """
        if self._closed:
            raise asyncpg.InterfaceError("the store is closed")
        while self.open.free:
            one = self.open.free.pop()
            if self.open.is_good(one):
                return one
            self.open.drop(one)
        loop = asyncio.get_running_loop()
        asked = loop.time()
        waiter: asyncio.Future[Opened] = loop.create_future()
        self._waiters.append(waiter)
        self._open_more()
        try:
            # Where no connection is open, one may be found at the last host only.
            further = 0 if self.open.every else self._address.further_seconds
            async with PauseAwareTimeout(self._acquire_timeout + further):
                return await waiter
        except TimeoutError:
            self._take_back(waiter)
            if self._failure is not None and self._failure[0] >= asked:
                raise self._failure[1] from None
            if not self.open.every:  # an attempt to open one is under way, and nothing answers it
                raise
            raise NoConnection(f"all {len(self.open.every)} connections are in use") from None
        except BaseException:
            self._take_back(waiter)
            raise

    def release(self, one: Opened) -> None:
        """Take a connection back; one that is closed, or retired meanwhile, is not lent again."""
        one.used = asyncio.get_running_loop().time()
        if self._closed or len(self.open.every) > self.limit or not self.open.is_good(one):
            self.open.drop(one)
        elif one.connection.is_in_transaction():  # its borrower went away inside a transaction
            one.connection.terminate()
            self.open.drop(one)
        else:
            self._give(one)
        self._open_more()

    def _take_back(self, waiter: asyncio.Future[Opened]) -> None:
        """See that a connection that came too late for its waiter is not lost."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self.release(waiter.result())

    def _give(self, one: Opened) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(one)
                return
        self.open.free.append(one)

    # -- opening ---------------------------------------------------------------------------------------------------

    def _open_more(self) -> None:
        """Open what those who wait would need, as far as there is room."""
        if self._closed:
            return
        wanted = len(self._waiters) - self._opening
        room = self.limit - len(self.open.every) - self._opening
        for _ in range(min(wanted, room)):
            self._opening += 1
            self.open.begin(self._open_one())
        if self._keeping is None:
            self._keeping = asyncio.get_running_loop().create_task(self._keep(), name="connections")

    async def _open_one(self) -> None:
        try:
            one = await self._address.open(_NAME)
        except DRIVER_ERRORS as error:
            self._opening -= 1
            self._note_failure(error)
        except BaseException:
            self._opening -= 1
            raise
        else:
            self._opening -= 1
            self._take_in(one)

    def _take_in(self, one: Opened) -> bool:
        """Make a new connection one of ours, unless its server is the wrong one; return whether it is."""
        if self._closed or not self.open.follow(one):
            one.connection.terminate()
            return False
        self._failure = None
        self.open.every.add(one)
        self._give(one)
        if self.limit < self.most and self._growing is None:
            self._pause = 0.0
            self._grow_later()
        return True

    def _note_failure(self, error: BaseException) -> None:
        loop = asyncio.get_running_loop()
        self._failure = (loop.time(), error.with_traceback(None))
        self.failed(error)
        if classify(error).kind is FailureKind.CONNECTIONS:
            self.refused += 1
            self.limit = max(1, len(self.open.every) + self._opening)
            self._grow_later()
            if not self.open.every and not self._closed:
                loop.call_later(_RETRY_SECONDS, self._open_more)
        elif self.open.every:
            loop.call_later(_RETRY_SECONDS, self._open_more)
        elif not self._opening:
            waiters, self._waiters = self._waiters, deque()
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(error)

    def _grow_later(self) -> None:
        if self._growing is None and not self._closed:
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LAST_PAUSE)
            self._growing = asyncio.get_running_loop().call_later(self._pause, self._grow)

    def _grow(self) -> None:
        """Raise the limit by one. Whether the server permits that shows when the connection is opened."""
        self._growing = None
        self.limit = min(self.limit + 1, self.most)
        self._open_more()

    # -- following the address -------------------------------------------------------------------------------------

    def suspect(self) -> None:
        """See soon where the address leads."""
        self._wake.set()

    async def probe(self, seconds: float) -> None:
        """Ask for a sign of life by one more connection, each host for `seconds`; that there are too many is one.

        Raises:
            Exception: whatever :data:`authcore.store.failures.DRIVER_ERRORS` lists.
        """
        try:
            one = await self._address.open(_NAME, seconds)
        except DRIVER_ERRORS as error:
            if classify(error).kind is not FailureKind.CONNECTIONS:
                raise
        else:
            self._take_in(one)

    async def look(self) -> None:
        """See where the address leads now: open a connection, and follow it. One look at a time, however many ask."""
        if self._closed:
            return
        if self._looking is None or self._looking.done():
            self._looking = self.open.begin(self._look())
        await asyncio.shield(self._looking)

    async def _look(self) -> None:
        try:
            one = await self._renewal()
        except DRIVER_ERRORS as error:
            self._note_failure(error)
            return
        oldest = self.open.oldest()
        if self._take_in(one) and oldest is not None and oldest in self.open.free:
            self.open.free.remove(oldest)
            one.used = oldest.used
            self.open.drop(oldest)
        self.renewed += 1

    async def _renewal(self) -> Opened:
        try:
            return await self._address.open(_NAME)
        except DRIVER_ERRORS as error:
            oldest = self.open.oldest()
            is_full = classify(error).kind is FailureKind.CONNECTIONS
            if not is_full or oldest is None or len(self.open.every) == 1:
                raise
        self.open.free.remove(oldest)
        with suppress(*DRIVER_ERRORS):
            await self.open.close_one(oldest)
        return await self._address.open(_NAME)

    async def _keep(self) -> None:
        """Look again and again, and close what has been idle for long."""
        while not self._closed:
            often = self.open.is_read_only
            with suppress(TimeoutError):
                async with asyncio.timeout(READ_ONLY_LOOK_SECONDS if often else self._look_seconds):
                    await self._wake.wait()
            self._wake.clear()
            if self.open.every or often:
                await self.look()
            since = asyncio.get_running_loop().time() - IDLE_SECONDS
            while self.open.free and len(self.open.every) > self._fewest and self.open.free[0].used < since:
                self.open.drop(self.open.free.popleft())

    async def close(self) -> None:
        """Close every connection, those in use after a moment's grace."""
        self._closed = True
        if self._growing is not None:
            self._growing.cancel()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(asyncpg.InterfaceError("the store is closed"))
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        await self.open.close()
