"""Connection check of the database: whether a gateway could serve on it.

Law: nothing is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.errors import StoreUnavailable
from authcore.store.failures import classify
from authcore.store.kinds import ADVICE, FailureKind
from authcore.store.migrate import MigrationChanged, pending
from authcore.store.schema import REMEDY, SchemaUnfit
from authcore.store.triggers import TRIGGER_NOTES
from gateway.commands.advice import advised
from gateway.commands.opening import migration_setting, migration_target, warn_of_encoding
from gateway.connecting.store import opened_once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from authcore.store.dialled_loop import Dial
    from authcore.store.postgres import PostgresStore
    from authcore.store.schema import Gaps
    from config.settings import Settings


async def database_findings(settings: Settings, dial: Dial | None = None) -> list[str]:
    """Return the problems that keep the gateway from serving on its database, each as ``SETTING: what; what to do``.

    `dial` opens the connections by TCP, as those of a serving gateway.
    """
    database = settings.database
    found = [f"GATEWAY_DATABASE_URL: {one}" async for one in _of_serving(settings, dial)]
    if database.listen_url is not None:
        found += [f"GATEWAY_DATABASE_LISTEN_URL: {one}" async for one in _of_listening(settings, dial)]
    if settings.migrate.database_url is not None:
        found += [f"GATEWAY_MIGRATE_DATABASE_URL: {one}" async for one in _of_migrating(settings, dial)]
    return found


async def _of_serving(settings: Settings, dial: Dial | None) -> AsyncIterator[str]:
    store = await opened_once(settings, settings.database.url, dial)
    try:
        waiting, gaps = await store.look_at_schema()
    except StoreUnavailable as error:
        yield classify(error.__cause__).sentence
    except MigrationChanged as error:
        yield advised(error)
    else:
        for one in _of_tables(store, waiting, gaps):
            yield one
        if waiting and not gaps and settings.migrate.database_url is None:
            async for one in _of_migrating(settings, dial):
                yield one
        elif settings.database.triggers and not (gaps or store.lacking):
            note = TRIGGER_NOTES.get(await store.look_at_triggers())
            if note is not None:
                yield note
        warn_of_encoding(await store.encoding())
        most = None if gaps or store.lacking else await store.most_connections()
        if most is not None and most < settings.database.pool_max:
            yield (
                f"the server has {most} connections for this user, and GATEWAY_DATABASE_POOL_MAX is "
                f"{settings.database.pool_max}; {ADVICE[FailureKind.CONNECTIONS]}"
            )
    finally:
        await store.close()


def _of_tables(store: PostgresStore, waiting: Sequence[str], gaps: Gaps) -> Iterator[str]:
    if store.lacking:
        yield str(store.lacking)
    if gaps:
        yield f"{gaps}; {REMEDY}"
    if waiting:
        yield f"migrations are pending: {', '.join(waiting)}; run migrate"
    if store.is_read_only:
        yield f"the database takes no writes; {ADVICE[FailureKind.READ_ONLY]}"


async def _of_listening(settings: Settings, dial: Dial | None) -> AsyncIterator[str]:
    store = await opened_once(settings, settings.database.listen_url, dial)
    try:
        await store.ping()
    except StoreUnavailable as error:
        yield classify(error.__cause__).of("GATEWAY_DATABASE_LISTEN_URL").sentence
    finally:
        await store.close()


async def _of_migrating(settings: Settings, dial: Dial | None) -> AsyncIterator[str]:
    url, password = migration_target(settings)
    try:
        await pending(url, password=password, dial=dial)
    except StoreUnavailable as error:
        yield classify(error.__cause__).of(migration_setting(settings)).sentence
    except (MigrationChanged, SchemaUnfit) as error:
        yield advised(error)
