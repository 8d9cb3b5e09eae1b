"""Schema migrations: SQL files in order, each applied once, under an advisory lock.

Laws:

- Everything pending is applied in one transaction: a database is never half migrated.
- Any number of processes may migrate at once; one does, the others wait and find nothing to do, whatever limits their
  role has for a lock or a statement. So is it with grants: PostgreSQL fails one of two GRANTs on one table at the same
  time.
- After a deadlock with another user of the tables, such as a gateway at work, nothing was applied, and it begins anew.
- A file that was applied never changes: its checksum is stored, and one that differs stops the migration.
- Whatomate's tables are made where there are none, and left as they are where they exist; tables that do not have what
  the statements here need (:mod:`authcore.store.schema`) stop the migration before anything is written. So do tables
  that ``search_path`` finds in another schema than the one it makes tables in (:mod:`authcore.store.namespaces`).
- Where nothing is to be done, nothing is written.
"""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, TypeVar

from asyncpg import DeadlockDetectedError

from authcore.database_url import parse
from authcore.errors import StoreUnavailable
from authcore.permissions import CATALOGUE
from authcore.store import grants, namespaces, schema, triggers
from authcore.store.address import connect
from authcore.store.certificates import require_readable
from authcore.store.failures import translated
from authcore.store.hosts import Hosts
from authcore.store.schema import SchemaUnfit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from authcore.store.dialled_loop import Dial

T = TypeVar("T")

TRIGGERS: Final = "triggers"
"""What :func:`migrate` calls them among the names of what it has applied."""

_MAKES_TABLES: Final = "0001_whatomate_tables"

LOCK: Final = 0x57676D67_6D696772
"""Key of the advisory lock of those that migrate: any 64-bit number of our own."""
CONNECT_SECONDS: Final = 10.0
"""For each host of the URL, unless it has a ``connect_timeout``."""
_NAME: Final = "whatomate-gateway migrate"
# A statement waits this long for a lock that a running Whatomate holds, then gives up: a waiting DDL statement would
# make every later query of that table wait behind it.
_LOCK_TIMEOUT: Final = "SET LOCAL lock_timeout = '10s'"
# Row-level security is then an error and not a table that seems to be empty, which would be filled.
_EVERY_ROW: Final = "SET LOCAL row_security = off"
# Migrations compare PostgreSQL's own texts, such as that of a column's default, and have backslashes in theirs.
_AS_WRITTEN: Final = "SET LOCAL quote_all_identifiers = off; SET LOCAL standard_conforming_strings = on"

