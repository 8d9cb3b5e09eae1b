"""User administration: the service by which an operator lists and changes users, memberships and sessions.

Laws:

- A text that an operator typed has to name exactly one user, organization or role, else nothing is changed. It is an
  id, the e-mail of a user, the slug or name of an organization, or the name of a role. An error lists the candidates.
- Running gateways hear of each change from the database, as they do of a user's own. Nothing is cached here.
- The operator is no user of the installation, and has no session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.accounts.names import Names
from authcore.counterpart import NO_COUNTERPART
from authcore.errors import AlreadyMember, SessionUnknown, StoreUnavailable, UserUnknown
from authcore.moments import moment
from authcore.store.directory_rows import UserFilter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.counterpart import Counterpart
    from authcore.passwords.hasher import Passwords
    from authcore.store.directory_rows import (
        Holdings,
        KeyEntry,
        Membership,
        OrganizationRow,
        SessionEntry,
        UserRow,
    )
    from authcore.store.postgres import PostgresStore


class UserAdministration(Names):
    """User administration over the store."""

    def __init__(
        self,
        store: PostgresStore,
        passwords: Passwords,
        counterpart: Counterpart = NO_COUNTERPART,
        *,
        leeway_seconds: float,
        session_seconds: float,
    ) -> None:
        """Prepare.

        Args:
            store: Users, memberships and sessions.
            passwords: Judges and hashes new passwords.
            counterpart: Forgets refresh tokens of ended sessions, and permissions of changed memberships.
            leeway_seconds: Tokens are accepted for so long past their end.
            session_seconds: The absolute lifetime of a session.
        """
        super().__init__(store)
        self._passwords = passwords
        self._counterpart = counterpart
        self._leeway_seconds = leeway_seconds
        self._session_seconds = session_seconds

    # -- lists ----------------------------------------------------------------------------------------------------

    async def organizations(self) -> Sequence[OrganizationRow]:
        """Return all organizations, by name.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._store.organizations()

    async def users(self, wanted: UserFilter) -> Sequence[UserRow]:
        """Return the users that `wanted` describes, by e-mail.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._store.users(wanted)

    async def profile(self, user_id: UUID, now: float) -> tuple[UserRow, Sequence[Membership], Holdings]:
        """Return a user, their memberships, and the numbers of what they hold at `now`, POSIX seconds.

        Raises:
            UserUnknown: there is no such user.
            StoreUnavailable: the database does not answer.
        """
        found = await self._store.users(UserFilter(user_id=user_id))
        if not found:
            raise UserUnknown
        holdings = await self._store.holdings(user_id, moment(now), self._over(now))
        return found[0], await self._store.memberships(user_id), holdings

    async def sessions(
        self, user_id: UUID | None, organization_id: UUID | None, now: float
    ) -> Sequence[SessionEntry]:
        """Return the sessions that are live at `now`, POSIX seconds, by their last use.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._store.live_sessions(user_id, organization_id, moment(now), self._over(now))

    async def api_keys(
        self, *, user_id: UUID | None, organization_id: UUID | None, prefix: str | None
    ) -> Sequence[KeyEntry]:
        """Return API keys, newest first: of one user, in one organization, with one beginning, or all.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._store.key_entries(user_id, organization_id, prefix)

    # -- changes --------------------------------------------------------------------------------------------------

    async def disable(self, user_id: UUID, now: float, *, even_last: bool = False) -> int:
        """Switch a user off, end their sessions, and return how many.

        Raises:
            UserUnknown: there is no such user.
            LastAdministrator: nobody else may manage an organization, or everything; not with `even_last`.
            StoreUnavailable: the database does not answer; nothing has changed.
        """
        ended = await self._store.disable_user(user_id, moment(now), self._expired(now), even_last=even_last)
        await self._drop(ended)
        return len(ended)

    async def enable(self, user_id: UUID) -> None:
        """Switch a user on.

        Raises:
            UserUnknown: there is no such user.
            StoreUnavailable: the database does not answer.
        """
        await self._store.enable_user(user_id)

    async def set_password(self, user_id: UUID, password: str, now: float) -> int:
        """Give a user a password, end their sessions, and return how many.

        Raises:
            PasswordUnacceptable: it is too short or too long.
            UserUnknown: there is no such user.
            StoreUnavailable: the database does not answer; nothing has changed.
        """
        after = await self._passwords.hash(password)
        ended = await self._store.replace_password(
            user_id, before=None, after=after, but=None, at=moment(now), over=self._expired(now)
        )
        if ended is None:
            raise UserUnknown
        await self._drop(ended)
        return len(ended)

    async def add_to(self, user_id: UUID, organization_id: UUID, role: str | None) -> None:
        """Make a user a member of an organization, as a role of it, or as its default one.

        Raises:
            RoleUnknown: the organization has no such role.
            NameAmbiguous: it has several.
            AlreadyMember: the user belongs there already.
            StoreUnavailable: the database does not answer.
        """
        role_id = (
            await self._store.role_id(organization_id, None)
            if role is None
            else await self._role(organization_id, role)
        )
        if not await self._store.add_member(user_id, organization_id, role_id):
            raise AlreadyMember("The user is a member of this organization already")
        await self._counterpart.forget_permissions(user_id, organization_id)

    async def remove_from(self, user_id: UUID, organization_id: UUID, *, even_last: bool = False) -> None:
        """End a membership: the user's sessions, tokens and API keys are no longer valid there.

        Raises:
            UserUnknown: there is no such user.
            NotAMember: they do not belong there.
            LastAdministrator: nobody else may manage the organization; not with `even_last`.
            StoreUnavailable: the database does not answer.
        """
        await self._store.remove_member(user_id, organization_id, even_last=even_last)
        await self._counterpart.forget_permissions(user_id, organization_id)

    async def set_role(
        self, user_id: UUID, organization_id: UUID, role: str, *, even_last: bool = False
    ) -> None:
        """Give a member another role of the organization, by its name or id.

        Raises:
            RoleUnknown: the organization has no such role.
            NameAmbiguous: it has several.
            UserUnknown: there is no such user.
            NotAMember: they do not belong there.
            LastAdministrator: nobody else may manage the organization; not with `even_last`.
            StoreUnavailable: the database does not answer.
        """
        role_id = await self._role(organization_id, role)
        await self._store.set_role(user_id, organization_id, role_id, even_last=even_last)
        await self._counterpart.forget_permissions(user_id, organization_id)

    async def end_session(self, session_id: UUID, now: float) -> None:
        """End one session.

        Raises:
            SessionUnknown: there is no such live session.
            StoreUnavailable: the database does not answer.
        """
        owner = await self._store.session_owner(session_id)
        if owner is None or not await self._store.end_session(owner, session_id, moment(now), moment(now)):
            raise SessionUnknown
        await self._drop([session_id])

    async def end_sessions(self, user_id: UUID, now: float) -> int:
        """End all sessions of a user, and return how many; older refresh tokens of Whatomate's are refused then too.

        Raises:
            StoreUnavailable: the database does not answer; all go on.
        """
        ended = await self._store.end_sessions(user_id, None, moment(now), self._expired(now))
        await self._drop(ended)
        return len(ended)

    async def end_provider_sessions(self, provider: str, now: float) -> int:
        """End all sessions that a kind of identity provider began, of all users, and return how many.

        Raises:
            StoreUnavailable: the database does not answer; those that it has not ended go on.
        """
        ended = await self._store.end_sso_sessions(provider, moment(now), self._expired(now))
        await self._drop(ended)
        return len(ended)

    async def _drop(self, ended: Sequence[UUID]) -> None:
        """Have Whatomate forget the refresh tokens of ended sessions; without an answer they end there by time."""
        try:
            await self._counterpart.drop(await self._store.published_of(ended))
        except StoreUnavailable:
            return

    def _over(self, now: float) -> datetime:
        """Return the cut-off: a session that began at or before it is over now."""
        return moment(now - self._session_seconds)

    def _expired(self, now: float) -> datetime:
        """Return until when a session has to have expired to be over: its tokens are accepted for the leeway more."""
        return moment(now - self._leeway_seconds)
