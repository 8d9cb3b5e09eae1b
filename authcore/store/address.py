"""Database address: it opens connections, and asks each which server it leads to.

Laws:

- URL and password are asked for anew each time, so that a secret that rotates in a file is the new one here; names are
  resolved by `dial`, else by the driver, anew.
- Of several hosts the first is taken that answers and is what the URL asks for (:mod:`authcore.store.hosts`).
- Statements are written for READ COMMITTED, whatever the role or the database has as its default. A connection is set
  so while it is opened; behind a pooler that would set other programs' connections.
- A connection says of its server what :class:`Server` has, before it is used for anything else.
- A connection whose reads go to another server than its writes is refused: a standby may lag behind, and a revocation
  would not hold.
- Behind a pooler statements are not prepared, unless a setting allows it: in transaction mode the next
  transaction has another server connection, where the name of a statement is unknown, or another program's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import asyncpg

from authcore.database_url import parse
from authcore.store.certificates import require_readable
from authcore.store.failures import ReadsElsewhere, classify
from authcore.store.hosts import Hosts
from authcore.store.kinds import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from authcore.database_url import DatabaseUrl
    from authcore.store.dialled_loop import Dial

PROGRAM: Final = "whatomate-gateway"
"""What the names of connections begin with, unless the URL has an ``application_name``."""
_ASK: Final = (
    "SELECT pg_postmaster_start_time() AS started, current_setting('transaction_read_only')::bool AS read_only, "
    "(SELECT oid FROM pg_database WHERE datname = current_database()) AS database, current_user::text AS role, "
    "pg_backend_pid() AS process, CASE WHEN pg_backend_pid() = $1::integer THEN "
    "set_config('default_transaction_isolation', 'read committed', false) END"
)
# It calls nothing volatile and names no table, so a pooler that spreads reads does so with this one.
_READ: Final = "SELECT pg_postmaster_start_time()"
_STATEMENTS: Final = 100


class StatementCache(StrEnum):
    """Setting for prepared statements: whether connections keep them."""

    AUTO = "auto"
    """It does unless a pooler is detected."""
    ON = "on"
    OFF = "off"


class Server(NamedTuple):
    """Identity of a database of a running PostgreSQL, the role that sees it, and whether it takes writes.

    Attributes:
        started: Start time of its postmaster in microseconds, which no two servers share.
        database: The database's object id: a new URL, or a pooler, may lead to another one of the same server.
        role: The role that statements run as: a new URL may name another.
        read_only: It refuses writes: a standby, or ``default_transaction_read_only``.
    """

    started: datetime
    database: int
    role: str
    read_only: bool

    def is_same_database(self, other: Server) -> bool:
        """Return whether both are the same database of the same running server."""
        return self.started == other.started and self.database == other.database

    def is_same_view(self, other: Server) -> bool:
        """Return whether both are the same database as the same role sees it."""
        return self.is_same_database(other) and self.role == other.role


@dataclass(slots=True, eq=False)
class Opened:
    """Open connection and the server it leads to.

    Attributes:
        opened: Time of its opening in seconds of the loop's clock.
        used: Time of its last use, likewise.
        retired: It must not be used again.
    """

    connection: asyncpg.Connection[asyncpg.Record]
    server: Server
    opened: float
    used: float
    retired: bool = False

    @property
    def is_read_only(self) -> bool:
        """True if its server refuses writes now. PostgreSQL 14 and later announce a change; older ones were asked."""
        settings: Any = self.connection.get_settings()
        standby = getattr(settings, "in_hot_standby", None)
        default = getattr(settings, "default_transaction_read_only", None)
        if standby is None or default is None:
            return self.server.read_only
        return bool(standby == "on" or default == "on")


class Address:
    """Address of a database and the options of connections to it.

    Attributes:
        is_pooled: A pooler was detected.
    """

    def __init__(  # noqa: PLR0913 -- the options of a connection, by name
        self,
        url: Callable[[], str],
        *,
        password: Callable[[], str] | None = None,
        connect_timeout_seconds: float,
        statement_timeout_seconds: float,
        statement_cache: StatementCache = StatementCache.AUTO,
        dial: Dial | None = None,
    ) -> None:
        """Call `url` and `password` for each connection; `password` replaces one in the URL. `dial` opens it by TCP.

        `connect_timeout_seconds` is the limit of each host, unless the URL has one of its own.

        Raises:
            ValueError: The URL is not a PostgreSQL URL, or has what cannot be honoured.
        """
        parse(url())
        self._url = url
        self._password = password
        self._connect_timeout = connect_timeout_seconds
        self._statement_timeout = statement_timeout_seconds
        self._cache = statement_cache
        self._hosts = Hosts(dial)
        self.is_pooled = False

    @property
    def keeps_statements(self) -> bool:
        """True if connections that are opened now keep their statements prepared."""
        return self._cache is StatementCache.ON or (self._cache is StatementCache.AUTO and not self.is_pooled)

    def keep_no_statements(self) -> bool:
        """Record that a pooler lost a statement; return whether connections opened from now on keep none."""
        self.is_pooled = True
        return not self.keeps_statements

    @property
    def further_seconds(self) -> float:
        """Time that the hosts of the URL behind the first one may take besides, in seconds."""
        try:
            url = parse(self._url())
        except ValueError:  # what a file has at the moment; to open a connection raises it
            return 0
        return (len(url.hosts) - 1) * (url.connect_seconds or self._connect_timeout)

    async def open(self, name: str, longest_seconds: float | None = None) -> Opened:
        """Open a connection, which the server lists by `name`; a host has `longest_seconds` at most.

        Raises:
            Exception: whatever :data:`authcore.store.failures.DRIVER_ERRORS` lists.
        """
        url = parse(self._url())
        require_readable(url.parameters)
        seconds = url.connect_seconds or self._connect_timeout
        return await self._hosts.open(
            url,
            seconds if longest_seconds is None else min(seconds, longest_seconds),
            lambda options: self._open(url, name, options),
            lambda opened: opened.is_read_only,
        )

    async def _open(self, url: DatabaseUrl, name: str, options: dict[str, Any]) -> Opened:
        """Open a connection to one host."""
        keeps = self.keeps_statements
        connection = await self._connect(url, name, options, keeps=keeps)
        try:
            found = await self._ask(connection, keeps=keeps)
            if found is None:
                self.is_pooled = True
                connection.terminate()
                connection = await self._connect(url, name, options, keeps=False)
                found = await self._ask(connection, keeps=False)
        except BaseException:
            connection.terminate()
            raise
        if found is None:
            connection.terminate()
            raise asyncpg.InterfaceError("the pooler lost the first statement of a connection")
        now = asyncio.get_running_loop().time()
        return Opened(connection, found, now, now)

    async def _connect(
        self, url: DatabaseUrl, name: str, options: dict[str, Any], *, keeps: bool
    ) -> asyncpg.Connection[asyncpg.Record]:
        password = None if self._password is None else self._password()
        return await connect(
            url,
            name,
            password,
            command_timeout=self._statement_timeout,
            statement_cache_size=_STATEMENTS if keeps else 0,
            **options,
        )

    async def _ask(self, connection: asyncpg.Connection[asyncpg.Record], *, keeps: bool) -> Server | None:
        """Return the server; None when the connection, which `keeps` statements, must be opened anew without."""
        may_change = keeps and self._cache is StatementCache.AUTO
        try:
            row = await connection.fetchrow(_ASK, connection.get_server_pid())
        except asyncpg.PostgresError as error:
            if classify(error).kind is FailureKind.POOLER and may_change:
                return None
            raise
        if row is None:
            raise asyncpg.InterfaceError("the server does not say who it is")
        # The process id in the handshake is the server's own, unless a pooler made it up.
        if row["process"] != connection.get_server_pid() and may_change:
            return None
        if await connection.fetchval(_READ) != row["started"]:
            raise ReadsElsewhere
        return Server(row["started"], row["database"], row["role"], row["read_only"])


async def connect(
    url: DatabaseUrl, name: str, password: str | None, **options: Any
) -> asyncpg.Connection[asyncpg.Record]:
    """Open a connection by the driver, with `options` of a host; the time limit is the caller's.

    `password` replaces one in the URL. The server lists the connection by `name`, whose beginning is that of the URL.
    """
    name = name.replace(PROGRAM, url.application_name or PROGRAM, 1)
    return await asyncpg.connect(
        url.dsn,
        user=url.user,
        password=url.password if password is None else password,
        database=url.database,
        server_settings={"application_name": name},
        **{"timeout": None, **options},
    )
