"""What the database tells of changed rows, heard on a connection of its own.

Laws:

- Between ``begin_gap`` and ``end_gap`` changes may go unheard, and only there: a gap begins when the connection is lost
  or falls silent or the triggers are gone, and ends when the channel is listened to again.
- Whether it is alive is asked every second: a server that neither answers nor closes is noticed in two.
- It never gives up. Back at once when it can, then twice as late each time, up to a second.
- How late changes are heard is measured by an echo: each second something is notified over a connection that statements
  go over, on a channel of this connection's own. PostgreSQL notifies within one server and one database: an echo that
  is heard proves that what is listened to is what is read from, and comes behind all that others have told.
- "Pushed" is what has been proven: from the first echo on, until three in a row are late or statements go elsewhere.
- While an echo is awaited nothing is asked on this connection: a pooler would hand over with an answer what it has
  heard, and that proves nothing of the time in between.
- Without its triggers the database tells nothing: that is looked at every second too, and told. Triggers that were
  switched off and on meanwhile are not those that they were, and there was a gap.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol
from uuid import uuid4

from authcore.errors import StoreUnavailable
from authcore.figures import Figure
from authcore.store import triggers
from authcore.store.failures import DRIVER_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from authcore.store.address import Address, Opened, Server
    from authcore.store.rows import Change

KEEPALIVE_SECONDS: Final = 1.0
_FIRST_PAUSE: Final = 0.05
_LAST_PAUSE: Final = 1.0


_LATE: Final = 3
"""Echoes in a row that may be late; with the last of them nothing is proven any more."""
_NAME: Final = "whatomate-gateway changes"
_LOSSES: Final = (*DRIVER_ERRORS, StoreUnavailable)
"""Whatever of these it was: there is a gap, and the next attempt."""


class Hearing(StrEnum):
    """How well changes are heard."""

    PUSHED = "pushed"
    """Every change, as it is committed."""
    AWAY = "away"
    """None for the moment: the connection is lost."""
    UNTOLD = "untold"
    """None: the database has no triggers, or not all of them."""
    UNPROVEN = "unproven"
    """Perhaps none: no echo comes back, as behind a pooler that shares connections, or from another server."""


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

    async def echo(self, channel: str, payload: str) -> None:
        """Notify a channel, over a connection that statements go over."""

    async def look(self) -> None:
        """See where the database's address leads now."""

    @property
    def server(self) -> Server | None:
        """The server that statements go to."""

    def tell_moves(self, moved: Callable[[], None]) -> None:
        """Call `moved` when that is another one."""


