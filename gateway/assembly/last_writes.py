"""Last writes to the database at the end of a process: last uses of API keys, the audit trail, and counts of quotas.

Law: all are written at the same time, each for two seconds at most, so that a database that hangs holds up the end by
that once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from gateway.background import attempt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.assembly.domain import Domain

_LAST_SECONDS: Final = 2.0

log = structlog.get_logger()


async def write_what_waits(domain: Domain, write_last_used: Callable[[], Awaitable[None]]) -> None:
    """Write what waits; what the database does not take in time is lost, and logged."""

    async def last_used() -> None:
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await write_last_used()
        except TimeoutError:
            log.warning("last_uses_lost", error="no answer in time")

    writes = [attempt("write_last_used", last_used), attempt("write_audit_trail", domain.trail.close)]
    if domain.quotas is not None:
        writes.append(attempt("return_quota_leases", domain.quotas.close))
    await asyncio.gather(*writes)
