"""API keys in PostgreSQL: they are found, stored, listed and switched off; last uses are written in batches.

Laws:

- A digest stands for a proof only beside the very ``key_hash`` it was made for: a key whose hash has changed is proved
  anew, and whether a key is live, active or expired is read from its own row every time.
- What is searched for is text, never a pattern.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from authcore.errors import ApiKeysExhausted
from authcore.store import key_lineage
from authcore.store.locks import LOCK_USER
from authcore.store.rows import ApiKeyListing, ApiKeyPage, ApiKeyRow
from authcore.store.subjects import subject, subject_of
from authcore.store.timestamps import readable, readable_or_null

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.store.gathering import Gathering
    from authcore.store.pool import Connection, DatabasePool, Row
    from authcore.store.rows import NewApiKey
    from authcore.store.subjects import Reader

# The fingerprint in the digest's row binds it to the hash that was proved. Of a key that is proved the owner is read
# too; OFFSET 0 and the subselects are explained in subjects.py.
_CANDIDATES: Final = f"""
SELECT asked.place, k.id, k.owner_id, k.organization_id, k.key_hash, k.is_key_active, k.expires_at, k.is_proved,
       k.parents, found.*
FROM unnest((SELECT $1::text[]), (SELECT $2::text[]), (SELECT $3::bytea[]))
    WITH ORDINALITY AS asked (prefix, short_prefix, digest, place)
CROSS JOIN LATERAL (
    SELECT k.id, k.user_id AS owner_id, k.organization_id, k.key_hash, k.created_at,
           coalesce(k.is_active, false) AND before.is_active AS is_key_active,
           {readable_or_null("least(k.expires_at, before.expires_at)")} AS expires_at,
           d.key_id IS NOT NULL AS is_proved, before.ids AS parents
    FROM api_keys k
    {key_lineage.BEFORE.format(key="k.id")}
    LEFT JOIN gateway_api_key_digests d ON d.key_id = k.id AND d.digest = asked.digest
        AND d.key_hash_fingerprint = sha256(convert_to(k.key_hash, 'UTF8'))
    WHERE k.key_prefix IN (asked.prefix, asked.short_prefix) AND k.deleted_at IS NULL
    ORDER BY is_proved DESC, k.created_at DESC, k.id LIMIT 5) k
LEFT JOIN LATERAL (
    {subject_of("CASE WHEN k.is_proved THEN k.owner_id END", "k.organization_id", "NULL::uuid")} OFFSET 0) found ON true
ORDER BY asked.place, k.is_proved DESC, k.created_at DESC, k.id
"""  # noqa: S608 - of constants of ours

_ADD_DIGEST: Final = """
INSERT INTO gateway_api_key_digests (key_id, digest, key_hash_fingerprint, created_at)
VALUES ($1, $2, sha256(convert_to($3, 'UTF8')), now())
ON CONFLICT (key_id, digest) DO UPDATE SET key_hash_fingerprint = excluded.key_hash_fingerprint, created_at = now()
"""

_PURGE_DIGESTS: Final = """
WITH gone AS (DELETE FROM gateway_api_key_digests WHERE created_at < $1 RETURNING key_id) SELECT count(*) FROM gone
"""

_PURGE_BATCH: Final = 2000
_PURGE_LINKS: Final = """
WITH gone AS (DELETE FROM gateway_api_key_parents WHERE key_id IN (
    SELECT p.key_id FROM gateway_api_key_parents p
    WHERE NOT EXISTS (SELECT FROM api_keys k WHERE k.id = p.key_id) LIMIT $1) RETURNING key_id)
SELECT count(*) FROM gone
"""

# Rows of deleted keys stay: they are Whatomate's. So is counted what was made lately, too.
_HAS_KEYS: Final = """
SELECT count(*) FILTER (WHERE deleted_at IS NULL) >= $2
    OR count(*) FILTER (WHERE created_at > now() - interval '1 day') >= $2
