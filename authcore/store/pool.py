"""The connection pool, and the translation of everything a database can fail with.

Laws:

- Opened at first use: a database that is down at start is a database that is down, not a failed start.
- A statement that could not be answered raises ``StoreUnavailable``, chained to its cause. What a statement itself
  provokes (a unique violation) passes: it is an answer.
- Waiting is bounded everywhere: for a connection, for opening one, for an answer; and before a database that does not
  answer there is no waiting at all (:mod:`authcore.store.circuit`).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from asyncpg import exceptions as pg

from authcore.errors import StoreUnavailable
from authcore.figures import Distribution, Figure, Spread
from authcore.store.circuit import Circuit
from authcore.store.failures import DRIVER_ERRORS, Kind, classify, is_mistake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Row = asyncpg.Record

_PROBE_SECONDS: Final = 1

SILENT: Final = frozenset({Kind.UNKNOWN_HOST, Kind.REFUSED, Kind.TIMEOUT, Kind.LOST, Kind.STOPPED})
"""What says that there is nobody to ask; everything else is an answer of a kind."""


@contextmanager
def translated(*, connecting: bool = False) -> Iterator[None]:
    """Turn "no answer" into ``StoreUnavailable``, chained to its cause, which :func:`classify` puts into words.

    What passes as it is: the violation of a unique key, which is an answer, and a mistake of this program. While
    `connecting` there is neither.
    """
    try:
        yield
    except DRIVER_ERRORS as error:
        if not connecting and (isinstance(error, pg.UniqueViolationError) or is_mistake(error)):
            raise
        raise StoreUnavailable from error


async def _leave_as_it_is(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Spare every statement a second round trip: nothing here sets anything that outlives its transaction."""


class Pool:
    """A lazily opened asyncpg pool with bounded waits."""

    def __init__(  # noqa: PLR0913 - the settings of a pool, by name
        self,
        url: str,
        *,
        pool_min: int,
        pool_max: int,
        connect_timeout_seconds: float,
        acquire_timeout_seconds: float,
        statement_timeout_seconds: float,
    ) -> None:
        if not url.startswith(("postgresql://", "postgres://")):
            raise ValueError(
                "the database URL is not a postgresql:// URL"
            )  # and is not repeated: it has a password
        self._acquire_timeout = acquire_timeout_seconds
        self._options: dict[str, Any] = {
            "dsn": url,
            "min_size": min(pool_min, pool_max),
            "max_size": pool_max,
            "timeout": connect_timeout_seconds,
            "command_timeout": statement_timeout_seconds,
            "reset": _leave_as_it_is,
            "server_settings": {"application_name": "whatomate-gateway"},
        }
        self._pool: asyncpg.Pool[Row] | None = None
        self._opening: asyncio.Task[asyncpg.Pool[Row]] | None = None
        self._closed = False
        self._waiting = 0
        self._waits = Spread()
        self._circuit = Circuit(self._ask_for_life)

    async def _open(self) -> asyncpg.Pool[Row]:
        """Return the pool, opening it where need be: once at a time, however many ask."""
        if self._pool is None:
            if self._closed:
                raise asyncpg.InterfaceError("the store is closed")
            if self._opening is None or self._opening.done():
                self._opening = asyncio.ensure_future(self._create())
                # Retrieved here, so that an opening nobody waits for any more fails silently.
                self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
            # Shielded: the one who asked first may go away.
            async with asyncio.timeout(self._acquire_timeout):
                return await asyncio.shield(self._opening)
        return self._pool

    async def _create(self) -> asyncpg.Pool[Row]:
        pool = await asyncpg.create_pool(**self._options)
        self._pool = pool
        return pool

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; every database error within is translated, and silence counted."""
        try:
            with translated():
                async with self._circuit.passed(), self._lent() as connection:
                    yield connection
        except StoreUnavailable as outage:
            if classify(outage.__cause__).kind in SILENT and not self._closed:
                self._circuit.failed()
            raise
        self._circuit.succeeded()

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Connection]:
        asked = time.monotonic()
        self._waiting += 1
        try:
            with translated(connecting=True):
                pool = await self._open()
                connection = await pool.acquire(timeout=self._acquire_timeout)
        finally:
            self._waiting -= 1
            self._waits.add(time.monotonic() - asked)
        try:
            yield connection
        except (TimeoutError, asyncio.CancelledError):
            # Asking the server to cancel, and waiting for that, would be one more thing it may not answer.
            connection.terminate()
            raise
        finally:
            await pool.release(connection)

    async def _ask_for_life(self) -> None:
        async with asyncio.timeout(_PROBE_SECONDS), self._lent() as connection:
            await connection.fetchval("SELECT 1", timeout=_PROBE_SECONDS)

    def suspect(self) -> None:
        """Find out, beside the requests, whether the database still answers."""
        if self._pool is not None and not self._closed:
            self._circuit.suspect()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection within a transaction: committed at the end, rolled back on any exception."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def fetch(self, statement: str, *arguments: object) -> Sequence[Row]:
        """Run one statement and return its rows."""
        async with self.connection() as connection:
            return await connection.fetch(statement, *arguments)

    async def fetchrow(self, statement: str, *arguments: object) -> Row | None:
        """Run one statement and return its first row."""
        async with self.connection() as connection:
            return await connection.fetchrow(statement, *arguments)

    async def fetchval(self, statement: str, *arguments: object) -> Any:
        """Run one statement and return the first column of its first row."""
        async with self.connection() as connection:
            return await connection.fetchval(statement, *arguments)

    async def recover(self) -> None:
        """Take up work again at once, since the database gave a sign of life elsewhere.

        Raises:
            StoreUnavailable: it gives none here.
        """
        with translated():
            await self._circuit.recover()

    def figures(self) -> Iterable[Figure]:
        """What to publish."""
        yield Figure(
            "connections", "Database connections open.", lambda: self._pool.get_size() if self._pool else 0
        )
        yield Figure(
            "connections_idle",
            "Database connections unused.",
            lambda: self._pool.get_idle_size() if self._pool else 0,
        )
        yield Figure("connections_max", "Database connections at most.", lambda: self._options["max_size"])
        yield Figure("waiting", "Statements that wait for a connection.", lambda: self._waiting)
        yield from self._circuit.figures()

    def spreads(self) -> Iterable[Distribution]:
        """What to publish."""
        yield Distribution("wait_seconds", "How long statements waited for a connection.", self._waits)

    async def close(self) -> None:
        """Close every connection, those in use after a moment's grace."""
        self._closed = True
        await self._circuit.close()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), 2)
            except (*DRIVER_ERRORS, asyncio.CancelledError):
                pool.terminate()
                raise
