"""Store protocol of invitations, which the domain uses and PostgreSQL fulfils."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from authcore.store.protocol import SubjectReader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.store.invitations import Found, InvitationRow


class InvitationStore(SubjectReader, Protocol):
    """Invitations, and the roles they are for."""

    async def organization_exists(self, organization_id: UUID) -> bool:
        """As ``AccountStore.organization_exists``."""

    async def role_id(self, organization_id: UUID, name: str | None) -> UUID | None:
        """As ``AccountStore.role_id``."""

    async def role_grants(self, organization_id: UUID, role_id: UUID) -> frozenset[str] | None:
        """Return what a role of the organization's permits; None when it has no such role."""

    async def add_invitation(self, row: InvitationRow, digest: bytes, most: int | None = None) -> None:
        """Store a new invitation; ``InvitationsExhausted`` if its inviter has made `most`."""

    async def find_invitation(self, digest: bytes, email: str) -> Found | None:
        """Return the state of an invitation; None if there is none of that digest."""

    async def has_invitations(self, inviter: UUID, number: int, at: datetime) -> bool:
        """Return whether a user has made `number` invitations whose time is not over, used or not."""

    async def open_invitations(
        self, organization_id: UUID, at: datetime, most: int | None
    ) -> Sequence[InvitationRow]:
        """Return the organization's invitations that may still be used, newest first; `most` of them, None for all."""

    async def revoke_invitation(self, organization_id: UUID, invitation_id: UUID, at: datetime) -> bool:
        """Take one of the organization's open invitations back; False when there is no such one."""

    async def purge_invitations(self, before: datetime) -> int:
        """Forget the invitations that expired before then; return how many."""