FROM api_keys WHERE organization_id = $3 AND user_id = $1
"""

_LISTING: Final = f"""id, user_id, organization_id, name, coalesce(key_prefix, '') AS key_prefix,
    coalesce(is_active, false) AS is_active,
    {readable_or_null("last_used_at")} AS last_used_at, {readable_or_null("expires_at")} AS expires_at,
    {readable("created_at")} AS created_at"""

# Its maker, and what the maker asked with, are judged here: bcrypt took a while since they were looked at.
# Older Whatomate databases have varchar(8) there, newer ones varchar(16); a column's typmod is its width plus 4.
_ADD_KEY: Final = f"""
WITH made AS (
    INSERT INTO api_keys (organization_id, user_id, name, key_prefix, key_hash, expires_at, is_active, created_at,
                          updated_at)
    SELECT $1, $2, $3,
           left($4::text, (SELECT CASE WHEN atttypmod BETWEEN 4 AND 19 THEN 8 ELSE 16 END FROM pg_attribute
                           WHERE attrelid = 'api_keys'::regclass AND attname = 'key_prefix')),
           $5, least($6, parent.expires_at, before.expires_at), true, now(), now()
    FROM (SELECT $7::uuid AS id) asked LEFT JOIN api_keys parent ON parent.id = asked.id AND parent.deleted_at IS NULL
    {key_lineage.BEFORE.format(key="asked.id")}
    CROSS JOIN LATERAL ({subject_of("$2::uuid", "$1::uuid", "$8::uuid", "$9::timestamptz")}) maker
    WHERE (asked.id IS NULL OR (parent.is_active AND before.is_active)) AND maker.is_active
        AND NOT maker.is_session_over AND maker.organization_exists AND (maker.is_member OR maker.is_super_admin)
        AND coalesce(maker.session_bound_to = $1, true)
        AND ($10::text IS NULL OR maker.is_super_admin OR $10 = ANY (maker.permissions))
    RETURNING {_LISTING}),
linked AS (INSERT INTO gateway_api_key_parents (key_id, parent_id) SELECT id, $7 FROM made WHERE $7 IS NOT NULL)
SELECT * FROM made
"""  # noqa: S608 - of constants of ours

_KEYS: Final = f"""
SELECT {_LISTING} FROM api_keys WHERE organization_id = $1 AND deleted_at IS NULL ORDER BY created_at DESC, id
"""  # noqa: S608 - only a constant is interpolated

_FOUND: Final = """organization_id = $1 AND deleted_at IS NULL
    AND (strpos(lower(name), lower($2)) > 0 OR strpos(lower(key_prefix), lower($2)) > 0)"""
_FIND: Final = f"""
SELECT {_LISTING}, count(*) OVER () AS total FROM api_keys
WHERE {_FOUND} ORDER BY created_at DESC, id LIMIT $3 OFFSET $4
"""  # noqa: S608 - of constants of ours
_COUNT: Final = f"SELECT count(*) FROM api_keys WHERE {_FOUND}"  # noqa: S608 - of a constant of ours

_KEY: Final = f"""
SELECT {_LISTING} FROM api_keys WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL
"""  # noqa: S608 - only a constant is interpolated

_SWITCH: Final = f"""
WITH {key_lineage.AFTER.format(key="$2", when="AND organization_id = $1 AND NOT $3")}
UPDATE api_keys SET is_active = $3, updated_at = now() WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL
RETURNING {_LISTING}
"""  # noqa: S608 - only a constant is interpolated

_DELETE: Final = f"""
WITH {key_lineage.AFTER.format(key="$2", when="AND organization_id = $1")}
UPDATE api_keys SET deleted_at = now() WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL RETURNING id
"""  # noqa: S608 - of constants of ours

_REVOKE_KEY: Final = f"""
WITH {key_lineage.AFTER.format(key="$1", when="")}
UPDATE api_keys SET is_active = false, updated_at = now() WHERE id = $1 AND deleted_at IS NULL RETURNING id
"""  # noqa: S608 - of constants of ours

# Locked in one order: of two gateways that write the same keys at once, neither waits for the other in a circle.
_MARK_USED: Final = """
UPDATE api_keys SET last_used_at = $2 WHERE id = ANY (ARRAY(
    SELECT id FROM api_keys
    WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL AND (last_used_at IS NULL OR last_used_at < $2)
    ORDER BY id FOR NO KEY UPDATE))
