"""Counters of failed sign-ins as an operator sees them: who has to wait, and what an address has failed.

Law: the e-mails and addresses of the counters are digests. Only what the database has elsewhere is known again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authcore.store.emails import folded
from authcore.store.timestamps import readable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.store.pool import DatabasePool

_FORGET_ADDRESS: Final = """
WITH gone AS (
    DELETE FROM gateway_sign_in_failures
    WHERE subject = sha256(convert_to('address ' || $1::text, 'UTF8')) RETURNING level)
SELECT count(*) FROM gone WHERE level > 0
"""

# E-mails and addresses stand there as digests. Known again are those of accounts and, of IPv4, of sessions.
_WAITING: Final = f"""
WITH waiting AS (
    SELECT substring(subject FROM 1 FOR 32) AS digest, length(subject) > 32 AS is_pair, level, open_at
    FROM gateway_sign_in_failures WHERE open_at > $1::timestamptz),
accounts AS (
    SELECT id, email, sha256(convert_to('email ' || {folded("email")}, 'UTF8')) AS digest
    FROM users WHERE deleted_at IS NULL),
addresses AS (
    SELECT address, sha256(convert_to('address ' || address, 'UTF8')) AS digest
    FROM gateway_sessions WHERE address <> '' GROUP BY address)
SELECT accounts.id AS user_id, accounts.email, addresses.address, waiting.is_pair,
       ceil(waiting.level)::bigint AS failures, {readable("waiting.open_at")} AS until
FROM waiting LEFT JOIN accounts USING (digest) LEFT JOIN addresses USING (digest)
ORDER BY waiting.open_at DESC, accounts.email
"""  # noqa: S608 - of the folding and constants alone


@dataclass(frozen=True, slots=True)
class Waiting:
    """Counter of failed sign-ins whose next attempt has to wait.

    Attributes:
        user_id: The user with this e-mail; None if no account has it, and None for a count of an address.
        email: That e-mail.
        address: The address it counts for, where a session shows it; None otherwise.
        is_pair: It counts for an e-mail from one address alone.
        until: When the next attempt is let through.
    """

    user_id: UUID | None
    email: str | None
    address: str | None
    is_pair: bool
    failures: int
    until: datetime


class WaitingRows:
    """An operator's reads and writes of counters."""

    _pool: DatabasePool

    async def forget_attempts_from(self, network: str) -> int:
        """Forget what failed from a network, for whatever e-mails; return how many counters had counted."""
        return int(await self._pool.fetchval(_FORGET_ADDRESS, network))

    async def waiting_attempts(self, now: datetime) -> Sequence[Waiting]:
        """Return the counters whose next attempt has to wait at `now`, the longest wait first."""
        return [Waiting(**row) for row in await self._pool.fetch(_WAITING, now)]
