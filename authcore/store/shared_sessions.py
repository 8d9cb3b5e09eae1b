"""Statements about refresh tokens whose ids are written to Whatomate's Redis.

Laws:

- A token's id is in its row (``whatomate_offer``) before it is written to Redis, where the session's end finds it.
- A token counts as published (``whatomate_jti``) only if it was unused and its session live after the write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.store.session_statements import UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.store.pool import DatabasePool

_PUBLISHED: Final = (
    "SELECT EXISTS (SELECT FROM gateway_refresh_tokens WHERE digest = $1 AND whatomate_jti IS NOT NULL)"
)
# A token without a row is one of Whatomate's that began no session here, so no session has ended.
_PUBLISH: Final = f"""
WITH found AS (
    SELECT t.digest, t.used_at IS NULL AND s.revoked_at IS NULL AND {UNCHANGED} AS is_good
    FROM gateway_refresh_tokens t JOIN gateway_sessions s ON s.id = t.family LEFT JOIN users u ON u.id = s.user_id
    WHERE t.digest = $1),
noted AS (
    UPDATE gateway_refresh_tokens t SET whatomate_jti = $2 FROM found WHERE t.digest = found.digest AND found.is_good)
SELECT coalesce(bool_and(is_good), true) FROM found
"""  # noqa: S608 - of a constant of ours
_UNUSED: Final = (
    "SELECT used_at IS NULL AND whatomate_jti IS NOT NULL FROM gateway_refresh_tokens WHERE digest = $1"
)
_SUCCESSOR: Final = """
SELECT n.whatomate_jti FROM gateway_refresh_tokens t JOIN gateway_refresh_tokens n ON n.family = t.family
WHERE t.digest = $1 AND t.superseded_at IS NULL AND n.follows = t.digest AND n.used_at IS NULL
"""
_SUPERSEDE: Final = (
    "UPDATE gateway_refresh_tokens SET superseded_at = $2 WHERE digest = $1 AND superseded_at IS NULL"
)
_OF_SESSIONS: Final = """
SELECT coalesce(whatomate_jti, whatomate_offer) AS jti FROM gateway_refresh_tokens
WHERE family = ANY($1::uuid[]) AND used_at IS NULL AND coalesce(whatomate_jti, whatomate_offer) IS NOT NULL
"""


class SharedSessionRows:
    """Reads and writes the state of published refresh tokens."""

    _pool: DatabasePool

    async def is_published(self, digest: bytes) -> bool:
        """Return whether the id of a token was written into Whatomate's Redis."""
        return bool(await self._pool.fetchval(_PUBLISHED, digest))

    async def mark_published(self, digest: bytes, jti: str) -> bool:
        """Note that the id `jti` of a token was written.

        Returns:
            False, and nothing is noted, if the token has been used or its session is over: the caller has to delete the
            id from Redis.
        """
        return bool(await self._pool.fetchval(_PUBLISH, digest, jti))

    async def was_used_elsewhere(self, digest: bytes, *, is_ours: bool) -> bool:
        """Return whether a token whose id has gone was used at Whatomate: it was published, and is unused here.

        Of a token that Whatomate issued (not `is_ours`): nobody has used it here either.
        """
        unused = await self._pool.fetchval(_UNUSED, digest)
        return not is_ours if unused is None else bool(unused)

    async def unused_successor(self, digest: bytes) -> str | None:
        """Return the id under which the token that followed this one was written, if nobody has used it here."""
        jti: str | None = await self._pool.fetchval(_SUCCESSOR, digest)
        return jti

    async def supersede(self, digest: bytes, at: datetime) -> None:
        """Note that the token that followed this one was used."""
        await self._pool.fetchval(_SUPERSEDE, digest, at)

    async def published_of(self, sessions: Sequence[UUID]) -> list[str]:
        """Return the ids of the unused tokens of sessions that were written, or are about to be."""
        return [row["jti"] for row in await self._pool.fetch(_OF_SESSIONS, list(sessions))]
