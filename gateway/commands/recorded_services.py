"""Recorded services of commands: the two administration services, with an audit record after each change.

Law: each method that changes something is overridden here and recorded, so that no command has to write the record
(``tests/commands/test_audit_log.py`` compares the methods).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.accounts.administration import Administration
from authcore.accounts.user_administration import UserAdministration
from authcore.networks import network
from authcore.quota_ledger import PERIODS
from authcore.quotas import SubjectKind, window
from authcore.trail import Event

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.counterpart import Counterpart
    from authcore.passwords.hasher import Passwords
    from authcore.quotas import Period
    from authcore.store.origins import Vouched
    from authcore.store.postgres import PostgresStore
    from authcore.store.quotas import Listed
    from authcore.store.rows import ApiKeyListing
    from gateway.commands.recording import CommandTrail


class RecordedAdministration(Administration):
    """Administration service of the operator, who has no session; its changes are recorded."""

    def __init__(
        self, store: PostgresStore, passwords: Passwords, counterpart: Counterpart, trail: CommandTrail
    ) -> None:
        super().__init__(store, passwords, counterpart)
        self._rows = store
        self._trail = trail

    async def create_organization(self, name: str, slug: str | None = None) -> UUID:
        """As ``Administration.create_organization``."""
        organization_id = await super().create_organization(name, slug)
        await self._trail.record(
            Event.CREATE_ORGANIZATION,
            target=organization_id,
            organization_id=organization_id,
            details={"name": name},
        )
        return organization_id

    async def create_user(  # noqa: PLR0913 - the columns of a user, by name
        self,
        *,
        email: str,
        password: str,
        full_name: str,
        organization_id: UUID,
        role: str | None = None,
        is_super_admin: bool = False,
    ) -> UUID:
        """As ``Administration.create_user``."""
        user_id = await super().create_user(
            email=email,
            password=password,
            full_name=full_name,
            organization_id=organization_id,
            role=role,
            is_super_admin=is_super_admin,
        )
        await self._trail.record(
            Event.CREATE_USER,
            target=user_id,
            organization_id=organization_id,
            email=email,
            details={"role": role, "is_super_admin": is_super_admin},
        )
        return user_id

    async def add_member(self, user_id: UUID, organization_id: UUID, role: str | None = None) -> None:
        """As ``Administration.add_member``."""
        await super().add_member(user_id, organization_id, role)
        await self._trail.record(
            Event.ADD_MEMBER, target=user_id, organization_id=organization_id, details={"role": role}
        )

    async def create_api_key(  # noqa: PLR0913 - the key, its parent and where it is made, by name
        self,
        user_id: UUID,
        organization_id: UUID,
        name: str,
        expires_at: datetime | None = None,
        *,
        parent_id: UUID | None = None,
        session_id: UUID | None = None,
        founded_at: float | None = None,
        address: str | None = None,
        permission: str | None = None,
    ) -> tuple[ApiKeyListing, str]:
        """As ``Administration.create_api_key``."""
        row, key = await super().create_api_key(
            user_id,
            organization_id,
            name,
            expires_at,
            parent_id=parent_id,
            session_id=session_id,
            founded_at=founded_at,
            address=address,
            permission=permission,
        )
        await self._trail.record(
            Event.CREATE_API_KEY,
            target=row.id,
            organization_id=organization_id,
            details={"name": row.name, "acts_as": row.user_id},
        )
        return row, key

    async def switch_api_key(self, organization_id: UUID, key_id: UUID, *, is_active: bool) -> ApiKeyListing:
        """As ``Administration.switch_api_key``."""
        row = await super().switch_api_key(organization_id, key_id, is_active=is_active)
        await self._trail.record(
            Event.SWITCH_API_KEY,
            target=key_id,
            organization_id=organization_id,
            details={"is_active": is_active},
        )
        return row

    async def delete_api_key(self, organization_id: UUID, key_id: UUID) -> None:
        """As ``Administration.delete_api_key``."""
        await super().delete_api_key(organization_id, key_id)
        await self._trail.record(Event.DELETE_API_KEY, target=key_id, organization_id=organization_id)

    async def revoke_api_key(self, key_id: UUID) -> None:
        """As ``Administration.revoke_api_key``."""
        await super().revoke_api_key(key_id)
        await self._trail.record(Event.REVOKE_API_KEY, target=key_id)

    async def unlock(self, email: str) -> int:
        """Forget the failed sign-ins of an e-mail; return of how many counts."""
        forgotten = await self._rows.forget_attempts(email)
        if forgotten:
            await self._trail.record(Event.UNLOCK_USER, email=email)
        return forgotten

    async def unlock_address(self, address: str) -> int:
        """Forget the failed sign-ins from the network of an address; return of how many counts."""
        forgotten = await self._rows.forget_attempts_from(network(address))
        if forgotten:
            await self._trail.record(Event.UNLOCK_ADDRESS, details={"address": network(address)})
        return forgotten

    async def vouch(self, emails: Sequence[str], organization_id: UUID | None) -> Vouched:
        """Note that the e-mails of accounts are theirs; return of how many, and how many were found."""
        vouched = await self._rows.vouch(emails, organization_id)
        if vouched.vouched:
            await self._trail.record(
                Event.VOUCH_FOR_USERS,
                organization_id=organization_id,
                details={"emails": emails, "accounts": vouched.vouched},
            )
        return vouched

    async def set_quota(self, kind: SubjectKind, subject: UUID, period: Period, most: int | None) -> None:
        """As ``PostgresStore.set_quota``."""
        await self._rows.set_quota(kind, subject, period, most)
        details = {"kind": kind.value, "period": period.value, "most": most}
        await self._trail.record(
            Event.SET_QUOTA, target=subject, organization_id=_organization(kind, subject), details=details
        )

    async def clear_quotas(self, kind: SubjectKind, subject: UUID) -> list[Period]:
        """Delete a subject's own quotas; return of which periods."""
        cleared = await self._rows.clear_quotas(kind, subject, PERIODS)
        if cleared:
            details = {"kind": kind.value, "periods": [period.value for period in cleared]}
            await self._trail.record(
                Event.CLEAR_QUOTA,
                target=subject,
                organization_id=_organization(kind, subject),
                details=details,
            )
        return cleared

    async def list_quotas(self, organization: UUID | None, now: float) -> list[Listed]:
        """Return quotas and what is used of them in the windows of `now`, POSIX seconds."""
        day, month = (window(period, now).starts for period in PERIODS)
        return await self._rows.list_quotas(organization, day, month)


