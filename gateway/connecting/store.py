"""Store of one connection, with the settings of a serving gateway and without its events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.database_url import parse
from authcore.store.address import StatementCache
from authcore.store.migrate import CONNECT_SECONDS
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


def further_seconds(settings: Settings) -> float:
    """Return the time that all hosts of the database's URLs, but the first of each, may take besides."""
    database = settings.database
    urls = [
        parse(url.get_secret_value())
        for url in (database.url, database.listen_url, settings.migrate.database_url)
        if url is not None
    ]
    longest = max(database.connect_timeout_seconds, CONNECT_SECONDS)
    return sum((len(url.hosts) - 1) * (url.connect_seconds or longest) for url in urls)
