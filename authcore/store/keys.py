"""API keys in PostgreSQL: kept, listed, switched off, their last use written in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.store.protocol import ApiKeyListing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.store.pool import Pool
    from authcore.store.protocol import NewApiKey

_LISTING: Final = """id, user_id, organization_id, name, key_prefix, last_used_at, expires_at,
    coalesce(is_active, false) AS is_active, created_at"""

# Older Whatomate databases have varchar(8) there, newer ones varchar(16); a column's typmod is its width plus 4.
_ADD_KEY: Final = f"""
INSERT INTO api_keys (organization_id, user_id, name, key_prefix, key_hash, expires_at, is_active, created_at,
                      updated_at)
VALUES ($1, $2, $3,
        left($4::text, (SELECT CASE WHEN atttypmod BETWEEN 4 AND 19 THEN 8 ELSE 16 END FROM pg_attribute
                        WHERE attrelid = 'api_keys'::regclass AND attname = 'key_prefix')),
        $5, $6, true, now(), now())
RETURNING {_LISTING}
"""  # noqa: S608 - only a constant is interpolated

_KEYS: Final = f"""
SELECT {_LISTING} FROM api_keys WHERE organization_id = $1 AND deleted_at IS NULL ORDER BY created_at DESC, id
"""  # noqa: S608 - only a constant is interpolated

_REVOKE_KEY: Final = """
UPDATE api_keys SET is_active = false, updated_at = now() WHERE id = $1 AND deleted_at IS NULL RETURNING id
"""

_MARK_USED: Final = """
UPDATE api_keys SET last_used_at = $2
WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL AND (last_used_at IS NULL OR last_used_at < $2)
"""


class KeyRows:
    """Reads and writes of API keys."""

    _pool: Pool

    async def add_api_key(self, key: NewApiKey) -> ApiKeyListing:
        """Keep a new API key."""
        row = await self._pool.fetchrow(
            _ADD_KEY, key.organization_id, key.user_id, key.name, key.prefix, key.key_hash, key.expires_at
        )
        assert row is not None  # noqa: S101 - an INSERT ... VALUES returns its row
        return ApiKeyListing(**row)

    async def api_keys(self, organization_id: UUID) -> Sequence[ApiKeyListing]:
        """Return the organization's keys, newest first."""
        return [ApiKeyListing(**row) for row in await self._pool.fetch(_KEYS, organization_id)]

    async def revoke_api_key(self, key_id: UUID) -> bool:
        """Switch a key off; False when there is no such key."""
        return await self._pool.fetchval(_REVOKE_KEY, key_id) is not None

    async def mark_used(self, key_ids: Sequence[UUID], at: datetime) -> None:
        """Write the last use of the keys, in one statement."""
        await self._pool.fetch(_MARK_USED, list(key_ids), at)
