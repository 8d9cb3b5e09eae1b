"""Builder of the client of Whatomate's Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.logs.limited import LimitedEvents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authcore.store.whatomate_redis import WhatomateRedis
    from config.settings import Settings

_ADVICE = (
    "check that Redis runs and that GATEWAY_WHATOMATE_REDIS_URL names it, with a user, password and database that may "
    "read and write; until then refresh tokens pass between the gateway and Whatomate in one direction only"
)


def build_redis(settings: Settings) -> WhatomateRedis | None:
    """Return the client of Whatomate's Redis; None if no URL is set."""
    url = settings.whatomate.redis_url
    if url is None:
        return None
    from authcore.store.whatomate_redis import WhatomateRedis  # noqa: PLC0415 -- nothing of Redis without its URL

    events = LimitedEvents()
    return WhatomateRedis(
        url.get_secret_value(),
        timeout_seconds=settings.whatomate.redis_timeout_seconds,
        report=lambda error: _report(events, error),
    )


def redis_state(redis: WhatomateRedis | None) -> Callable[[], Mapping[str, object]]:
    """Return the function that reports the state of Whatomate's Redis in readiness' answer; empty without a Redis."""
    if redis is None:
        return dict
    return lambda: {
        "whatomate_redis": f"{redis.trouble}; sessions are this gateway's alone" if redis.is_away else "ok"
    }


def _report(events: LimitedEvents, error: Exception) -> None:
    from authcore.store.whatomate_redis import words_of  # noqa: PLC0415 -- as above

    events.warning("whatomate_redis_away", error=words_of(error), advice=_ADVICE)