# The role's own limits hold again afterwards.
_WAIT: Final = (
    "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0",
    f"SELECT pg_advisory_xact_lock({LOCK})",
    "SET LOCAL lock_timeout TO DEFAULT; SET LOCAL statement_timeout TO DEFAULT",
)
_ATTEMPTS: Final = 5

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS gateway_migrations (
    name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
"""
ENCODING: Final = "SELECT current_setting('server_encoding')"
"""Statement that asks for the encoding of a database."""
_APPLIED: Final = "SELECT name, checksum FROM gateway_migrations"
_RECORD: Final = "INSERT INTO gateway_migrations (name, checksum) VALUES ($1, $2)"
_SEED: Final = "INSERT INTO permissions (resource, action, description) VALUES ($1, $2, $3)"


class MigrationChanged(RuntimeError):
    """An applied migration is not the file it was: this program and this database do not fit."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Return every migration of this program, in order."""
    folder = resources.files("authcore.store") / "migrations"
    files = sorted((one for one in folder.iterdir() if one.name.endswith(".sql")), key=lambda one: one.name)
    return [Migration(one.name.removesuffix(".sql"), one.read_text(encoding="utf-8")) for one in files]


async def migrate(
    url: str, *, with_triggers: bool = True, password: str | None = None, dial: Dial | None = None
) -> list[str]:
    """Apply what is pending and return the names; empty when the database is up to date.

    With `with_triggers`, the database is made to tell of changed rows too (:mod:`authcore.store.triggers`).
    `dial` opens the connection by TCP, else the driver.

    Raises:
        StoreUnavailable: the database does not answer.
        TriggersRefused: the database's user may not install triggers. Nothing was applied.
        MigrationChanged: the database was migrated by other files of the same names.
        SchemaUnfit: Whatomate's tables are there, and lack what the gateway needs, or are in another schema than the
            one in which tables would be made. Nothing was applied.
    """

    async def apply(connection: Any) -> list[str]:
        await connection.execute(_EVERY_ROW)
        names = await pending_on(connection)
        if not await _to_do(connection, names, with_triggers=with_triggers):
            return []
        await connection.execute(_TABLE)
        todo = [one for one in migrations() if one.name in names]
        for migration in todo:
            await connection.execute(migration.sql)
            await connection.execute(_RECORD, migration.name, migration.checksum)
        if todo:
            await _seed(connection)
        if with_triggers and await triggers.install(connection):
            names = [*names, TRIGGERS]
        return names

    return await _alone(url, password, dial, apply)


async def grant_to(
    url: str, role: str, *, run: bool, password: str | None = None, dial: Dial | None = None
) -> list[str]:
    """Give `role` the rights that serving needs, where everything is migrated; return the statements.

    Without `run` they are only returned.

    Raises:
        StoreUnavailable: the database does not answer, or refuses: there is no such role, say.
        SchemaUnfit: the tables are in no schema of the search_path, or in several.
    """
    async with _transaction(url, password, dial) as connection:
        if run:
            await _wait_for_others(connection)
            return await grants.grant(connection, role)
        return await grants.statements_on(connection, role)


async def remove_triggers(url: str, *, password: str | None = None, dial: Dial | None = None) -> bool:
    """Remove the triggers; False when there were none.

    Raises:
        StoreUnavailable: the database does not answer.
        SchemaUnfit: the search_path leads to no schema, so there is no telling.
    """

    async def take_away(connection: Any) -> bool:
        await namespaces.current(connection)
        return await triggers.remove(connection)

    return await _alone(url, password, dial, take_away)


async def pending(
    url: str, *, with_triggers: bool = True, password: str | None = None, dial: Dial | None = None
) -> list[str]:
    """Return the names of what :func:`migrate` would apply, changing nothing.

    Raises:
        StoreUnavailable: the database does not answer.
        MigrationChanged: the database was migrated by other files of the same names.
        SchemaUnfit: :func:`migrate` would raise it.
    """
    async with _transaction(url, password, dial) as connection:
        await connection.execute(_EVERY_ROW)
        return await _to_do(connection, await pending_on(connection), with_triggers=with_triggers)


async def encoding_of(url: str, *, password: str | None = None, dial: Dial | None = None) -> str:
    """Return the encoding of the database, such as ``UTF8``.

    Raises:
        StoreUnavailable: the database does not answer.
    """
    async with _connected(url, password, dial) as connection:
        return str(await connection.fetchval(ENCODING))


async def pending_on(connection: Any) -> list[str]:
    """Return what is pending, over an open connection."""
    applied: dict[str, str] = {}
    if await connection.fetchval("SELECT to_regclass('gateway_migrations') IS NOT NULL"):
        applied = {row["name"]: row["checksum"] for row in await connection.fetch(_APPLIED)}
    known = migrations()
    for migration in known:
        if applied.get(migration.name, migration.checksum) != migration.checksum:
            raise MigrationChanged(f"migration {migration.name} was applied from another file")
    return [one.name for one in known if one.name not in applied]


async def gaps_on(connection: Any, names: Sequence[str]) -> schema.Gaps:
    """Return what Whatomate's tables lack, over an open connection, where the migrations `names` are pending."""
    return await schema.gaps(connection, makes_tables=_MAKES_TABLES in names)


async def _to_do(connection: Any, names: Sequence[str], *, with_triggers: bool) -> list[str]:
    """Return what is to be done where the migrations `names` are pending, after a check that it can be done there."""
    gaps = await gaps_on(connection, names)
    if gaps:
        raise SchemaUnfit(str(gaps))
    installs = with_triggers and not await triggers.are_installed(connection)
    if names or installs:
        await namespaces.require_one(connection)
    return [*names, TRIGGERS] if installs else list(names)


async def _seed(connection: Any) -> None:
    """Fill an empty permissions table with the catalogue; one that has rows is Whatomate's own."""
    if await connection.fetchval("SELECT EXISTS (SELECT FROM permissions)"):
        return
    rows = [
        (resource, action, text)
        for resource, actions in CATALOGUE.items()
        for action, text in actions.items()
    ]
    await connection.executemany(_SEED, rows)


async def _wait_for_others(connection: Any) -> None:
    """Wait for others that migrate. The lock is of the transaction: given back by its end, however that comes."""
    for statement in _WAIT:
        await connection.execute(statement)


async def _alone(url: str, password: str | None, dial: Dial | None, work: Callable[[Any], Awaitable[T]]) -> T:
    """Run `work` in a transaction of which there is one at a time; anew after a deadlock, a few times."""
    attempt = 1
    while True:
        try:
            async with _transaction(url, password, dial) as connection:
                await _wait_for_others(connection)
                await connection.execute(_LOCK_TIMEOUT)
                return await work(connection)
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, DeadlockDetectedError) or attempt == _ATTEMPTS:
                raise
            attempt += 1


@asynccontextmanager
async def _transaction(url: str, password: str | None, dial: Dial | None) -> AsyncIterator[Any]:
    """Lend a connection within a transaction, which sees what others did while it waited for a lock."""
    async with (
        _connected(url, password, dial) as connection,
        connection.transaction(isolation="read_committed"),
    ):
        await connection.execute(_AS_WRITTEN)
        yield connection


@asynccontextmanager
async def _connected(url: str, password: str | None, dial: Dial | None) -> AsyncIterator[Any]:
    """Lend a connection. It keeps no statement prepared: behind a pooler the next one may have another server's."""
    with translated(connecting=True):
        parsed = parse(url)
        require_readable(parsed.parameters)
        connection = await Hosts(dial).open(
            parsed,
            parsed.connect_seconds or CONNECT_SECONDS,
            lambda options: connect(parsed, _NAME, password, statement_cache_size=0, **options),
            lambda _: False,
        )
    with translated():
        try:
            yield connection
        finally:
            await connection.close(timeout=CONNECT_SECONDS)
