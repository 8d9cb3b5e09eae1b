"""Counters of failed sign-ins in PostgreSQL; their laws stand in ``authcore/sign_in_throttle.py``.

Laws:

- An attempt is judged and counted in one statement. Each counter's row is judged as it is when its lock is held, so of
  any number at once no more are let through than one after the other. One that is refused is counted nowhere, but for
  what overtook it between the look and the lock.
- Rows are locked in one order everywhere (address, e-mail, pair): two statements never wait for each other.
- A row is forgotten when it means nothing any more: ``expires_at``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.store.attempt_rows import Reservation, Reserved
from authcore.store.attempt_statements import RESERVE, TAKE_BACK
from authcore.store.emails import folded

if TYPE_CHECKING:
    from datetime import datetime

    from authcore.store.attempt_rows import AttemptLimits, NewAttempt
    from authcore.store.pool import DatabasePool

_PURGE_ROWS: Final = 10_000
_SESSION: Final = "session"
"""Stands for the address in the pair of an e-mail and a session of it. No address is spelled so."""

# The subject of a pair begins with that of its e-mail.
_FORGET: Final = f"""
WITH gone AS (
    DELETE FROM gateway_sign_in_failures f
    USING (SELECT sha256(convert_to('email ' || {folded("$1::text")}, 'UTF8')) AS email) asked
    WHERE f.subject >= email AND f.subject <= email || decode(repeat('ff', 32), 'hex') RETURNING f.level)
SELECT count(*) FROM gone WHERE level > 0
"""  # noqa: S608 - of the folding alone

_PURGE_FAILURES: Final = """
WITH gone AS (DELETE FROM gateway_sign_in_failures WHERE subject IN (
    SELECT subject FROM gateway_sign_in_failures WHERE expires_at <= $1 AND open_at <= $1
    LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1)
SELECT count(*) FROM gone
"""

_PURGE_ADDRESSES: Final = """
WITH gone AS (DELETE FROM gateway_sign_in_addresses WHERE (email, address) IN (
    SELECT email, address FROM gateway_sign_in_addresses WHERE seen_at <= $1
    LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1)
SELECT count(*) FROM gone
"""


class AttemptRows:
    """Reads and writes of counters."""

    _pool: DatabasePool

    async def reserve_attempt(self, attempt: NewAttempt, limits: AttemptLimits) -> Reservation:
        """Judge an attempt and count it."""
        row = await self._pool.fetchrow(
            RESERVE,
            attempt.email,
            attempt.network,
            _SESSION if attempt.has_session else None,
            attempt.at,
            attempt.known_since,
            limits.window_seconds,
            limits.delay_seconds,
            limits.delay_max_seconds,
            limits.hold_seconds,
            limits.free_failures,
            limits.address_free_failures,
            attempt.address,
            attempt.kind,
        )
        if row is None:  # it has no table to be missing from; and if it had, nobody would be let through
            return Reservation(None, 0)
        if not row["is_reserved"]:
            return Reservation(None, row["wait_seconds"] or 0)
        reserved = Reserved(
            row["address"], row["counted_address"], row["counted_email"], row["email"], row["pair"]
        )
        return Reservation(reserved, max(0, row["wait_seconds"]), row["here"], row["passed_seconds"])

    async def return_attempt(self, reserved: Reserved, at: datetime, limits: AttemptLimits) -> None:
        """Count an attempt as not made."""
        await self._take_back(reserved, at, limits, 1)

    async def forgive_attempts(self, reserved: Reserved, at: datetime, limits: AttemptLimits) -> None:
        """Forget what failed for the e-mail from the address, and know the address from now on."""
        await self._take_back(reserved, at, limits, None)

    async def _take_back(
        self, reserved: Reserved, at: datetime, limits: AttemptLimits, taken: float | None
    ) -> None:
        await self._pool.fetch(
            TAKE_BACK,
            reserved.address,
            reserved.counted_email,
            reserved.pair,
            at,
            taken,
            limits.free_failures,
            limits.address_free_failures,
            reserved.email,
            limits.known_addresses - 1,
            reserved.counted_address,
        )

    async def forget_attempts(self, email: str) -> int:
        """Forget what failed for an e-mail, wherever from; return how many counters had counted."""
        return int(await self._pool.fetchval(_FORGET, email))

    async def purge_attempts(self, before: datetime, known_since: datetime) -> int:
        """Forget counters that mean nothing any more, and addresses last used before then; return how many."""
        gone = 0
        for statement, moment in ((_PURGE_FAILURES, before), (_PURGE_ADDRESSES, known_since)):
            while True:
                purged = int(await self._pool.fetchval(statement, moment, _PURGE_ROWS))
                gone += purged
                if purged < _PURGE_ROWS:
                    break
        return gone
