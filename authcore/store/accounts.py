"""Users, memberships and organizations in PostgreSQL, as signing in, signing up and administration need them.

Laws:

- An e-mail is matched without regard to case and to spaces around it, and stored as given. No constraint of Whatomate's
  enforces that, so creating a user takes an advisory lock on the folded e-mail.
- Likewise a membership: a lock on the user, so that two at once make one row.
- An invitation is spent before the membership is written: its inviter may be the user who comes back with it, and is
  judged by what they may do without it.
- A user who was removed from an organization comes back by an invitation or by an administrator, not by registering.
  That is decided in the transaction that writes the membership.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
from asyncpg import UniqueViolationError

from authcore import permissions
from authcore.errors import InvitationRequired
from authcore.store.emails import folded
from authcore.store.invitations import spend
from authcore.store.locks import LOCK_USER, despite_others
from authcore.store.origins import note_origin
from authcore.store.rows import LoginRow, PasswordRow, RoleProfile, UserProfile
from authcore.store.sso import bind
from authcore.store.subjects import Subjects
from authcore.store.timestamps import readable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authcore.permissions import SystemRole
    from authcore.store.invitations import Spend
    from authcore.store.pool import Connection
    from authcore.store.rows import NewUser

_LOGINS: Final = f"""
SELECT id AS user_id, organization_id, coalesce(password_hash, '') AS password_hash,
       coalesce(is_active, false) AS is_active
FROM users WHERE {folded("email")} = {folded("$1::text")} AND deleted_at IS NULL
ORDER BY email = $1 DESC, created_at, id LIMIT 5
"""  # noqa: S608 - of the folding alone

_HASH: Final = """
SELECT email, coalesce(password_hash, '') AS password_hash FROM users WHERE id = $1 AND deleted_at IS NULL
"""
_HIGHEST_COST: Final = """
SELECT max(substring(password_hash FROM '^[$]2[aby][$](0[4-9]|1[0-6])[$]'))::integer FROM users WHERE deleted_at IS NULL
"""

_PROFILE: Final = f"""
SELECT coalesce(u.is_available, false) AS is_available, u.settings,
       {readable("u.created_at")} AS created_at, {readable("u.updated_at")} AS updated_at,
       coalesce(r.description, '') AS description, coalesce(r.is_system, false) AS is_system
FROM users u LEFT JOIN custom_roles r ON r.id = $2::uuid
WHERE u.id = $1 AND u.deleted_at IS NULL
"""  # noqa: S608 - of constants of ours

_ORGANIZATION: Final = "SELECT EXISTS (SELECT FROM organizations WHERE id = $1 AND deleted_at IS NULL)"

_ROLE: Final = """
SELECT id FROM custom_roles WHERE organization_id = $1 AND deleted_at IS NULL
    AND CASE WHEN $2::text IS NULL THEN is_default ELSE name = $2 END
ORDER BY is_system DESC, created_at, id LIMIT 1
"""

# Its first key is one of those in locks.py.
_LOCK_EMAIL: Final = f"SELECT pg_advisory_xact_lock(1466457701, hashtext({folded('$1::text')}))"

_EMAIL_TAKEN: Final = f"""
SELECT EXISTS (SELECT FROM users WHERE {folded("email")} = {folded("$1::text")} AND deleted_at IS NULL)
"""  # noqa: S608 - of the folding alone
_ADD_USER: Final = """
INSERT INTO users (organization_id, email, password_hash, full_name, role_id, is_active, is_available, is_super_admin,
                   settings, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, true, true, $6, '{}', now(), now()) RETURNING id
"""

_IS_MEMBER: Final = """
SELECT EXISTS (SELECT FROM user_organizations
               WHERE user_id = $1 AND organization_id = $2 AND deleted_at IS NULL)
    OR (EXISTS (SELECT FROM users WHERE id = $1 AND organization_id = $2 AND deleted_at IS NULL)
        AND NOT EXISTS (SELECT FROM user_organizations WHERE user_id = $1 AND organization_id = $2
                        UNION ALL SELECT FROM gateway_former_memberships WHERE user_id = $1 AND organization_id = $2))
"""
_WAS_MEMBER: Final = """
SELECT EXISTS (SELECT FROM user_organizations WHERE user_id = $1 AND organization_id = $2 AND deleted_at IS NOT NULL
               UNION ALL SELECT FROM gateway_former_memberships WHERE user_id = $1 AND organization_id = $2)
"""
# Whatomate may hold a unique index over the pair that counts deleted rows: the deleted row is given back its life.
_REVIVE_MEMBER: Final = """
UPDATE user_organizations SET deleted_at = NULL, role_id = $3, is_default = false, updated_at = now()
WHERE id = (SELECT id FROM user_organizations WHERE user_id = $1 AND organization_id = $2 AND deleted_at IS NOT NULL
            ORDER BY deleted_at DESC, id LIMIT 1)
RETURNING id
"""
_ADD_MEMBER: Final = """
INSERT INTO user_organizations (user_id, organization_id, role_id, is_default, created_at, updated_at)
VALUES ($1, $2, $3, false, now(), now())
"""
_ADD_HOME: Final = """
INSERT INTO user_organizations (user_id, organization_id, role_id, is_default, created_at, updated_at)
VALUES ($1, $2, $3, true, now(), now())
"""

_ADD_ORGANIZATION: Final = """
INSERT INTO organizations (name, slug, settings, created_at, updated_at)
VALUES ($1, $2, '{}', now(), now()) RETURNING id
"""
_ADD_ROLE: Final = """
WITH role AS (
    INSERT INTO custom_roles (organization_id, name, description, is_system, is_default, created_at, updated_at)
    VALUES ($1, $2, $3, true, $4, now(), now()) RETURNING id)
