"""Builder of the readiness check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.status.readiness import Readiness

if TYPE_CHECKING:
    from collections.abc import Callable

    from authcore.store.postgres import PostgresStore
    from config.settings import Settings


def build_readiness(settings: Settings, store: PostgresStore, listening: Callable[[], bool]) -> Readiness:
    """Build the check behind ``/readyz``."""
    return Readiness(
        store,
        listening,
        strict=settings.ready == "strict",
        stale_seconds=settings.identity.stale_seconds,
    )
