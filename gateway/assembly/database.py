"""Builders of the store, and of the client of Whatomate's Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from authcore.store.address import Address, StatementCache
from authcore.store.changes import KEEPALIVE_SECONDS
from authcore.store.postgres import PostgresStore
from config.rereading import reread
from gateway.assembly.watches import StoreEvents
from gateway.logs.limited import LimitedEvents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authcore.store.dialled_loop import Dial
    from authcore.store.whatomate_redis import WhatomateRedis
    from config.settings import Settings

log = structlog.get_logger()

_URL: Final = "GATEWAY_DATABASE_URL"
_LISTEN_URL: Final = "GATEWAY_DATABASE_LISTEN_URL"
_PASSWORD: Final = "GATEWAY_DATABASE_PASSWORD"  # noqa: S105 -- the name of a setting


async def open_store(settings: Settings, dial: Dial | None = None) -> PostgresStore:
    """Make the store of a gateway. The database need not be reachable; `dial` opens the TCP connections to it.

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
        dial=dial,
    )


def listen_address(settings: Settings, dial: Dial | None = None) -> Address:
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
        dial=dial,
    )


def _url(settings: Settings) -> Callable[[], str]:
    url = settings.database.url
    if url is None:
        raise ValueError(f"{_URL} is required")
    return reread(settings, _URL, url.get_secret_value())


def _password(settings: Settings) -> Callable[[], str] | None:
    password = settings.database.password
    return None if password is None else reread(settings, _PASSWORD, password.get_secret_value())


_ADVICE: Final = (
    "check that Redis runs and that GATEWAY_WHATOMATE_REDIS_URL names it, with a user, password and database that may "
    "read and write; until then refresh tokens pass between the gateway and Whatomate in one direction only"
)


def build_redis(settings: Settings, dial: Dial | None = None) -> WhatomateRedis | None:
    """Return the client of Whatomate's Redis; None if no URL is set. `dial` connects to its host, else the library."""
    url = settings.whatomate.redis_url
    if url is None:
        return None
    from authcore.store.whatomate_redis import WhatomateRedis  # noqa: PLC0415 -- nothing of Redis without its URL

    events = _RedisEvents()
    return WhatomateRedis(
        url.get_secret_value(),
        timeout_seconds=settings.whatomate.redis_timeout_seconds,
        present_url=reread(settings, "GATEWAY_WHATOMATE_REDIS_URL", url.get_secret_value()),
        report=events.report,
        dial=dial,
    )


def redis_state(redis: WhatomateRedis | None) -> Callable[[], Mapping[str, object]]:
    """Return the function that reports the state of Whatomate's Redis in readiness' answer; empty without a Redis."""
    if redis is None:
        return dict
    return lambda: {
        "whatomate_redis": f"{redis.trouble}; sessions are this gateway's alone" if redis.is_away else "ok"
    }


class _RedisEvents:
    """Events of Whatomate's Redis: away once a minute at most, and back once for each time that this was logged."""

    def __init__(self) -> None:
        self._events = LimitedEvents()
        self._is_logged = False

    def report(self, error: Exception | None) -> None:
        """Log a failure, or with None that it is over."""
        if error is None:
            if self._is_logged:
                log.info("whatomate_redis_back")
            self._is_logged = False
            return
        from authcore.store.whatomate_redis import words_of  # noqa: PLC0415 -- nothing of Redis without its URL

        if self._events.warning("whatomate_redis_away", error=words_of(error), advice=_ADVICE):
            self._is_logged = True
