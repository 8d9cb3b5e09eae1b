"""Invitations in PostgreSQL, by the digest of their token.

Laws:

- An invitation is used up in the transaction that makes the account or the membership: of two at once one is let in,
  and where nobody was let in nothing is used up.
- One that is for an e-mail proves it of the account, when it is accepted.
- In that transaction its inviter is judged again (:mod:`authcore.granting`), by the role as it is by then. An
  operator's has no inviter, and stays good.
- The e-mail it is for is compared by the function that finds accounts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from authcore.errors import InvitationsExhausted, InvitationSpent, InviterUnfit
from authcore.granting import lacking, may_invite
from authcore.store.emails import folded
from authcore.store.locks import LOCK_USER
from authcore.store.origins import Origin, note_origin
from authcore.store.subjects import read_subject

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.store.pool import Connection, DatabasePool

_ADD: Final = """
INSERT INTO gateway_invitations (id, digest, organization_id, role_id, email, invited_by, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""

_HAS_MADE: Final = "SELECT count(*) >= $2 FROM gateway_invitations WHERE invited_by = $1 AND expires_at > $3"

_FIND: Final = f"""
SELECT used_at IS NOT NULL OR revoked_at IS NOT NULL AS is_spent,
       coalesce({folded("email")} = {folded("$2::text")}, true) AS fits
FROM gateway_invitations WHERE digest = $1
"""  # noqa: S608 - of the folding alone

_SPEND: Final = f"""
UPDATE gateway_invitations SET used_at = $2, used_by = $3
WHERE digest = $1 AND used_at IS NULL AND revoked_at IS NULL
    AND coalesce({folded("email")} = {folded("$4::text")}, true)
RETURNING organization_id, role_id, invited_by, email IS NOT NULL AS is_to_email
"""  # noqa: S608 - of the folding alone

_OPEN: Final = """
SELECT id, organization_id, role_id, email, invited_by, created_at, expires_at FROM gateway_invitations
WHERE organization_id = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > $2
ORDER BY created_at DESC, id LIMIT $3
"""

_REVOKE: Final = """
UPDATE gateway_invitations SET revoked_at = $3
WHERE organization_id = $1 AND id = $2 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > $3 RETURNING id
"""

_PURGE: Final = """
WITH gone AS (DELETE FROM gateway_invitations WHERE expires_at < $1 RETURNING id) SELECT count(*) FROM gone
"""

# Deleted roles and permissions, and roles of other organizations, grant nothing here.
_GRANTS: Final = """
SELECT ARRAY(SELECT p.resource || ':' || p.action FROM role_permissions rp JOIN permissions p ON p.id = rp.permission_id
             WHERE rp.custom_role_id = r.id AND p.deleted_at IS NULL)
FROM custom_roles r WHERE r.id = $2 AND r.organization_id = $1 AND r.deleted_at IS NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationRow:
    """An invitation in the form that administrators see."""

    id: UUID
    organization_id: UUID
    role_id: UUID | None
    email: str | None
    invited_by: UUID | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Spend:
    """Use of an invitation: by which e-mail, for which organization, and when."""

    digest: bytes = field(repr=False)
    email: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """State of an invitation.

    Attributes:
        is_spent: It was used, or taken back.
        fits: It is for the e-mail asked about.
    """

    is_spent: bool
    fits: bool


async def spend(connection: Connection, spending: Spend, user_id: UUID) -> None:
    """Use an invitation up, within the transaction that lets the user in.

    Raises:
        InvitationSpent: It was used or revoked before.
        InviterUnfit: Its inviter could not give it now.
    """
    found = await connection.fetchrow(_SPEND, spending.digest, spending.at, user_id, spending.email)
    if found is None:
        raise InvitationSpent
    if found["invited_by"] is not None:
        organization_id, role_id = found["organization_id"], found["role_id"]
        inviter = await read_subject(connection, found["invited_by"], organization_id)
        granted = () if role_id is None else await connection.fetchval(_GRANTS, organization_id, role_id)
        if inviter is None or granted is None or not may_invite(inviter) or lacking(inviter, set(granted)):
            raise InviterUnfit
    if found["is_to_email"]:
        await note_origin(connection, user_id, Origin.INVITATION)


class InvitationRows:
    """Reads and writes of invitations."""

    _pool: DatabasePool

    async def add_invitation(self, row: InvitationRow, digest: bytes, most: int | None = None) -> None:
        """Store a new invitation.

        Raises:
            InvitationsExhausted: Its inviter has made `most`; see :meth:`has_invitations`.
        """

        async def add(connection: Connection) -> None:
            if most is not None and row.invited_by is not None:
                await connection.execute(LOCK_USER, str(row.invited_by))
                if await connection.fetchval(_HAS_MADE, row.invited_by, most, row.created_at):
                    raise InvitationsExhausted
            await connection.execute(
                _ADD,
                row.id,
                digest,
                row.organization_id,
                row.role_id,
                row.email,
                row.invited_by,
                row.created_at,
                row.expires_at,
            )

        await self._pool.transact(add)

    async def find_invitation(self, digest: bytes, email: str) -> Found | None:
        """Return the state of an invitation; None if there is none of that digest."""
        row = await self._pool.fetchrow(_FIND, digest, email)
        return None if row is None else Found(row["is_spent"], row["fits"])

    async def has_invitations(self, inviter: UUID, number: int, at: datetime) -> bool:
        """Return whether a user has made `number` invitations whose time is not over, used or not."""
        return bool(await self._pool.fetchval(_HAS_MADE, inviter, number, at))

    async def open_invitations(
        self, organization_id: UUID, at: datetime, most: int | None
    ) -> Sequence[InvitationRow]:
        """Return the organization's invitations that may still be used, newest first; `most` of them, None for all."""
        return [InvitationRow(**row) for row in await self._pool.fetch(_OPEN, organization_id, at, most)]

    async def revoke_invitation(self, organization_id: UUID, invitation_id: UUID, at: datetime) -> bool:
        """Take one of the organization's open invitations back; False when there is no such one."""
        return await self._pool.fetchval(_REVOKE, organization_id, invitation_id, at) is not None

    async def purge_invitations(self, before: datetime) -> int:
        """Forget the invitations that expired before then; return how many."""
        return int(await self._pool.fetchval(_PURGE, before))

    async def role_grants(self, organization_id: UUID, role_id: UUID) -> frozenset[str] | None:
        """Return what a role of the organization's permits; None when it has no such role."""
        granted = await self._pool.fetchval(_GRANTS, organization_id, role_id)
        return None if granted is None else frozenset(granted)
