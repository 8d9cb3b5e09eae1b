"""Directory of users, memberships, organizations and sessions in PostgreSQL, as an operator reads it.

Law: a membership is what :class:`authcore.store.rows.Subject` calls one: a live row, or the home organization of a user
of whom no row and no note says otherwise. Of several live rows the oldest counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.store import key_lineage
from authcore.store.directory_rows import (
    Holdings,
    KeyEntry,
    Membership,
    NamedRow,
    OrganizationRow,
    SessionEntry,
    UserRow,
)
from authcore.store.emails import folded
from authcore.store.session_statements import UNCHANGED
from authcore.store.timestamps import readable, readable_or_null

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.store.directory_rows import UserFilter
    from authcore.store.pool import DatabasePool


def members(which: str) -> str:
    """Return SQL of the memberships ``m`` for which `which` holds: user, organization, role and default mark."""
    return f"""
SELECT DISTINCT ON (m.user_id, m.organization_id) m.user_id, m.organization_id, m.is_default, r.id AS role_id,
       r.name AS role
FROM (SELECT user_id, organization_id, role_id, coalesce(is_default, false) AS is_default, created_at, id
      FROM user_organizations WHERE deleted_at IS NULL
      UNION ALL
      SELECT u.id, u.organization_id, NULL, false, u.created_at, u.id FROM users u
      WHERE NOT EXISTS (
          SELECT FROM user_organizations gone WHERE gone.user_id = u.id AND gone.organization_id = u.organization_id
          UNION ALL SELECT FROM gateway_former_memberships former
          WHERE former.user_id = u.id AND former.organization_id = u.organization_id)) m
JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL
LEFT JOIN custom_roles r
    ON r.id = coalesce(m.role_id, CASE WHEN u.organization_id = m.organization_id THEN u.role_id END)
    AND r.organization_id = m.organization_id AND r.deleted_at IS NULL
WHERE {which}
ORDER BY m.user_id, m.organization_id, m.created_at, m.id
"""  # noqa: S608 - of conditions of ours


# Each count is one pass over its table, however many organizations there are.
_ORGANIZATIONS: Final = f"""
SELECT o.id, coalesce(o.name, '') AS name, o.slug, {readable("o.created_at")} AS created_at,
       coalesce(m.count, 0) AS members, coalesce(k.count, 0) AS api_keys
FROM organizations o
LEFT JOIN (SELECT organization_id, count(*) FROM ({members("true")}) one GROUP BY 1) m ON m.organization_id = o.id
LEFT JOIN (SELECT organization_id, count(*) FROM api_keys WHERE deleted_at IS NULL GROUP BY 1) k
    ON k.organization_id = o.id
WHERE o.deleted_at IS NULL ORDER BY lower(o.name), o.id
"""  # noqa: S608 - of constants of ours
_NAMED_ORGANIZATIONS: Final = """
SELECT id, coalesce(slug, name) AS name FROM organizations
WHERE deleted_at IS NULL AND (lower(slug) = lower($1::text) OR lower(name) = lower($1)) ORDER BY created_at, id LIMIT 10
"""
_NAMED_USERS: Final = f"""
SELECT id, email AS name FROM users
WHERE {folded("email")} = {folded("$1::text")} AND deleted_at IS NULL ORDER BY email = $1 DESC, created_at, id LIMIT 10
"""  # noqa: S608 - of the folding alone
_NAMED_ROLES: Final = """
SELECT id, name FROM custom_roles
WHERE organization_id = $1 AND deleted_at IS NULL AND (name = $2::text OR id::text = lower($2)) ORDER BY created_at, id
"""
_USER_EXISTS: Final = "SELECT EXISTS (SELECT FROM users WHERE id = $1 AND deleted_at IS NULL)"
_USERS: Final = f"""
SELECT u.id, u.email, coalesce(u.full_name, '') AS full_name, coalesce(u.is_active, false) AS is_active,
       coalesce(u.is_super_admin, false) AS is_super_admin, coalesce(u.password_hash, '') <> '' AS has_password,
       nullif(u.sso_provider, '') AS sso_provider, shown.id AS organization_id, o.name AS organization, m.role,
       {readable("u.created_at")} AS created_at
FROM users u
CROSS JOIN LATERAL (SELECT coalesce($1::uuid, u.organization_id) AS id) shown
LEFT JOIN organizations o ON o.id = shown.id AND o.deleted_at IS NULL
LEFT JOIN ({members("$1::uuid IS NULL OR m.organization_id = $1")}) m
    ON m.user_id = u.id AND m.organization_id = shown.id
WHERE u.deleted_at IS NULL AND ($1 IS NULL OR m.user_id IS NOT NULL)
    AND ($2::boolean IS NULL OR coalesce(u.is_active, false) = $2)
    AND ($3::boolean IS NULL OR coalesce(u.is_super_admin, false) = $3)
    AND ($4::text IS NULL OR strpos(lower(u.email), lower($4)) > 0 OR strpos(lower(u.full_name), lower($4)) > 0)
    AND ($5::uuid IS NULL OR u.id = $5)
ORDER BY lower(u.email), u.id
"""  # noqa: S608 - of constants of ours
_MEMBERSHIPS: Final = f"""
SELECT m.organization_id, o.name AS organization, m.role_id, m.role, m.is_default
FROM ({members("m.user_id = $1")}) m JOIN organizations o ON o.id = m.organization_id AND o.deleted_at IS NULL
ORDER BY lower(o.name), o.id
"""  # noqa: S608 - of constants of ours
_LIVE: Final = f"s.revoked_at IS NULL AND s.expires_at > $1 AND s.created_at > $2 AND {UNCHANGED}"
_HOLDINGS: Final = f"""
SELECT (SELECT count(*) FROM gateway_sessions s JOIN users u ON u.id = s.user_id
        WHERE s.user_id = $3::uuid AND {_LIVE}) AS sessions,
       (SELECT count(*) FROM api_keys k WHERE k.user_id = $3 AND k.deleted_at IS NULL AND k.is_active
            AND coalesce(k.expires_at > $1, true)) AS api_keys
