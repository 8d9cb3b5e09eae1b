"""Setup of commands: it loads the configuration and opens the store for them.

Laws:

- A result goes to standard output, everything else to standard error.
- A command asks for the settings it needs and no others: making an organization needs no JWT secret.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from uuid import UUID

import click

from authcore.counterpart import NO_COUNTERPART
from authcore.errors import StoreUnavailable
from authcore.passwords.hasher import Passwords
from authcore.store.address import StatementCache
from authcore.store.failures import classify
from authcore.store.kinds import FailureKind
from authcore.store.postgres import PostgresStore
from authcore.trail import Event
from config.checks import HINTS
from config.load import REQUIRED, ConfigError, load_settings
from gateway.assembly.database import build_redis
from gateway.assembly.dialling import dialling
from gateway.commands.progress import working
from gateway.commands.recorded_services import RecordedAdministration, RecordedUserAdministration
from gateway.commands.recording import CommandTrail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from pydantic import SecretStr

    from authcore.accounts.user_administration import UserAdministration
    from authcore.store.clock import DatabaseClock
    from authcore.store.dialled_loop import Dial
    from config.settings import Settings

T = TypeVar("T")

HEARD: Final = (
    "running gateways hear of it at once, "
    "or within GATEWAY_IDENTITY_CACHE_SECONDS where GATEWAY_DATABASE_TRIGGERS is off"
)
"""When a change holds, as commands say it."""

SERVING_URL: Final = "GATEWAY_DATABASE_URL"
DATABASE: Final = frozenset({SERVING_URL})
SECRET: Final = frozenset({"GATEWAY_JWT_SECRET"})
_TO_MIGRATE: Final = (
    "the role that migrates has to own Whatomate's tables, and to be allowed to make tables in their schema (GRANT "
    "CREATE, USAGE ON SCHEMA public TO role)"
)


def note(text: str) -> None:
    """Print a message that is no result on standard error."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    """Print a warning of a probable mistake on standard error."""
    note(f"warning: {text}")


def warn_of_encoding(encoding: str) -> None:
    """Warn of a database that cannot hold every character."""
    if encoding != "UTF8":
        warn(
            f"the database's encoding is {encoding}, not UTF8: names and e-mails with other characters are "
            "refused, and escaped in the audit trail; move it to a database with ENCODING 'UTF8'"
        )


def settings_for(required: frozenset[str]) -> Settings:
    """Load the configuration for a command that needs the settings `required`.

    One that needs all of them serves, or finds out whether that would work, and needs usable keys as well.
    """
    return load_settings(required=required, more_files=_key_files if required >= REQUIRED else None)


def _key_files(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.jwt.keys_dir is not None:
        from gateway.assembly.key_ring import key_problems  # noqa: PLC0415 -- only where there are keys

        yield from (("GATEWAY_JWT_KEYS_DIR", problem) for problem in key_problems(settings.jwt.keys_dir))


def database_url(settings: Settings) -> str:
    """Return the URL of the database, as :func:`settings_for` has required it."""
    if settings.database.url is None:
        raise ConfigError([f"GATEWAY_DATABASE_URL: {HINTS['GATEWAY_DATABASE_URL']}"])
    return settings.database.url.get_secret_value()


def refusal(error: StoreUnavailable, setting: str = SERVING_URL) -> Exception:
    """Return the error of a command for `error`, which the database at the URL in `setting` was the cause of."""
    failure = classify(error.__cause__).of(setting)
    if failure.kind is FailureKind.ADDRESS:
        return ConfigError([f"{setting}: the database driver cannot read it; {failure.advice}"])
    return click.ClickException(failure.sentence)


@contextmanager
def migrating(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """Yield the :func:`migration_target`; errors of its database are about the setting that has its URL.

    Raises:
        ConfigError: no URL is set, or the driver cannot read it.
        click.ClickException: the database does not answer, or refuses.
    """
    try:
        yield migration_target(settings)
    except StoreUnavailable as error:
        setting = migration_setting(settings)
        failure = classify(error.__cause__).of(setting)
        if failure.kind is FailureKind.PRIVILEGE:
            advised = replace(failure, advice=f"{_TO_MIGRATE}: {failure.advice}")
            raise click.ClickException(advised.sentence) from error
        raise refusal(error, setting) from error


def migration_setting(settings: Settings) -> str:
    """Return the name of the setting that has the URL at which to migrate."""
    return SERVING_URL if settings.migrate.database_url is None else "GATEWAY_MIGRATE_DATABASE_URL"


def migration_target(settings: Settings) -> tuple[str, str | None]:
    """Return the URL at which to migrate, and the password that wins over the URL's, if one is set.

    Raises:
        ConfigError: neither GATEWAY_MIGRATE_DATABASE_URL nor GATEWAY_DATABASE_URL is set.
    """
    owner = settings.migrate
    if owner.database_url is None:
        return database_url(settings), secret(settings.database.password)
    # The password of the serving role is not the owner's.
    return owner.database_url.get_secret_value(), secret(owner.database_password)


def secret(value: SecretStr | None) -> str | None:
    """Return the text of a secret setting; None if it is not set."""
    return None if value is None else value.get_secret_value()


class Opened(NamedTuple):
    """Services of one command, over one open store.

    Changes by the two administration services are recorded in the trail. A command that changes rows by the store alone
    records that itself.

    Attributes:
        administration: Organizations, users, API keys and quotas.
        store: The store.
        passwords: The password hasher.
        users: Users, memberships and sessions.
        trail: The audit trail.
        clock: The database's clock.
        settings: The settings.
    """

    administration: RecordedAdministration
    store: PostgresStore
    passwords: Passwords
    users: RecordedUserAdministration
    trail: CommandTrail
    clock: DatabaseClock
    settings: Settings


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Opened]:
    """Yield the services over the configured database; close them afterwards."""
    with dialling(settings) as dial:
        store = await _store(
            settings, database_url(settings), secret(settings.database.password), dial, most=2
        )
        async with _services(settings, store, dial) as services:
            yield services


@asynccontextmanager
async def _services(settings: Settings, store: PostgresStore, dial: Dial) -> AsyncIterator[Opened]:
    """Yield the services over a store, which is closed afterwards."""
    redis = build_redis(settings, dial)
    password = settings.password
    passwords = Passwords(min_length=password.min_length, cost=password.cost, workers=1, queue=8)
    counterpart = redis or NO_COUNTERPART
    clock = _clock_of(store)
    trail = CommandTrail(store, clock, is_on=settings.audit.table)
    users = RecordedUserAdministration(
        store,
        passwords,
        counterpart,
        leeway_seconds=settings.jwt.leeway_seconds,
        session_seconds=settings.token.session_seconds,
    )
    users.trail = trail
    try:
        administration = RecordedAdministration(store, passwords, counterpart, trail)
        yield Opened(administration, store, passwords, users, trail, clock, settings)
    finally:
        if redis is not None:
            await redis.close()
        passwords.close()
        await store.close()


async def record_migration(settings: Settings, **details: object) -> None:
    """Record what the role that migrates has changed, with its own rights."""
    url, password = migration_target(settings)
    with dialling(settings) as dial:
        store = await _store(settings, url, password, dial, most=1)
        try:
            trail = CommandTrail(store, _clock_of(store), is_on=settings.audit.table)
            await trail.record(Event.MIGRATE, details=details)
        finally:
            await store.close()


def _clock_of(store: PostgresStore) -> DatabaseClock:
    return store.clock(time.time, time.monotonic)


async def _store(
    settings: Settings, url: str, password: str | None, dial: Dial, *, most: int
) -> PostgresStore:
    """Return a store of `most` connections at most, with the settings of a serving gateway."""
    database = settings.database
    return await PostgresStore.connect(
        url,
        password=None if password is None else lambda: password,
        pool_min=0,
        pool_max=most,
        connect_timeout_seconds=database.connect_timeout_seconds,
        acquire_timeout_seconds=database.connect_timeout_seconds,
        statement_timeout_seconds=database.statement_timeout_seconds,
        statement_cache=StatementCache(database.statement_cache),
        dial=dial,
    )


def run_dialling(settings: Settings, work: Callable[[Dial], Awaitable[T]]) -> T:
    """Run `work` with the opener of TCP connections that the settings configure; return its result."""

    async def run() -> T:
        with dialling(settings) as dial:
            return await work(dial)

    return asyncio.run(run())


def run_with(work: Callable[[Opened, float], Awaitable[T]], required: frozenset[str] = DATABASE) -> T:
    """Run `work` with the services over the configured database and the database's time; return its result.

    `required` are the settings that it needs.
    """
    settings = settings_for(required)

    async def run() -> T:
        async with opened(settings) as services:
            return await work(services, await services.clock.sure())

    with working("waiting for the database"):
        return asyncio.run(run())


def administer(work: Callable[[RecordedAdministration], Awaitable[T]]) -> T:
    """As :func:`run_with`, with the administration service alone."""
    return run_with(lambda services, _: work(services.administration))


def administer_users(work: Callable[[UserAdministration, float], Awaitable[T]]) -> T:
    """As :func:`run_with`, with the user administration alone."""
    return run_with(lambda services, now: work(services.users, now))


async def id_of(text: str, find: Callable[[str], Awaitable[UUID]]) -> UUID:
    """Return the id that `text` is, whether there is such a row or not; else the one that `find` finds by the name."""
    try:
        return UUID(text)
    except ValueError:
        return await find(text)
