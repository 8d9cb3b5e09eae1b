"""Builders of the store and of the database addresses in the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.store.address import Address, StatementCache
from authcore.store.changes import KEEPALIVE_SECONDS
from authcore.store.postgres import PostgresStore
from config.rereading import reread
from gateway.assembly.store_events import StoreEvents

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import Settings

_URL: Final = "GATEWAY_DATABASE_URL"
_LISTEN_URL: Final = "GATEWAY_DATABASE_LISTEN_URL"
_PASSWORD: Final = "GATEWAY_DATABASE_PASSWORD"  # noqa: S105 -- the name of a setting


async def open_store(settings: Settings) -> PostgresStore:
    """Make the store of a gateway. The database need not be reachable.

    Raises:
        ValueError: the URL of the database is missing, or is no URL of PostgreSQL.
    """
    database = settings.database
    return await PostgresStore.connect(
        _url(settings),
        password=_password(settings),
        pool_min=database.pool_min,
        pool_max=database.pool_max,
        connect_timeout_seconds=database.connect_timeout_seconds,
        acquire_timeout_seconds=database.acquire_timeout_seconds,
        statement_timeout_seconds=database.statement_timeout_seconds,
        statement_cache=StatementCache(database.statement_cache),
        look_seconds=database.renew_seconds,
        watcher=StoreEvents(),
    )


def listen_address(settings: Settings) -> Address:
    """Return the address at which changes are listened for.

    Raises:
        ValueError: the URL is no URL of PostgreSQL.
    """
    database = settings.database
    listen = database.listen_url
    return Address(
        _url(settings) if listen is None else reread(settings, _LISTEN_URL, listen.get_secret_value()),
        password=_password(settings),
        connect_timeout_seconds=database.connect_timeout_seconds,
        statement_timeout_seconds=KEEPALIVE_SECONDS,
        statement_cache=StatementCache(database.statement_cache),
    )


def _url(settings: Settings) -> Callable[[], str]:
    url = settings.database.url
    if url is None:
        raise ValueError(f"{_URL} is required")
    return reread(settings, _URL, url.get_secret_value())


def _password(settings: Settings) -> Callable[[], str] | None:
    password = settings.database.password
    return None if password is None else reread(settings, _PASSWORD, password.get_secret_value())