"""  # noqa: S608 - of constants of ours
_SESSIONS: Final = f"""
SELECT s.id, s.user_id, u.email, s.organization_id, o.name AS organization, s.device, s.address, s.created_at,
       coalesce(s.last_used_at, s.created_at) AS last_used_at, s.expires_at
FROM gateway_sessions s JOIN users u ON u.id = s.user_id AND u.deleted_at IS NULL
LEFT JOIN organizations o ON o.id = s.organization_id
WHERE {_LIVE} AND ($3::uuid IS NULL OR s.user_id = $3) AND ($4::uuid IS NULL OR s.organization_id = $4)
ORDER BY coalesce(s.last_used_at, s.created_at) DESC, s.id
"""  # noqa: S608 - of constants of ours
_OWNER: Final = "SELECT user_id FROM gateway_sessions WHERE id = $1"
# The prefix has 8 or 16 characters, as the column of this database allows.
_KEYS: Final = f"""
SELECT k.id, coalesce(k.name, '') AS name, coalesce(k.key_prefix, '') AS key_prefix, k.user_id, u.email,
       k.organization_id, o.name AS organization, coalesce(k.is_active, false) AND before.is_active AS is_active,
       {readable_or_null("least(k.expires_at, before.expires_at)")} AS expires_at,
       {readable_or_null("k.last_used_at")} AS last_used_at, {readable("k.created_at")} AS created_at
FROM api_keys k
{key_lineage.BEFORE.format(key="k.id")}
LEFT JOIN users u ON u.id = k.user_id AND u.deleted_at IS NULL
LEFT JOIN organizations o ON o.id = k.organization_id AND o.deleted_at IS NULL
WHERE k.deleted_at IS NULL AND ($1::uuid IS NULL OR k.user_id = $1) AND ($2::uuid IS NULL OR k.organization_id = $2)
    AND ($3::text IS NULL OR starts_with(k.key_prefix, $3) OR starts_with($3, k.key_prefix))
ORDER BY k.created_at DESC NULLS LAST, k.id
"""  # noqa: S608 - of constants of ours


class DirectoryRows:
    """Reads of an operator."""

    _pool: DatabasePool

    async def organizations(self) -> Sequence[OrganizationRow]:
        """Return all organizations, by name."""
        return [OrganizationRow(**row) for row in await self._pool.fetch(_ORGANIZATIONS)]

    async def organizations_named(self, text: str) -> Sequence[NamedRow]:
        """Return the organizations whose slug or name is `text` in any case; ten at most."""
        return [NamedRow(**row) for row in await self._pool.fetch(_NAMED_ORGANIZATIONS, text)]

    async def users_named(self, email: str) -> Sequence[NamedRow]:
        """Return the users with the e-mail in any case, the exact spelling first; ten at most."""
        return [NamedRow(**row) for row in await self._pool.fetch(_NAMED_USERS, email)]

    async def roles_named(self, organization_id: UUID, text: str) -> Sequence[NamedRow]:
        """Return the roles of the organization with the name or the id `text`."""
        return [NamedRow(**row) for row in await self._pool.fetch(_NAMED_ROLES, organization_id, text)]

    async def user_exists(self, user_id: UUID) -> bool:
        """Return whether the user has a live row."""
        return bool(await self._pool.fetchval(_USER_EXISTS, user_id))

    async def users(self, wanted: UserFilter) -> Sequence[UserRow]:
        """Return the users that `wanted` describes, by e-mail: each with their role in its organization, or at home."""
        rows = await self._pool.fetch(
            _USERS,
            wanted.organization_id,
            wanted.is_active,
            wanted.is_super_admin,
            wanted.text,
            wanted.user_id,
        )
        return [UserRow(**row) for row in rows]

    async def memberships(self, user_id: UUID) -> Sequence[Membership]:
        """Return the memberships of the user, by the organization's name."""
        return [Membership(**row) for row in await self._pool.fetch(_MEMBERSHIPS, user_id)]

    async def holdings(self, user_id: UUID, now: datetime, over: datetime) -> Holdings:
        """Return how many live sessions and API keys the user has; sessions from before `over` are over."""
        row = await self._pool.fetchrow(_HOLDINGS, now, over, user_id)
        return Holdings(0, 0) if row is None else Holdings(**row)

    async def live_sessions(
        self, user_id: UUID | None, organization_id: UUID | None, now: datetime, over: datetime
    ) -> Sequence[SessionEntry]:
        """Return live sessions, of one user or in one organization if asked for, by their last use."""
        rows = await self._pool.fetch(_SESSIONS, now, over, user_id, organization_id)
        return [SessionEntry(**row) for row in rows]

    async def session_owner(self, session_id: UUID) -> UUID | None:
        """Return whose a session is; None if there is none of that id."""
        owner: UUID | None = await self._pool.fetchval(_OWNER, session_id)
        return owner

    async def key_entries(
        self, user_id: UUID | None, organization_id: UUID | None, prefix: str | None
    ) -> Sequence[KeyEntry]:
        """Return API keys, of one user, in one organization or with one beginning if asked for, newest first."""
        return [KeyEntry(**row) for row in await self._pool.fetch(_KEYS, user_id, organization_id, prefix)]
