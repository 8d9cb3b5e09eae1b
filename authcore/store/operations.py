"""Operations of an operator on users and memberships in PostgreSQL: switching off and on, roles, removal.

Laws:

- Each is one transaction. What a request of the user begins at the same time is decided by the lock that ends of all
  sessions take, too (:mod:`authcore.store.session_statements`).
- Unless it is asked for, no operation takes an organization's last active user who may manage users
  (``users:write``) from it, nor the last active super admin. The operations run one after the other for that.
- A membership is removed by marking its row as deleted. Where the home organization has no row, a deleted one is added:
  without it the home organization would count as a membership.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from authcore.errors import LastAdministrator, NotAMember, UserUnknown
from authcore.store import session_statements
from authcore.store.directory import members
from authcore.store.locks import despite_others
from authcore.store.subjects import read_subject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.store.pool import Connection, DatabasePool

_LOCK: Final = "SELECT pg_advisory_xact_lock(1466457703, 0)"
_OF_USER: Final = """m.organization_id IN (
    SELECT organization_id FROM user_organizations WHERE user_id = $1
    UNION ALL SELECT organization_id FROM users WHERE id = $1)"""
_KEEPERS: Final = """
SELECT m.organization_id, m.user_id FROM ({members}) m JOIN users u ON u.id = m.user_id AND u.is_active
WHERE EXISTS (SELECT FROM role_permissions rp JOIN permissions p ON p.id = rp.permission_id
              WHERE rp.custom_role_id = m.role_id AND p.deleted_at IS NULL
                  AND p.resource = 'users' AND p.action = 'write')
"""
_MANAGED: Final = f"""
SELECT DISTINCT k.organization_id FROM ({_KEEPERS.format(members=members(_OF_USER))}) k WHERE k.user_id = $1
"""  # noqa: S608 - of constants of ours
_FORSAKEN: Final = f"""
SELECT coalesce(o.name, '') AS name FROM organizations o
WHERE o.id = ANY($1::uuid[]) AND o.deleted_at IS NULL AND NOT EXISTS (
    SELECT FROM ({_KEEPERS.format(members=members("m.organization_id = ANY($1::uuid[])"))}) k
    WHERE k.organization_id = o.id)
ORDER BY lower(o.name), o.id
"""  # noqa: S608 - of constants of ours
_SUPER_ADMINS: Final = """
SELECT EXISTS (SELECT FROM users WHERE is_super_admin AND is_active AND deleted_at IS NULL)
"""
_DISABLE: Final = """
UPDATE users SET is_active = false, updated_at = now() WHERE id = $1 AND deleted_at IS NULL RETURNING id
"""
_ENABLE: Final = """
UPDATE users SET is_active = true, updated_at = now() WHERE id = $1 AND deleted_at IS NULL RETURNING id
"""
_MEMBER_ROLE: Final = """
UPDATE user_organizations SET role_id = $3, updated_at = now()
WHERE user_id = $1 AND organization_id = $2 AND deleted_at IS NULL
"""
# Whatomate servers of before memberships read the role of the user's own row.
_HOME_ROLE: Final = """
UPDATE users SET role_id = $3, updated_at = now() WHERE id = $1 AND organization_id = $2 AND deleted_at IS NULL
"""
_REMOVE: Final = """
UPDATE user_organizations SET deleted_at = now(), updated_at = now()
WHERE user_id = $1 AND organization_id = $2 AND deleted_at IS NULL RETURNING id
"""
_ADD_REMOVED: Final = """
INSERT INTO user_organizations (user_id, organization_id, role_id, is_default, created_at, updated_at, deleted_at)
VALUES ($1, $2, NULL, false, now(), now(), now())
"""


class OperationRows:
    """Writes of an operator."""

    _pool: DatabasePool

    async def disable_user(
        self, user_id: UUID, at: datetime, over: datetime, *, even_last: bool
    ) -> Sequence[UUID]:
        """Switch a user off and end their sessions that had not expired by `over`; return which.

        Raises:
            UserUnknown: there is no such user.
            LastAdministrator: nobody else may manage an organization of theirs, or everything; not with `even_last`.
        """
        async with self._guarded(user_id, even_last=even_last) as connection:
            await connection.execute(session_statements.SIGN_OUT, user_id, at)
            if await connection.fetchval(_DISABLE, user_id) is None:
                raise UserUnknown
            ended = await connection.fetch(session_statements.END_ALL, user_id, None, at, over)
        return [row["id"] for row in ended]

    async def enable_user(self, user_id: UUID) -> None:
        """Switch a user on.

        Raises:
            UserUnknown: there is no such user.
        """
        if await self._pool.fetchval(_ENABLE, user_id) is None:
            raise UserUnknown

    async def set_role(self, user_id: UUID, organization_id: UUID, role_id: UUID, *, even_last: bool) -> None:
        """Give a member another role of the organization.

        Raises:
            UserUnknown: there is no such user.
            NotAMember: they do not belong to the organization.
            LastAdministrator: as in :meth:`disable_user`.
        """
        async with self._guarded(user_id, even_last=even_last) as connection:
            await _require_member(connection, user_id, organization_id)
            await connection.execute(_MEMBER_ROLE, user_id, organization_id, role_id)
            await connection.execute(_HOME_ROLE, user_id, organization_id, role_id)

    async def remove_member(self, user_id: UUID, organization_id: UUID, *, even_last: bool) -> None:
        """End a membership.

        Raises:
            UserUnknown: there is no such user.
            NotAMember: they do not belong to the organization.
            LastAdministrator: as in :meth:`disable_user`.
        """

        async def remove() -> None:
            async with self._guarded(user_id, even_last=even_last) as connection:
                await _require_member(connection, user_id, organization_id)
                if not await connection.fetch(_REMOVE, user_id, organization_id):
                    await connection.execute(_ADD_REMOVED, user_id, organization_id)

        await despite_others(remove)

    @asynccontextmanager
    async def _guarded(self, user_id: UUID, *, even_last: bool) -> AsyncIterator[Connection]:
        """Lend a connection in a transaction, and roll back what leaves nobody to manage an organization.

        Raises:
            LastAdministrator: the block did so, and not with `even_last`.
        """
        async with self._pool.transaction() as connection:
            await connection.execute(_LOCK)
            if even_last:
                yield connection
                return
            managed = [row["organization_id"] for row in await connection.fetch(_MANAGED, user_id)]
            had_super_admins = await connection.fetchval(_SUPER_ADMINS)
            yield connection
            if had_super_admins and not await connection.fetchval(_SUPER_ADMINS):
                raise LastAdministrator("No active super admin would be left")
            forsaken = [row["name"] for row in await connection.fetch(_FORSAKEN, managed)]
            if forsaken:
                raise LastAdministrator(f"Nobody who may manage users would be left in {', '.join(forsaken)}")


async def _require_member(connection: Connection, user_id: UUID, organization_id: UUID) -> None:
    subject = await read_subject(connection, user_id, organization_id)
    if subject is None:
        raise UserUnknown
    if not (subject.organization_exists and subject.is_member):
        raise NotAMember("The user is not a member of this organization")
