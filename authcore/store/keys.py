"""API keys in PostgreSQL: found, kept, listed, switched off, their last use written in batches.

Laws:

- A digest stands for a proof only beside the very ``key_hash`` it was made for: a key whose hash has changed is proved
  anew, and whether a key is live, active or expired is read from its own row every time.
- What is searched for is text, never a pattern.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.store.moments import moment
from authcore.store.rows import ApiKeyListing, ApiKeyPage, ApiKeyRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.store.pool import Pool
    from authcore.store.rows import NewApiKey

# The fingerprint in the digest's row binds it to the hash that was proved.
_CANDIDATES: Final = """
SELECT k.id, k.user_id, k.organization_id, k.key_hash, coalesce(k.is_active, false) AS is_active, k.expires_at,
       d.key_id IS NOT NULL AS is_proved
FROM api_keys k
LEFT JOIN gateway_api_key_digests d ON d.key_id = k.id AND d.digest = $2
    AND d.key_hash_fingerprint = sha256(convert_to(k.key_hash, 'UTF8'))
WHERE k.key_prefix = ANY($1::text[]) AND k.deleted_at IS NULL
ORDER BY is_proved DESC, k.created_at DESC, k.id LIMIT 5
"""

_ADD_DIGEST: Final = """
INSERT INTO gateway_api_key_digests (key_id, digest, key_hash_fingerprint, created_at)
VALUES ($1, $2, sha256(convert_to($3, 'UTF8')), now())
ON CONFLICT (key_id, digest) DO UPDATE SET key_hash_fingerprint = excluded.key_hash_fingerprint, created_at = now()
"""

_PURGE_DIGESTS: Final = """
WITH gone AS (DELETE FROM gateway_api_key_digests WHERE created_at < $1 RETURNING key_id) SELECT count(*) FROM gone
"""

_LISTING: Final = f"""id, user_id, organization_id, name, key_prefix, last_used_at, expires_at,
    coalesce(is_active, false) AS is_active, {moment("created_at")} AS created_at"""

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

_FIND: Final = f"""
SELECT {_LISTING}, count(*) OVER () AS total FROM api_keys
WHERE organization_id = $1 AND deleted_at IS NULL AND strpos(lower(name), lower($2)) > 0
ORDER BY created_at DESC, id LIMIT $3 OFFSET $4
"""  # noqa: S608 - only a constant is interpolated
_COUNT: Final = """
SELECT count(*) FROM api_keys
WHERE organization_id = $1 AND deleted_at IS NULL AND strpos(lower(name), lower($2)) > 0
"""

_KEY: Final = f"""
SELECT {_LISTING} FROM api_keys WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL
"""  # noqa: S608 - only a constant is interpolated

_SWITCH: Final = f"""
UPDATE api_keys SET is_active = $3, updated_at = now() WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL
RETURNING {_LISTING}
"""  # noqa: S608 - only a constant is interpolated

_DELETE: Final = """
UPDATE api_keys SET deleted_at = now() WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL RETURNING id
"""

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

    async def api_key_candidates(self, prefixes: Sequence[str], digest: bytes) -> Sequence[ApiKeyRow]:
        """Return the live keys with one of `prefixes`: those proved by `digest`, then the newest; five at most."""
        return [ApiKeyRow(**row) for row in await self._pool.fetch(_CANDIDATES, list(prefixes), digest)]

    async def add_api_key_digest(self, key_id: UUID, key_hash: str, digest: bytes) -> None:
        """Keep the digest of a key that was proved against `key_hash`."""
        await self._pool.fetch(_ADD_DIGEST, key_id, digest, key_hash)

    async def purge_api_key_digests(self, before: datetime) -> int:
        """Forget the digests from before then, be their keys live or gone; return how many."""
        return int(await self._pool.fetchval(_PURGE_DIGESTS, before))

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

    async def find_api_keys(
        self, organization_id: UUID, search: str, *, limit: int, offset: int
    ) -> ApiKeyPage:
        """Return the organization's keys whose name holds `search` in any case, newest first."""
        rows = await self._pool.fetch(_FIND, organization_id, search, limit, offset)
        if not rows:  # past the last page there is still a total
            return ApiKeyPage([], int(await self._pool.fetchval(_COUNT, organization_id, search)))
        keys = [
            ApiKeyListing(**{name: value for name, value in row.items() if name != "total"}) for row in rows
        ]
        return ApiKeyPage(keys, rows[0]["total"])

    async def api_key(self, organization_id: UUID, key_id: UUID) -> ApiKeyListing | None:
        """Return one of the organization's keys."""
        row = await self._pool.fetchrow(_KEY, organization_id, key_id)
        return None if row is None else ApiKeyListing(**row)

    async def switch_api_key(
        self, organization_id: UUID, key_id: UUID, *, is_active: bool
    ) -> ApiKeyListing | None:
        """Switch one of the organization's keys on or off and return it; None when there is no such key."""
        row = await self._pool.fetchrow(_SWITCH, organization_id, key_id, is_active)
        return None if row is None else ApiKeyListing(**row)

    async def delete_api_key(self, organization_id: UUID, key_id: UUID) -> bool:
        """Delete one of the organization's keys; False when there is no such key."""
        return await self._pool.fetchval(_DELETE, organization_id, key_id) is not None

    async def revoke_api_key(self, key_id: UUID) -> bool:
        """Switch a key off; False when there is no such key."""
        return await self._pool.fetchval(_REVOKE_KEY, key_id) is not None

    async def mark_used(self, key_ids: Sequence[UUID], at: datetime) -> None:
        """Write the last use of the keys, in one statement."""
        await self._pool.fetch(_MARK_USED, list(key_ids), at)