"""


class PresentedKey(NamedTuple):
    """Question for the rows that a presented API key may belong to."""

    prefix: str
    short_prefix: str
    digest: bytes


async def read_candidates(reader: Reader, questions: Sequence[PresentedKey]) -> Sequence[Sequence[ApiKeyRow]]:
    """Return the candidates of each of the presented keys, in the order in which they are to be tried."""
    found: list[list[ApiKeyRow]] = [[] for _ in questions]
    for row in await reader.fetch(_CANDIDATES, *map(list, zip(*questions, strict=True))):
        key = ApiKeyRow(
            id=row["id"],
            user_id=row["owner_id"],
            organization_id=row["organization_id"],
            key_hash=row["key_hash"],
            is_active=row["is_key_active"],
            expires_at=row["expires_at"],
            is_proved=row["is_proved"],
            parents=tuple(row["parents"]),
            owner=None if row["user_id"] is None else subject(row, row["organization_id"]),
        )
        found[row["place"] - 1].append(key)
    return found


class KeyRows:
    """Reads and writes of API keys; those presented at the same moment are looked up in one statement."""

    _pool: DatabasePool
    _presented: Gathering[PresentedKey, Sequence[ApiKeyRow]]

    async def api_key_candidates(self, prefixes: tuple[str, str], digest: bytes) -> Sequence[ApiKeyRow]:
        """Return the live keys with one of `prefixes`: those proved by `digest`, then the newest; five at most."""
        prefix, short_prefix = prefixes
        return await self._presented.ask(PresentedKey(prefix, short_prefix, digest))

    async def add_api_key_digest(self, key_id: UUID, key_hash: str, digest: bytes) -> None:
        """Keep the digest of a key that was proved against `key_hash`."""
        await self._pool.fetch(_ADD_DIGEST, key_id, digest, key_hash)

    async def purge_api_key_digests(self, before: datetime) -> int:
        """Forget the digests from before then, be their keys live or gone; return how many."""
        return int(await self._pool.fetchval(_PURGE_DIGESTS, before))

    async def purge_api_key_links(self) -> int:
        """Forget which key made a key that is deleted for good; return how many, a few thousand at most."""
        return int(await self._pool.fetchval(_PURGE_LINKS, _PURGE_BATCH))

    async def add_api_key(self, key: NewApiKey) -> ApiKeyListing | None:
        """Store a new API key, which ends with its parent at the latest; None if parent, maker or session has ended.

        Raises:
            ApiKeysExhausted: Its user has as many keys there as `key.most`; see :meth:`has_api_keys`.
        """

        async def add(connection: Connection) -> Row | None:
            if key.most is not None:
                # Counted by a statement of its own, which sees all that was committed before the lock was granted.
                await connection.execute(LOCK_USER, str(key.user_id))
                if await connection.fetchval(_HAS_KEYS, key.user_id, key.most, key.organization_id):
                    raise ApiKeysExhausted
            return await connection.fetchrow(
                _ADD_KEY,
                key.organization_id,
                key.user_id,
                key.name,
                key.prefix,
                key.key_hash,
                key.expires_at,
                key.parent_id,
                key.session_id,
                key.founded_at,
                key.permission,
            )

        row = await self._pool.transact(add)
        return None if row is None else ApiKeyListing(**row)

    async def has_api_keys(self, user_id: UUID, organization_id: UUID, number: int) -> bool:
        """Return whether a user has `number` API keys there, or has made so many within a day, deleted or not."""
        return bool(await self._pool.fetchval(_HAS_KEYS, user_id, number, organization_id))

    async def api_keys(self, organization_id: UUID) -> Sequence[ApiKeyListing]:
        """Return the organization's keys, newest first."""
        return [ApiKeyListing(**row) for row in await self._pool.fetch(_KEYS, organization_id)]

    async def find_api_keys(
        self, organization_id: UUID, search: str, *, limit: int, offset: int
    ) -> ApiKeyPage:
        """Return the organization's keys whose name or prefix holds `search` in any case, newest first."""
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
