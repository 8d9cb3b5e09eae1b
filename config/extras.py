"""What needs an extra of the package to be installed, and what is said where it is not."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings


def spans_can_be_made() -> bool:
    """Tell whether the extra ``otel`` is installed, without importing it."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def redis_can_be_asked(settings: Settings) -> Iterator[tuple[str, str]]:
    """Whatomate's Redis is named: is there a client for it?"""
    if settings.whatomate.redis_url is not None and find_spec("redis") is None:
        yield (
            "GATEWAY_WHATOMATE_REDIS_URL",
            "needs a Redis client, which is not installed: pip install 'whatomate-gateway[redis]'",
        )


def collector(settings: Settings) -> Iterator[tuple[str, str]]:
    """Spans are asked for: can they be made?"""
    if settings.trace.endpoint is not None and not spans_can_be_made():
        yield (
            "GATEWAY_TRACE_ENDPOINT",
            "needs OpenTelemetry, which is not installed: pip install 'whatomate-gateway[otel]'",
        )