INSERT INTO role_permissions (custom_role_id, permission_id)
SELECT role.id, p.id FROM role, permissions p
WHERE p.deleted_at IS NULL AND ($6 OR p.resource || ':' || p.action = ANY($5::text[]))
"""


class AccountRows(Subjects):
    """Reads and writes of users, memberships and organizations."""

    async def logins(self, email: str) -> Sequence[LoginRow]:
        """Return the users with the e-mail in any case: the exact spelling first, then the oldest."""
        return [LoginRow(**row) for row in await self._pool.fetch(_LOGINS, email)]

    async def profile(self, user_id: UUID, organization_id: UUID) -> UserProfile | None:
        """Return the user in the form that clients see, acting in the organization."""
        subject = await self.subject(user_id, organization_id)
        if subject is None:
            return None
        row = await self._pool.fetchrow(_PROFILE, user_id, subject.role_id)
        if row is None:
            return None
        role = None
        if subject.role_id is not None:
            role = RoleProfile(
                id=subject.role_id,
                name=subject.role or "",
                description=row["description"],
                is_system=row["is_system"],
                permissions=tuple(permissions.parse(one) for one in subject.permissions),
            )
        return UserProfile(
            id=user_id,
            organization_id=organization_id,
            email=subject.email,
            full_name=subject.full_name,
            role_id=subject.role_id,
            role=role,
            is_active=subject.is_active,
            is_available=row["is_available"],
            is_super_admin=subject.is_super_admin,
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            settings=_settings(row["settings"]),
        )

    async def organization_exists(self, organization_id: UUID) -> bool:
        """Return whether the organization has a live row."""
        return bool(await self._pool.fetchval(_ORGANIZATION, organization_id))

    async def role_id(self, organization_id: UUID, name: str | None) -> UUID | None:
        """Return the organization's role of that name; of no name, its default one."""
        role_id: UUID | None = await self._pool.fetchval(_ROLE, organization_id, name)
        return role_id

    async def add_user(self, user: NewUser, spending: Spend | None = None) -> UUID | None:
        """Create a user with their home membership; None when the e-mail is taken in any case."""

        async def add(connection: Connection) -> UUID | None:
            await connection.execute(_LOCK_EMAIL, user.email)
            if await connection.fetchval(_EMAIL_TAKEN, user.email):
                return None
            user_id: UUID = await connection.fetchval(
                _ADD_USER,
                user.organization_id,
                user.email,
                user.password_hash,
                user.full_name,
                user.role_id,
                user.is_super_admin,
            )
            await connection.execute(_ADD_HOME, user_id, user.organization_id, user.role_id)
            await note_origin(connection, user_id, user.origin)
            if user.binding is not None:
                await bind(connection, user_id, user.binding)
            if spending is not None:
                await spend(connection, spending, user_id)
            return user_id

        try:
            return await self._pool.transact(add)
        except UniqueViolationError:
            # A deleted row still holds the address in Whatomate's unique index.
            return None

    async def add_member(
        self,
        user_id: UUID,
        organization_id: UUID,
        role_id: UUID | None,
        spending: Spend | None = None,
        *,
        uninvited: bool = False,
    ) -> bool:
        """Make the user a member; False when they are one already.

        Raises:
            InvitationRequired: They come `uninvited`, and have been removed from the organization.
        """

        async def add(connection: Connection) -> bool:
            await connection.execute(LOCK_USER, str(user_id))
            if await connection.fetchval(_IS_MEMBER, user_id, organization_id):
                return False
            # In this order: a member who is removed meanwhile is found among the removed ones.
            if uninvited and await connection.fetchval(_WAS_MEMBER, user_id, organization_id):
                raise InvitationRequired
            if spending is not None:
                await spend(connection, spending, user_id)
            if await connection.fetchval(_REVIVE_MEMBER, user_id, organization_id, role_id) is None:
                await connection.execute(_ADD_MEMBER, user_id, organization_id, role_id)
            return True

        return await despite_others(lambda: self._pool.transact(add))

    async def password_of(self, user_id: UUID) -> PasswordRow | None:
        """Return the user's e-mail and password hash; None when there is no such user."""
        row = await self._pool.fetchrow(_HASH, user_id)
        return None if row is None else PasswordRow(**row)

    async def highest_password_cost(self) -> int | None:
        """Return the greatest bcrypt cost among stored password hashes that can be tried; None where there are none."""
        cost: int | None = await self._pool.fetchval(_HIGHEST_COST)
        return cost

    async def add_organization(self, name: str, slug: str, roles: Sequence[SystemRole]) -> UUID | None:
        """Create an organization with its system roles; None when the slug is taken."""

        async def add(connection: Connection) -> UUID:
            organization_id: UUID = await connection.fetchval(_ADD_ORGANIZATION, name, slug)
            for role in roles:
                await _add_role(connection, organization_id, role)
            return organization_id

        try:
            return await self._pool.transact(add)
        except UniqueViolationError:
            return None


def _settings(text: str | None) -> dict[str, object]:
    """Return a user's settings; empty where they are no object, or JSON in an answer cannot hold them."""
    try:
        found = orjson.loads(text or "{}")
        orjson.dumps(found)  # nesting has a limit of its own
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return {}
    return found if isinstance(found, dict) else {}


async def _add_role(connection: Connection, organization_id: UUID, role: SystemRole) -> None:
    await connection.execute(
        _ADD_ROLE,
        organization_id,
        role.name,
        role.description,
        role.is_default,
        sorted(role.permissions),
        role.is_complete,
    )