def _organization(kind: SubjectKind, subject: UUID) -> UUID | None:
    return subject if kind is SubjectKind.ORGANIZATION else None


class RecordedUserAdministration(UserAdministration):
    """User administration whose changes are recorded."""

    trail: CommandTrail

    async def disable(self, user_id: UUID, now: float, *, even_last: bool = False) -> int:
        """As ``UserAdministration.disable``."""
        ended = await super().disable(user_id, now, even_last=even_last)
        await self.trail.record(Event.DISABLE_USER, target=user_id, details={"sessions": ended})
        return ended

    async def enable(self, user_id: UUID) -> None:
        """As ``UserAdministration.enable``."""
        await super().enable(user_id)
        await self.trail.record(Event.ENABLE_USER, target=user_id)

    async def set_password(self, user_id: UUID, password: str, now: float) -> int:
        """As ``UserAdministration.set_password``."""
        ended = await super().set_password(user_id, password, now)
        await self.trail.record(Event.SET_PASSWORD, target=user_id, details={"sessions": ended})
        return ended

    async def add_to(self, user_id: UUID, organization_id: UUID, role: str | None) -> None:
        """As ``UserAdministration.add_to``."""
        await super().add_to(user_id, organization_id, role)
        await self.trail.record(
            Event.ADD_MEMBER, target=user_id, organization_id=organization_id, details={"role": role}
        )

    async def remove_from(self, user_id: UUID, organization_id: UUID, *, even_last: bool = False) -> None:
        """As ``UserAdministration.remove_from``."""
        await super().remove_from(user_id, organization_id, even_last=even_last)
        await self.trail.record(Event.REMOVE_MEMBER, target=user_id, organization_id=organization_id)

    async def set_role(
        self, user_id: UUID, organization_id: UUID, role: str, *, even_last: bool = False
    ) -> None:
        """As ``UserAdministration.set_role``."""
        await super().set_role(user_id, organization_id, role, even_last=even_last)
        await self.trail.record(
            Event.CHANGE_ROLE, target=user_id, organization_id=organization_id, details={"role": role}
        )

    async def end_session(self, session_id: UUID, now: float) -> None:
        """As ``UserAdministration.end_session``."""
        await super().end_session(session_id, now)
        await self.trail.record(Event.END_SESSION, target=session_id, session_id=session_id)

    async def end_sessions(self, user_id: UUID, now: float) -> int:
        """As ``UserAdministration.end_sessions``."""
        ended = await super().end_sessions(user_id, now)
        await self.trail.record(Event.END_SESSIONS, target=user_id, details={"sessions": ended})
        return ended

    async def end_provider_sessions(self, provider: str, now: float) -> int:
        """As ``UserAdministration.end_provider_sessions``."""
        ended = await super().end_provider_sessions(provider, now)
        await self.trail.record(Event.END_SESSIONS, details={"sessions": ended, "provider": provider})
        return ended
