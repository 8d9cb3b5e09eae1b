"""Database access behind a circuit breaker: it lends connections, and translates every error of the database.

Laws:

- Connections are opened at first use. A gateway starts although its database is down.
- A statement without an answer raises ``StoreUnavailable``, chained to its cause. An error that the statement itself
  causes (a unique violation) is an answer and is not translated.
- Every wait has a limit: for a connection, for opening one, for an answer. While the circuit is open, there is no wait
  at all (:mod:`authcore.store.circuit`).
- A statement or a transaction that certainly had no effect, as the server refuses writes, a pooler lost it, or it
  collided with another one or with a change of the tables, is repeated once.
- A statement that only reads is repeated once if its connection ended, on a connection that was opened afterwards.
- A statement that is given up is cancelled at the server, so that it does not hold one of its connections any longer.
- The end of one connection is not counted as silence of the server, nor is a statement that waits until its time limit,
  perhaps for a lock: a probe shows whether the server is silent. A failure to open a connection is counted.
- The watcher gets every failure, and the first answer after it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import asyncpg

from authcore.errors import StoreUnavailable
from authcore.figures import Histogram, HistogramSample, MetricSample
from authcore.store.circuit import Circuit
from authcore.store.connection_pool import ConnectionPool
from authcore.store.failures import DRIVER_ERRORS, Failure, classify, translated
from authcore.store.kinds import ENDED, SILENT, FailureKind
from authcore.store.present_failures import PresentFailures
from authcore.store.watcher import Unwatched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from authcore.store.address import Address, Server
    from authcore.store.watcher import Watcher

    Connection = asyncpg.Connection[asyncpg.Record]
    Row = asyncpg.Record

T = TypeVar("T")

_PROBE_SECONDS: Final = 1.0
"""For each host of the URL."""
_LOST: Final = frozenset({"26000", "42P05"})
"""SQLSTATEs of a prepared statement that the server does not have; it was not run."""
_PLANNED_BEFORE: Final = "0A000"
"""SQLSTATE of a prepared statement whose table was altered since; it was not run."""


class DatabasePool:
    """Pool of database connections with bounded waits, behind a circuit breaker."""

    def __init__(  # noqa: PLR0913 - the settings of a pool, by name
        self,
        address: Address,
        *,
        pool_min: int,
        pool_max: int,
        acquire_timeout_seconds: float,
        look_seconds: float,
        watcher: Watcher | None = None,
    ) -> None:
        """Lend at most `pool_max` connections; every `look_seconds` one is replaced by a new one."""
        self._address = address
        self._closed = False
        self._waiting = 0
        self._waits = Histogram()
        self._circuit = Circuit(self._ask_for_life)
        self._connections = ConnectionPool(
            address,
            fewest=pool_min,
            most=pool_max,
            acquire_timeout_seconds=acquire_timeout_seconds,
            look_seconds=look_seconds,
        )
        self._connections.failed = lambda error: self._note(classify(error))
        self._failures = PresentFailures(watcher or Unwatched(), self._lasts)

    def __repr__(self) -> str:
        failing = f", failing: {', '.join(sorted(self.failing))}" if self.failing else ""
        return f"<database pool: {self._connections}, {self._waiting} statements waiting, {self._circuit}{failing}>"

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; database errors in the block are translated, and silence of the server is counted."""
        is_lent = False
        try:
            with translated():
                async with self._circuit.passed(), self._lent() as connection:
                    is_lent = True
                    yield connection
        except StoreUnavailable as outage:
            failure = classify(outage.__cause__)
            if not self._closed:
                gave_up = is_lent and failure.kind is FailureKind.TIMEOUT
                self._note(failure, given_up=gave_up and not self._circuit.is_open)
                if gave_up:
                    self._circuit.suspect()
                elif failure.kind in SILENT and not (is_lent and failure.kind in ENDED):
                    self._circuit.failed()
            raise
        self._circuit.succeeded()
        if self.failing:
            self._failures.note_answer(self._circuit.silent_at)

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Connection]:
        asked = time.monotonic()
        self._waiting += 1
        try:
            with translated(connecting=True):
                one = await self._connections.acquire()
        finally:
            self._waiting -= 1
            self._waits.add(time.monotonic() - asked)
        try:
            yield one.connection
        except (TimeoutError, asyncio.CancelledError):
            # The server may be at work on the statement, or wait for a lock. It does not notice that a connection is
            # gone, so it is asked to cancel, in the background: that may remain unanswered as well.
            one.retired = True
            raise
        except asyncpg.PostgresError as error:
            if classify(error).kind in {FailureKind.READ_ONLY, FailureKind.POOLER}:
                one.retired = True
                self._connections.suspect()
            raise
        finally:
            self._connections.release(one)

    async def _ask_for_life(self) -> None:
        try:
            await self._connections.probe(_PROBE_SECONDS)
        except DRIVER_ERRORS:
            self._connections.open.retire()  # their server does not answer
            raise

    # -- failures --------------------------------------------------------------------------------------------------

    @property
    def failing(self) -> Mapping[FailureKind, Failure]:
        """Present failures by kind; empty while there are none."""
        return self._failures.by_kind

    def _note(self, failure: Failure, *, given_up: bool = False) -> None:
        if not self._closed:
            self._failures.note(failure, given_up=given_up)

    def _lasts(self, kind: FailureKind) -> bool | None:
        """Return whether failures of a kind are known to last; None where only time shows it."""
        if kind is FailureKind.READ_ONLY:
            return self._connections.open.is_read_only
        if kind is FailureKind.CONNECTIONS:
            return self._connections.limit < self._connections.most
        return None

    def suspect(self) -> None:
        """Probe in the background whether the database still answers."""
        if self._connections.open.every and not self._closed:
            self._circuit.suspect()

    async def recover(self) -> None:
        """Close the circuit at once, since the database has answered on another connection.

        Raises:
            StoreUnavailable: It does not answer here.
        """
        with translated(connecting=True):
            await self._circuit.recover()

    # -- the server ------------------------------------------------------------------------------------------------

    @property
    def server(self) -> Server | None:
        """The server that statements go to; None before the first."""
        return self._connections.open.server

    async def look(self) -> None:
        """Open a connection to find out where the address leads now, and follow it."""
        await self._connections.look()

    def tell_moves(self, moved: Callable[[], None]) -> None:
        """Call `moved` when statements go to another server from now on."""
        self._connections.open.moved = moved

    # -- statements ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection within a transaction at READ COMMITTED, which is rolled back on any exception."""
        if self._connections.open.is_read_only:
            await self._connections.look()
        async with self.connection() as connection, connection.transaction(isolation="read_committed"):
            yield connection

    async def transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in such a transaction, and once more if the first had no effect."""

        async def transaction(connection: Connection) -> T:
            async with connection.transaction(isolation="read_committed"):
                return await work(connection)

        return await self._run("", transaction)

    async def fetch(self, statement: str, *arguments: object) -> Sequence[Row]:
        """Run one statement and return its rows."""
        return await self._run(statement, lambda connection: connection.fetch(statement, *arguments))

    async def fetchrow(self, statement: str, *arguments: object) -> Row | None:
        """Run one statement and return its first row."""
        return await self._run(statement, lambda connection: connection.fetchrow(statement, *arguments))

    async def fetchval(self, statement: str, *arguments: object) -> Any:
        """Run one statement and return the first column of its first row."""
        return await self._run(statement, lambda connection: connection.fetchval(statement, *arguments))

    async def _run(self, statement: str, work: Callable[[Connection], Awaitable[T]]) -> T:
        begun, is_lent = asyncio.get_running_loop().time(), False
        try:
            async with self.connection() as connection:
                is_lent = True
                return await work(connection)
        except StoreUnavailable as outage:
            failure = classify(outage.__cause__)
            if is_lent and failure.kind in ENDED and statement.lstrip().startswith("SELECT"):
                # All connections that were open may have ended with it: none of them is tried.
                self._connections.open.retire(lambda one: one.opened < begun)
            elif not await self._may_repeat(failure, begun):
                raise
        async with self.connection() as connection:
            return await work(connection)

    async def _may_repeat(self, failure: Failure, begun: float) -> bool:
        """Return whether a statement had no effect, and may succeed on another connection."""
        if failure.kind is FailureKind.READ_ONLY:
            await self._connections.look()
            return not self._connections.open.is_read_only
        if failure.kind is FailureKind.POOLER and failure.sqlstate in _LOST:
            if not self._address.keep_no_statements():
                return False
            self._connections.open.retire()
            return True
        if failure.kind is FailureKind.CONFLICT and failure.sqlstate == _PLANNED_BEFORE:
            # The driver plans a lone statement anew, but not in a transaction; other connections have old plans, too.
            self._connections.open.retire(lambda one: one.opened < begun)
        return failure.kind is FailureKind.CONFLICT  # a deadlock, say: the server has rolled it back

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        connections = self._connections
        yield MetricSample("connections", "Database connections open.", lambda: len(connections.open.every))
        yield MetricSample(
            "connections_idle", "Database connections unused.", lambda: len(connections.open.free)
        )
        yield MetricSample("connections_max", "Database connections at most.", lambda: connections.most)
        yield MetricSample(
            "connections_allowed",
            "Database connections at most, as long as the database refuses more.",
            lambda: connections.limit,
        )
        yield MetricSample(
            "connections_refused",
            "Database connections that were refused since there are too many.",
            lambda: connections.refused,
            counts=True,
        )
        yield MetricSample(
            "connections_renewed",
            "Database connections opened in the place of an older one.",
            lambda: connections.renewed,
            counts=True,
        )
        yield MetricSample(
            "moves",
            "Times that the address led to another server, database or role.",
            lambda: connections.open.moves,
            counts=True,
        )
        yield MetricSample(
            "read_only", "1 while the database refuses writes.", lambda: float(connections.open.is_read_only)
        )
        yield MetricSample("waiting", "Statements that wait for a connection.", lambda: self._waiting)
        yield from self._circuit.figures()

    def histograms(self) -> Iterable[HistogramSample]:
        """Return the distributions to publish."""
        yield HistogramSample("wait_seconds", "How long statements waited for a connection.", self._waits)

    async def close(self) -> None:
        """Close every connection; those in use have a short time to finish."""
        self._closed = True
        await self._circuit.close()
        await self._connections.close()
