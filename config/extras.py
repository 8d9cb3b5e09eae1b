"""Checks for optional dependencies: a setting is a problem if the extra that it needs is not installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings


def spans_can_be_made() -> bool:
    """Return whether the extra ``otel`` is installed, without importing it."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def redis_can_be_asked(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a problem if Whatomate's Redis is configured and no Redis client is installed."""
    if settings.whatomate.redis_url is not None and find_spec("redis") is None:
        yield (
            "GATEWAY_WHATOMATE_REDIS_URL",
            "needs a Redis client, which is not installed: pip install 'whatomate-gateway[redis]'",
        )


def collector(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a problem if a trace endpoint is configured and OpenTelemetry is not installed."""
    if settings.trace.endpoint is not None and not spans_can_be_made():
        yield (
            "GATEWAY_TRACE_ENDPOINT",
            "needs OpenTelemetry, which is not installed: pip install 'whatomate-gateway[otel]'",
        )
