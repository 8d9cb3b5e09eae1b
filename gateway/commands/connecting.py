"""Connection check: the database of the settings is asked whether serving would work, and each finding says what to do.

Law: nothing is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.errors import StoreUnavailable
from authcore.store.failures import classify
from authcore.store.kinds import ADVICE, Kind
from authcore.store.migrate import MigrationChanged, pending
from authcore.store.postgres import PostgresStore
from authcore.store.schema import REMEDY, SchemaUnfit
from gateway.commands.advice import advised
from gateway.commands.opening import migration_setting, migration_target, secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic import SecretStr

    from config.settings import Settings


async def database_findings(settings: Settings) -> list[str]:
    """Return what keeps the gateway from serving on its database, each as ``SETTING: what; what to do``."""
    database = settings.database
    found = [f"GATEWAY_DATABASE_URL: {one}" async for one in _of_serving(settings, database.url)]
    if database.listen_url is not None:
        found += [f"GATEWAY_DATABASE_LISTEN_URL: {one}" async for one in _of_listening(settings)]
    if settings.migrate.database_url is not None:
        found += [f"GATEWAY_MIGRATE_DATABASE_URL: {one}" async for one in _of_migrating(settings)]
    return found


async def _opened(settings: Settings, url: SecretStr | None) -> PostgresStore:
    database, password = settings.database, secret(settings.database.password)
    return await PostgresStore.connect(
        secret(url) or "",
        password=None if password is None else lambda: password,
        pool_min=0,
        pool_max=1,
        connect_timeout_seconds=database.connect_timeout_seconds,
        acquire_timeout_seconds=database.connect_timeout_seconds,
        statement_timeout_seconds=database.statement_timeout_seconds,
    )


async def _of_serving(settings: Settings, url: SecretStr | None) -> AsyncIterator[str]:
    store = await _opened(settings, url)
    try:
        waiting, gaps = await store.look_at_schema()
    except StoreUnavailable as error:
        yield classify(error.__cause__).sentence
    except MigrationChanged as error:
        yield advised(error)
    else:
        if store.lacking:
            yield f"its user lacks {', '.join(store.lacking)}; {ADVICE[Kind.PRIVILEGE]}"
        if gaps:
            yield f"{gaps}; {REMEDY}"
        if waiting:
            yield f"migrations are pending: {', '.join(waiting)}; run migrate"
        if store.is_read_only:
            yield f"the database takes no writes; {ADVICE[Kind.READ_ONLY]}"
    finally:
        await store.close()


async def _of_listening(settings: Settings) -> AsyncIterator[str]:
    store = await _opened(settings, settings.database.listen_url)
    try:
        await store.ping()
    except StoreUnavailable as error:
        yield classify(error.__cause__).of("GATEWAY_DATABASE_LISTEN_URL").sentence
    finally:
        await store.close()


async def _of_migrating(settings: Settings) -> AsyncIterator[str]:
    url, password = migration_target(settings)
    try:
        await pending(url, password=password)
    except StoreUnavailable as error:
        yield classify(error.__cause__).of(migration_setting(settings)).sentence
    except (MigrationChanged, SchemaUnfit) as error:
        yield advised(error)
