"""Connection arithmetic: it compares the database's limit with the connections that this machine may open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from authcore.store.postgres import PostgresStore

COMPARE_SECONDS: Final = 3600
_BESIDE: Final = 2
"""Connections of each process besides its pool: one that listens, and one while another is renewed."""

log = structlog.get_logger()


async def compare_connections(store: PostgresStore, pool_max: int, processes: int) -> None:
    """Warn if `processes`, each with `pool_max` connections, may open more than the database allows.

    Raises:
        StoreUnavailable: the database does not answer.
    """
    limits = await store.limits()
    wanted = processes * (pool_max + _BESIDE)
    for name, allowed in (("max_connections", limits.server), ("the role's CONNECTION LIMIT", limits.role)):
        if 0 <= allowed < wanted:
            log.warning(
                "connections_scarce",
                wanted=wanted,
                allowed=allowed,
                limit=name,
                meaning="other machines are not counted; statements will wait for the connections there are",
                todo="lower GATEWAY_DATABASE_POOL_MAX or the number of workers, or raise the limit",
            )
