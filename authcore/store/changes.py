"""Notification listener: it receives notifications of changed rows on a connection of its own.

Laws:

- Notifications may be missed between ``begin_gap`` and ``end_gap``, and at no other time. A gap begins when the
  connection is lost or silent or a trigger is missing, and ends when the listener receives notifications again.
- The connection is checked every second, so a server that neither answers nor closes it is noticed within two.
- The listener never gives up. It connects again at once, then after pauses that double up to a second.
- An echo measures the delay of notifications: each second one is sent over a connection of the pool, on a channel that
  only this connection listens on. PostgreSQL delivers within one server and one database, and in the order of commits.
  An echo that arrives proves that both connections lead to the same server, and that earlier notifications arrived.
- The state is ``PUSHED`` only while this is proven: from the first echo until three in a row are late, or statements go
  to another server.
- While an echo is awaited, no query is sent on this connection: a pooler might deliver notifications only together
  with an answer, and that would prove nothing about the time in between.
- Whether all triggers exist and are enabled is checked every second. If one was disabled and enabled again in between,
  there was a gap.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol
from uuid import uuid4

from authcore.errors import StoreUnavailable
from authcore.figures import MetricSample
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
"""Number of late echoes in a row after which nothing is proven any more."""
_NAME: Final = "whatomate-gateway changes"
_LOSSES: Final = (*DRIVER_ERRORS, StoreUnavailable)
"""Errors after which there is a gap, and another attempt to connect."""


class Hearing(StrEnum):
    """State of the listener; the values are those of ``/readyz``."""

    PUSHED = "pushed"
    """Every change is notified as it is committed."""
    AWAY = "away"
    """None is: the connection is lost at the moment."""
    UNTRIGGERED = "untold"
    """None is, or not all are: triggers are missing in the database or disabled."""
    UNPROVEN = "unproven"
    """Perhaps none is: no echo arrives, as behind a pooler in transaction mode, or from another server."""


class ChangeListener(Protocol):
    """Receiver of changes."""

    def hear(self, change: Change) -> None:
        """Take notice that rows have changed."""

    def begin_gap(self) -> None:
        """Take notice that from now on changes may be missed."""

    def end_gap(self) -> None:
        """Take notice that changes are received again."""


class Store(Protocol):
    """Store protocol: the database access beside the listener, as the listener uses it."""

    def suspect(self) -> None:
        """Probe whether the database still answers, as it did not answer the listener."""

    async def recover(self) -> None:
        """Close the circuit, as the database answers the listener."""

    async def echo(self, channel: str, payload: str) -> None:
        """Notify a channel over a connection of the pool."""

    async def look(self) -> None:
        """Find out where the database's address leads now."""

    @property
    def server(self) -> Server | None:
        """The server that statements go to; None before the first."""

    def tell_moves(self, moved: Callable[[], None]) -> None:
        """Call `moved` each time that statements go to another server."""


class Changes:
    """Notification listener; it runs until it is cancelled.

    Attributes:
        hearing: Its present state.
        triggers: The state of the triggers as last seen.
        tried: Set as soon as the first attempt to connect has succeeded or failed.
    """

    def __init__(self, address: Address, listener: ChangeListener, store: Store) -> None:
        """Listen at `address`, for changes to what verdicts read from `store`."""
        self._address = address
        self._listener = listener
        self._store = store
        self._pause = 0.0
        self.hearing = Hearing.AWAY
        self.triggers = triggers.State.MISSING
        self.tried = asyncio.Event()
        self._messages = self._connected = self._lost = 0
        self._called = self._echoed = 0.0  # when an echo was sent and received, by the loop's clock
        self._lag = 0.0
        self._channel = ""  # of the echo; no other connection listens on it
        self._number = self._late = 0
        self._is_proven = False
        self._heard = asyncio.Event()
        self._ended = asyncio.Event()
        self._marks = ""
        store.tell_moves(self._moved)

    async def run(self) -> None:
        """Listen until cancelled."""
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
        """Begin a gap, as statements go to another server: the listener may be connected to the old one."""
        if self.hearing is Hearing.AWAY:
            self._listener.begin_gap()  # again: verdicts may have been read since the last one, from the old server
        self._lose()
        self._end(self._ended)

    def _end(self, ended: asyncio.Event) -> None:
        """End every wait that belongs to a connection."""
        ended.set()
        if ended is self._ended:
            self._heard.set()

    async def _listen(self) -> None:
        """Listen on one connection until it ends."""
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
        """Check for a second: the connection and the triggers by one query, and the delivery by an echo."""
        begun = asyncio.get_running_loop().time()
        async with asyncio.timeout(KEEPALIVE_SECONDS):
            seen = await triggers.look(opened.connection)
        self.triggers, marks = seen.state, seen.marks
        self._pause = 0.0
        if self.hearing is not Hearing.PUSHED:
            # Before the gap ends, as identities that are read again then need a closed circuit.
            await self._store.recover()
        if self.hearing is Hearing.PUSHED and marks != self._marks:
            self._turn(Hearing.UNTRIGGERED)
        self._marks = marks
        is_sent = await self._echo(opened, ended)
        if not ended.is_set():
            if self.triggers is triggers.State.MISSING:
                self._turn(Hearing.UNTRIGGERED)
            elif self._is_proven:
                self._turn(Hearing.PUSHED)
            elif is_sent:
                self._turn(Hearing.UNPROVEN)
            self.tried.set()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(begun + KEEPALIVE_SECONDS):
                    await ended.wait()

    def _turn(self, hearing: Hearing) -> None:
        """Change the state, and begin or end a gap accordingly."""
        was, self.hearing = self.hearing, hearing
        if was is hearing:
            return
        if was is Hearing.PUSHED:
            self._listener.begin_gap()
        elif hearing is Hearing.PUSHED or was is Hearing.AWAY:
            self._listener.end_gap()

    async def _echo(self, opened: Opened, ended: asyncio.Event) -> bool:
        """Send an echo over the store, and wait until it arrives; return whether it was sent."""
        self._number += 1
        self._heard.clear()
        # While an echo is under way, its delay counts from when it was sent.
        if self._called <= self._echoed:
            self._called = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(KEEPALIVE_SECONDS):
                await self._store.echo(self._channel, str(self._number))
        except TimeoutError:
            self._store.suspect()
            return False
        except StoreUnavailable:
            return False  # nothing is known about the delivery then
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
        if server is not None and not server.is_same_database(opened.server):
            # The address has moved: the pool or this connection is still at the old server.
            await self._store.look()
            if self._store.server is not None and not self._store.server.is_same_database(opened.server):
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

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        yield MetricSample(
            "pushed",
            "1 while changes are notified as they are committed; else only time limits how late they are noticed.",
            lambda: float(self.hearing is Hearing.PUSHED),
        )
        yield MetricSample(
            "lag_seconds",
            "Delay of notifications, measured by an echo each second; while the connection is lost, for how long.",
            self._lag_seconds,
        )
        yield MetricSample(
            "messages", "Notifications of changes received.", lambda: self._messages, counts=True
        )
        yield MetricSample(
            "connected", "Times that the listener connected.", lambda: self._connected, counts=True
        )
        yield MetricSample(
            "lost",
            "Times that the connection of the listener was lost or silent.",
            lambda: self._lost,
            counts=True,
        )
