"""Store of one connection, with the settings of a serving gateway and without its events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.store.address import StatementCache
from authcore.store.postgres import PostgresStore

if TYPE_CHECKING:
    from pydantic import SecretStr

    from authcore.store.dialled_loop import Dial
    from config.settings import Settings


async def opened_once(settings: Settings, url: SecretStr | None, dial: Dial | None) -> PostgresStore:
    """Return a store of one connection to the database at `url`, with the settings of a serving gateway."""
    database, password = settings.database, settings.database.password
    return await PostgresStore.connect(
        "" if url is None else url.get_secret_value(),
        password=None if password is None else password.get_secret_value,
        pool_min=0,
        pool_max=1,
        connect_timeout_seconds=database.connect_timeout_seconds,
        acquire_timeout_seconds=database.connect_timeout_seconds,
        statement_timeout_seconds=database.statement_timeout_seconds,
        statement_cache=StatementCache(database.statement_cache),
        dial=dial,
    )