class Changes:
    """Listens, until it is cancelled."""

    def __init__(self, address: Address, listener: Listener, store: Store) -> None:
        """Listen at `address`; `store` is what verdicts are read from."""
        self._address = address
        self._listener = listener
        self._store = store
        self._pause = 0.0
        self.hearing = Hearing.AWAY
        self.tried = asyncio.Event()
        """The first attempt has come to something, or to nothing."""
        self._messages = self._connected = self._lost = 0
        self._called = self._echoed = 0.0  # when, by the loop's clock
        self._lag = 0.0
        self._channel = ""  # of the echo; no other connection has it
        self._number = self._late = 0
        self._is_proven = False
        self._heard = asyncio.Event()
        self._ended = asyncio.Event()
        self._marks = ""
        store.tell_moves(self._moved)

    async def run(self) -> None:
        """Listen for ever."""
        self._echoed = asyncio.get_running_loop().time()
        while True:
            with suppress(*_LOSSES):
                await self._listen()
            self.tried.set()
            self._lose()
            await asyncio.sleep(self._pause)
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LAST_PAUSE)

    def _lose(self) -> None:
        self._is_proven = False
        if self.hearing is not Hearing.AWAY:
            self._lost += 1
            self.hearing = Hearing.AWAY
            self._listener.begin_gap()

    def _moved(self) -> None:
        """Take notice that statements go elsewhere: what was read is in question, and what is heard proves nothing."""
        if self.hearing is Hearing.AWAY:
            self._listener.begin_gap()  # once more: since the last one verdicts came from where statements went then
        self._lose()
        self._end(self._ended)

    def _end(self, ended: asyncio.Event) -> None:
        """Let nothing of a connection be waited for any more."""
        ended.set()
        if ended is self._ended:
            self._heard.set()

    async def _listen(self) -> None:
        """Listen on one connection for as long as it lives."""
        ended = self._ended = asyncio.Event()
        opened = await self._address.open(_NAME)
        connection = opened.connection
        connection.add_termination_listener(lambda _: self._end(ended))
        self._channel, self._late, self._is_proven, self._marks = f"gateway_echo_{uuid4().hex}", 0, False, ""
        try:
            await connection.add_listener(triggers.CHANNEL, self._hear)
            await connection.add_listener(self._channel, self._hear_echo)
            self._connected += 1
            while not ended.is_set():
                await self._check(opened, ended)
        except TimeoutError:
            self._store.suspect()
            raise
        finally:
            connection.terminate()

    async def _check(self, opened: Opened, ended: asyncio.Event) -> None:
        """Ask for a sign of life, whether there is anything to be told by, and for an echo; for a second."""
        begun = asyncio.get_running_loop().time()
        async with asyncio.timeout(KEEPALIVE_SECONDS):
            row = await opened.connection.fetchrow(triggers.COUNT, list(triggers.NAMES))
        told, marks = row is not None and row["count"] == triggers.TRIGGERS, row["marks"] if row else ""
        self._pause = 0.0
        if self.hearing is not Hearing.PUSHED:
            # First, or whoever is forgotten at the end of the gap would meet a circuit that is still open.
            await self._store.recover()
        if self.hearing is Hearing.PUSHED and marks != self._marks:
            self._turn(Hearing.UNTOLD)
        self._marks = marks
        is_sent = await self._echo(opened, ended)
        if not ended.is_set():
            if not told:
                self._turn(Hearing.UNTOLD)
            elif self._is_proven:
                self._turn(Hearing.PUSHED)
            elif is_sent:
                self._turn(Hearing.UNPROVEN)
            self.tried.set()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(begun + KEEPALIVE_SECONDS):
                    await ended.wait()

    def _turn(self, hearing: Hearing) -> None:
        """Hear changes in another way from now on."""
        was, self.hearing = self.hearing, hearing
        if was is hearing:
            return
        if was is Hearing.PUSHED:  # and since when they are not heard is not told
            self._listener.begin_gap()
        elif hearing is Hearing.PUSHED or was is Hearing.AWAY:
            self._listener.end_gap()

    async def _echo(self, opened: Opened, ended: asyncio.Event) -> bool:
        """Have an echo sent, and wait until it is heard; return whether it was sent."""
        self._number += 1
        self._heard.clear()
        if (
            self._called <= self._echoed
        ):  # else the last one is still to come, and counts from when it was sent
            self._called = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(KEEPALIVE_SECONDS):
                await self._store.echo(self._channel, str(self._number))
        except TimeoutError:
            self._store.suspect()
            return False
        except StoreUnavailable:
            return False  # which says nothing of what is heard
        with suppress(TimeoutError):
            async with asyncio.timeout(KEEPALIVE_SECONDS):
                await self._heard.wait()
        if ended.is_set():
            return True
        if self._heard.is_set():
            self._late, self._is_proven = 0, True
            return True
        self._late += 1
        if self._late >= _LATE:
            self._is_proven = False
        server = self._store.server
        if server is not None and server.started != opened.server.started:
            await self._store.look()  # one of the two is where the address leads no more
            if self._store.server is not None and self._store.server.started != opened.server.started:
                ended.set()
        return True

    def _hear_echo(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self._echoed = asyncio.get_running_loop().time()
        self._lag = self._echoed - self._called
        if payload == str(self._number):
            self._heard.set()

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
