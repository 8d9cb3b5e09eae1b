"""WebSocket tickets that have been used.

Law: using a ticket up is one statement, so of two at once, on any two gateways, one succeeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from authcore.store.pool import DatabasePool

_USE: Final = """
INSERT INTO gateway_used_tickets (digest, expires_at) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING RETURNING digest
"""

_USED: Final = "SELECT EXISTS (SELECT FROM gateway_used_tickets WHERE digest = $1)"

_PURGE: Final = """
WITH gone AS (DELETE FROM gateway_used_tickets WHERE expires_at < $1 RETURNING digest) SELECT count(*) FROM gone
"""


class TicketRows:
    """Reads and writes of used tickets."""

    _pool: DatabasePool

    async def use_ticket(self, digest: bytes, expires_at: datetime) -> bool:
        """Use up the ticket of `digest`; False when it was used before."""
        return bool(await self._pool.fetch(_USE, digest, expires_at))

    async def is_ticket_used(self, digest: bytes) -> bool:
        """Return whether the ticket of `digest` was used; it is not used up by that."""
        return bool(await self._pool.fetchval(_USED, digest))

    async def purge_tickets(self, before: datetime) -> int:
        """Forget the tickets that had expired by then; return how many."""
        return int(await self._pool.fetchval(_PURGE, before))
