"""The connection pool, and the translation of everything a database can fail with.

Laws:

- Opened at first use: a database that is down at start is a database that is down, not a failed start.
- A statement that could not be answered raises ``StoreUnavailable``, chained to its cause. What a statement itself
  provokes (a unique violation) passes: it is an answer.
- Waiting is bounded everywhere: for a connection, for opening one, for an answer.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from asyncpg import exceptions as pg

from authcore.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Row = asyncpg.Record

UNANSWERED: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # raised for a backend that is terminated in an unlucky moment
    pg.PostgresConnectionError,  # class 08
    pg.OperatorInterventionError,  # class 57: shutdown, cancelled, cannot connect now
    pg.InsufficientResourcesError,  # class 53: too many connections, disk full
    pg.PostgresSystemError,  # class 58
    pg.InvalidAuthorizationSpecificationError,  # class 28: the password was changed under us
    pg.InvalidCatalogNameError,  # the database is not there (yet)
    pg.UndefinedTableError,  # nor are its tables: not migrated (yet)
    pg.ReadOnlySQLTransactionError,  # connected to what is a standby now
    pg.TransactionRollbackError,  # class 40: deadlock, serialization
    pg.LockNotAvailableError,
)
UNREACHED: Final = (*UNANSWERED, asyncpg.PostgresError)
"""While connecting nothing has been asked yet, so whatever the server says is no answer."""


@contextmanager
def translated(unanswered: tuple[type[Exception], ...] = UNANSWERED) -> Iterator[None]:
    """Turn "no answer" into ``StoreUnavailable``."""
    try:
        yield
    except unanswered as error:
        if isinstance(error, ValueError):
            raise  # an argument or a URL that cannot be read: a mistake of the caller's, no outage
        raise StoreUnavailable from error


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
            "server_settings": {"application_name": "whatomate-gateway"},
        }
        self._pool: asyncpg.Pool[Row] | None = None
        self._opening: asyncio.Task[asyncpg.Pool[Row]] | None = None
        self._closed = False

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
            return await asyncio.wait_for(asyncio.shield(self._opening), self._acquire_timeout)
        return self._pool

    async def _create(self) -> asyncpg.Pool[Row]:
        pool = await asyncpg.create_pool(**self._options)
        self._pool = pool
        return pool

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; every database error within is translated."""
        with translated(UNREACHED):
            pool = await self._open()
            connection = await pool.acquire(timeout=self._acquire_timeout)
        with translated():
            try:
                yield connection
            finally:
                await pool.release(connection)

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

    async def close(self) -> None:
        """Close every connection, those in use after a moment's grace."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), 2)
            except (*UNANSWERED, asyncio.CancelledError):
                pool.terminate()
                raise
