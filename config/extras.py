"""Checks of single settings: of the admin token's form, and that the extras that a setting needs are installed."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings

_ADMIN_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{16,4096}=*")
"""A token that a bearer can send (RFC 6750 section 2.1), and that nobody guesses."""


def spans_can_be_made() -> bool:
    """Return whether the extra ``otel`` is installed, without importing it."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def is_admin_token(text: str) -> bool:
    """Return whether a text may be the token of the admin listener."""
    return _ADMIN_TOKEN.fullmatch(text) is not None


def admin_token(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a problem if no bearer can send the admin token, or it is too short."""
    token = settings.admin.token
    if token is not None and not is_admin_token(token.get_secret_value().strip()):
        yield (
            "GATEWAY_ADMIN_TOKEN",
            (
                "should be 16 characters or more, of A-Z a-z 0-9 . _ ~ + / - and then =; "
                "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
            ),
        )


def redis_can_be_asked(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a problem if Whatomate's Redis is configured and no Redis client is installed."""
    if settings.whatomate.redis_url is not None and find_spec("redis") is None:
        yield (
            "GATEWAY_WHATOMATE_REDIS_URL",
            "needs a Redis client, which is not installed: pip install 'whatomate-gateway[redis]'",
        )


def limits_can_be_shared(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a problem if a store of shared limits is configured and no Redis client is installed."""
    if settings.limits.url is not None and find_spec("redis") is None:
        yield (
            "GATEWAY_LIMITS_URL",
            "needs a Redis client, which is not installed: pip install 'whatomate-gateway[redis]'",
        )


def collector(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a problem for each endpoint of a collector, if OpenTelemetry is not installed."""
    for name, endpoint in (
        ("GATEWAY_TRACE_ENDPOINT", settings.trace.endpoint),
        ("GATEWAY_METRICS_ENDPOINT", settings.metrics.endpoint),
    ):
        if endpoint is not None and not spans_can_be_made():
            yield (
                name,
                "needs OpenTelemetry, which is not installed: pip install 'whatomate-gateway[otel]'",
            )
