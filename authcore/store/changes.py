"""What the database tells of changed rows, heard on a connection of its own.

Laws:

- Between ``begin_gap`` and ``end_gap`` changes may go unheard, and only there: a gap begins when the connection is lost
  or falls silent or the triggers are gone, and ends when the channel is listened to again.
- Whether it is alive is asked every second: a server that neither answers nor closes is noticed in two.
- It never gives up. Back at once when it can, then twice as late each time, up to a second.
- How late changes are heard is measured by an echo: each second the connection tells itself something, on a channel of
  its own, which comes behind all that others have told.
- Without its triggers the database tells nothing: that is looked at every second too, and told.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

import asyncpg

from authcore.errors import StoreUnavailable
from authcore.figures import Figure
from authcore.store import triggers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authcore.store.rows import Change

KEEPALIVE_SECONDS: Final = 1.0
_FIRST_PAUSE: Final = 0.05
_LAST_PAUSE: Final = 1.0


_LOSSES: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresError,
    asyncpg.InternalClientError,
    StoreUnavailable,
)
"""Whatever of these it was: there is a gap, and the next attempt."""


class Hearing(StrEnum):
    """How well changes are heard."""

    PUSHED = "pushed"
    """Every change, as it is committed."""
    AWAY = "away"
    """None for the moment: the connection is lost."""
    UNTOLD = "untold"
    """None: the database has no triggers, or not all of them."""


class Listener(Protocol):
    """Who wants to know."""

    def hear(self, change: Change) -> None:
        """Rows have changed."""

    def begin_gap(self) -> None:
        """From now on changes may go unheard."""

    def end_gap(self) -> None:
        """Changes are heard again."""


class Store(Protocol):
    """Who should know what becomes of the database."""

    def suspect(self) -> None:
        """Find out whether it still answers: here it fell silent."""

    async def recover(self) -> None:
        """Take up work again: here it answers."""


class Changes:
    """Listens, until it is cancelled."""

    def __init__(self, url: str, listener: Listener, store: Store, *, connect_timeout_seconds: float) -> None:
        self._url = url
        self._listener = listener
        self._store = store
        self._connect_timeout = connect_timeout_seconds
        self._pause = 0.0
        self.hearing = Hearing.AWAY
        self.tried = asyncio.Event()
        """The first attempt has come to something, or to nothing."""
        self._messages = self._connected = self._lost = 0
        self._called = self._echoed = 0.0  # when, by the loop's clock
        self._lag = 0.0

    async def run(self) -> None:
        """Listen for ever."""
        self._echoed = asyncio.get_running_loop().time()
        while True:
            with suppress(*_LOSSES):
                await self._listen()
            self.tried.set()
            if self.hearing is not Hearing.AWAY:
                self._lost += 1
                self.hearing = Hearing.AWAY
                self._listener.begin_gap()
            await asyncio.sleep(self._pause)
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LAST_PAUSE)

    async def _listen(self) -> None:
        """Listen on one connection for as long as it lives."""
        connection = await asyncpg.connect(
            self._url,
            timeout=self._connect_timeout,
            command_timeout=KEEPALIVE_SECONDS,
            server_settings={"application_name": "whatomate-gateway changes"},
        )
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        try:
            await connection.add_listener(triggers.CHANNEL, self._hear)
            await connection.add_listener(_echo_of(connection), self._hear_echo)
            self._connected += 1
            while not lost.is_set():
                await self._check(connection)
                with suppress(TimeoutError):
                    async with asyncio.timeout(KEEPALIVE_SECONDS):
                        await lost.wait()
        except TimeoutError:
            self._store.suspect()
            raise
        finally:
            connection.terminate()

    async def _check(self, connection: Any) -> None:
        """Ask for a sign of life, and whether there is anything to be told by."""
        told = await connection.fetchval(triggers.COUNT, list(triggers.NAMES)) == triggers.TRIGGERS
        self._pause = 0.0
        hearing = Hearing.PUSHED if told else Hearing.UNTOLD
        if hearing is not self.hearing:
            # First, or whoever is forgotten at the end of the gap would meet a circuit that is still open.
            await self._store.recover()
            was, self.hearing = self.hearing, hearing
            if was is Hearing.PUSHED:  # the triggers are gone, and since when is not told
                self._listener.begin_gap()
            else:
                self._listener.end_gap()
        self.tried.set()
        if (
            self._called <= self._echoed
        ):  # else the last one is still to come, and counts from when it was sent
            self._called = asyncio.get_running_loop().time()
        await connection.execute("SELECT pg_notify($1, '')", _echo_of(connection))

    def _hear_echo(self, *_: object) -> None:
        self._echoed = asyncio.get_running_loop().time()
        self._lag = self._echoed - self._called

    def _lag_seconds(self) -> float:
        now = asyncio.get_running_loop().time()
        if self.hearing is Hearing.AWAY:
            return now - self._echoed
        return max(self._lag, now - self._called if self._called > self._echoed else 0.0)

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self._messages += 1
        self._listener.hear(triggers.parse(str(payload)))

    def figures(self) -> Iterable[Figure]:
        """What to publish."""
        yield Figure(
            "pushed",
            "1 while changes are heard as they are committed; else time alone bounds how late they are noticed.",
            lambda: float(self.hearing is Hearing.PUSHED),
        )
        yield Figure(
            "lag_seconds",
            "How late a change would be heard, as measured by an echo each second; while away, for how long.",
            self._lag_seconds,
        )
        yield Figure("messages", "Changes heard.", lambda: self._messages, counts=True)
        yield Figure(
            "connected", "Times the channel was listened to anew.", lambda: self._connected, counts=True
        )
        yield Figure("lost", "Times the connection was lost or fell silent.", lambda: self._lost, counts=True)


def _echo_of(connection: Any) -> str:
    """Return a channel that no other connection listens to."""
    return f"gateway_echo_{connection.get_server_pid()}"
