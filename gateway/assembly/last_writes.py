"""Last writes to the database at the end of a process: last uses of API keys, the audit trail, and counts of quotas.

Law: they run at the same time, each for two seconds at most, so that a database that hangs delays the end by two
seconds in all.
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
"""Limit for the last uses of keys; the trail and the quotas have limits of their own, as long."""

log = structlog.get_logger()


async def write_last(domain: Domain, write_last_used: Callable[[], Awaitable[None]]) -> None:
    """Run the last writes; log a record for each that the database does not take in time, and is lost."""

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
