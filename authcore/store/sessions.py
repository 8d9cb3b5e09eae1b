"""Families of refresh tokens in PostgreSQL.

Laws:

- A family's state is one row: revoking it is one UPDATE, which holds for tokens entered a moment later too.
- Using a token up and keeping its successor is one statement: two at once make one pair, a crash makes none and
  consumes none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from authcore.store.pool import Pool
    from authcore.store.rows import NewRefreshToken

_OPEN: Final = """
WITH session AS (
    INSERT INTO gateway_sessions (id, user_id, organization_id, created_at, expires_at)
    VALUES ($1, $2, $3, $5, $6) RETURNING id)
INSERT INTO gateway_refresh_tokens (digest, family, issued_at, expires_at) SELECT $4, id, $5, $6 FROM session
"""

# Of two at once the second waits for the first's row lock, then finds used_at set: PostgreSQL re-checks the WHERE.
_ROTATE: Final = """
WITH used AS (
    UPDATE gateway_refresh_tokens t SET used_at = $3 FROM gateway_sessions s
    WHERE t.digest = $1 AND t.used_at IS NULL AND s.id = t.family AND s.revoked_at IS NULL
    RETURNING t.family),
kept AS (
    UPDATE gateway_sessions s SET expires_at = greatest(s.expires_at, $4) FROM used WHERE s.id = used.family)
INSERT INTO gateway_refresh_tokens (digest, family, issued_at, expires_at) SELECT $2, family, $3, $4 FROM used
RETURNING family
"""

# With no successor ($7 null) the family is entered as revoked: a logout.
_ADOPT: Final = """
WITH entered AS (
    INSERT INTO gateway_refresh_tokens (digest, family, issued_at, expires_at, used_at) VALUES ($4, $1, $5, $6, $5)
    ON CONFLICT (digest) DO NOTHING RETURNING family),
session AS (
    INSERT INTO gateway_sessions (id, user_id, organization_id, created_at, expires_at, revoked_at)
    SELECT family, $2::uuid, $3::uuid, $5, greatest($6, $8::timestamptz), CASE WHEN $7::bytea IS NULL THEN $5 END
    FROM entered),
successor AS (
    INSERT INTO gateway_refresh_tokens (digest, family, issued_at, expires_at)
    SELECT $7, family, $5, $8 FROM entered WHERE $7 IS NOT NULL)
SELECT family FROM entered
"""

_REVOKE: Final = """
UPDATE gateway_sessions s SET revoked_at = $2 FROM gateway_refresh_tokens t
WHERE t.digest = $1 AND s.id = t.family AND s.revoked_at IS NULL
"""

_REVOKE_REUSED: Final = """
UPDATE gateway_sessions s SET revoked_at = $3 FROM gateway_refresh_tokens t
WHERE t.digest = $1 AND t.used_at <= $2 AND s.id = t.family AND s.revoked_at IS NULL
"""

_PURGE: Final = """
WITH gone AS (DELETE FROM gateway_sessions WHERE expires_at < $1 RETURNING id) SELECT count(*) FROM gone
"""


class SessionRows:
    """Reads and writes of refresh-token families."""

    _pool: Pool

    async def open_session(
        self, family: UUID, user_id: UUID, organization_id: UUID, token: NewRefreshToken
    ) -> None:
        """Begin a family with its first token."""
        await self._pool.fetch(
            _OPEN, family, user_id, organization_id, token.digest, token.issued_at, token.expires_at
        )

    async def rotate(self, used: bytes, token: NewRefreshToken) -> bool:
        """Use up the token of digest `used` and keep its successor; False, changing nothing, when it is not usable."""
        rows = await self._pool.fetch(_ROTATE, used, token.digest, token.issued_at, token.expires_at)
        return bool(rows)

    async def adopt(
        self,
        family: UUID,
        user_id: UUID,
        organization_id: UUID,
        foreign: NewRefreshToken,
        token: NewRefreshToken | None,
    ) -> bool:
        """Enter a token that Whatomate issued, as used, with its successor; without one, as logged out."""
        rows = await self._pool.fetch(
            _ADOPT,
            family,
            user_id,
            organization_id,
            foreign.digest,
            foreign.issued_at,
            foreign.expires_at,
            token and token.digest,
            token and token.expires_at,
        )
        return bool(rows)

    async def revoke_session(self, digest: bytes, at: datetime) -> None:
        """End the family the token belongs to, if any."""
        await self._pool.fetch(_REVOKE, digest, at)

    async def revoke_reused(self, digest: bytes, used_before: datetime, at: datetime) -> None:
        """End the family of a token that was used up before then."""
        await self._pool.fetch(_REVOKE_REUSED, digest, used_before, at)

    async def purge_sessions(self, before: datetime) -> int:
        """Forget the families whose every token expired before then; return how many."""
        return int(await self._pool.fetchval(_PURGE, before))
