"""Account service: it registers users, signs them in, switches organizations and changes passwords.

Laws:

- A wrong password and an unknown e-mail get the same message at the same cost. Only a caller who proved the password
  learns that the user is switched off.
- A password is compared only when :mod:`authcore.sign_in_throttle` grants the attempt its turn, whatever the password
  is for.
- bcrypt runs while no database connection is held.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from authcore.accounts.administration import Administration
from authcore.accounts.sign_ups import SignedIn, count_failure, hash_new
from authcore.accounts.texts import acceptable_email, acceptable_name, is_searchable
from authcore.accounts.user_lookup import logins_of
from authcore.counterpart import NO_COUNTERPART
from authcore.errors import (
    AlreadyMember,
    CurrentPasswordWrong,
    EmailTaken,
    InvitationRejected,
    LoginRejected,
    NotAMember,
    OrganizationUnknown,
    PasswordMissing,
    SubjectUnknown,
    TokenRevoked,
    UserDisabled,
)
from authcore.fair_queue import Lane, Work
from authcore.networks import network
from authcore.store.rows import LoginRow, NewUser, RoleProfile, UserProfile
from authcore.store.session_rows import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from authcore.accounts.invitations import Invitations
    from authcore.accounts.sessions import Sessions
    from authcore.counterpart import Counterpart
    from authcore.credentials import PasswordLogin
    from authcore.passwords.hasher import Passwords
    from authcore.sign_in_throttle import SignInThrottle
    from authcore.store.protocol import AccountStore
    from authcore.store.rows import Change, Subject
    from authcore.store.session_rows import Visit

__all__ = ["Accounts", "RoleProfile", "SignedIn", "UserProfile"]


class Accounts:
    """Account service: it signs users up and in, switches organizations and changes passwords.

    Attributes:
        administration: The administration service over the same store.
    """

    def __init__(  # noqa: PLR0913, PLR0917 -- its collaborators
        self,
        store: AccountStore,
        passwords: Passwords,
        sessions: Sessions,
        attempts: SignInThrottle,
        invitations: Invitations,
        counterpart: Counterpart = NO_COUNTERPART,
        *,
        tell: Callable[[Change], None] = lambda _: None,
        most_keys: int | None = None,
    ) -> None:
        self.administration = Administration(store, passwords, counterpart, tell=tell, most_keys=most_keys)
        self._store = store
        self._passwords = passwords
        self._counterpart = counterpart
        self._sessions = sessions
        self._attempts = attempts
        self._invitations = invitations

    async def register(  # noqa: PLR0913 - what is registered, by name
        self,
        *,
        email: str,
        password: str,
        full_name: str,
        organization_id: UUID | None,
        now: float,
        visit: Visit = NOWHERE,
        invitation: str | None = None,
    ) -> SignedIn:
        """Create a user, or add an existing one to an organization, and sign them in.

        The user gets the organization's default role, or the role of the `invitation`, which is used up. With an
        invitation, `organization_id` may be None: the invitation names the organization.

        Raises:
            RegistrationClosed: nobody may register.
            InvitationRequired: registration needs an invitation, and none was sent; or the e-mail exists, the password
                is right, and the user was removed from the organization.
            InvitationRejected: the invitation is not good, or not for this (by subclass).
            OrganizationUnknown: there is no such organization.
            EmailUnacceptable: not an address.
            NameUnacceptable: empty, too long or with control characters.
            PasswordUnacceptable: a new password that is too short or too long.
            Throttled: too many attempts have failed, or too many have registered from this address.
            EmailTaken: the e-mail exists and the password is another.
            UserDisabled: the e-mail exists, the password is right, and the user is switched off.
            AlreadyMember: the e-mail exists, the password is right, and the user belongs there already.
            Overloaded: too much password work is waiting.
            StoreUnavailable: the database does not answer.
        """
        try:
            place = await self._invitations.place(organization_id, invitation, now)
            email, full_name = acceptable_email(email), acceptable_name(full_name)
            spending = await self._invitations.spending(place, email, now)
        except InvitationRejected:
            await count_failure(self._attempts, invitation or "", visit, now)
            raise
        if not await self._store.logins(email):
            user = NewUser(
                email=email,
                password_hash=await self._hashed(email, password, visit, now, invited=spending is not None),
                full_name=full_name,
                organization_id=place.organization_id,
                role_id=place.role_id,
            )
            user_id = await self._store.add_user(user, spending)
            if user_id is not None:
                return await self._signed_in(
                    user_id, place.organization_id, now, visit, password_hash=user.password_hash
                )
            # Another request has registered the e-mail since the look-up, or a deleted user holds it.
        row = await self._proved(email, password, visit, now)
        if row is None:
            raise EmailTaken
        if not row.is_active:
            raise UserDisabled
        added = await self._store.add_member(
            row.user_id, place.organization_id, place.role_id, spending, uninvited=spending is None
        )
        if not added:
            raise AlreadyMember
        await self._counterpart.forget_permissions(row.user_id, place.organization_id)
        return await self._signed_in_by(row, place.organization_id, now, visit)

    async def login(self, login: PasswordLogin, now: float, visit: Visit = NOWHERE) -> SignedIn:
        """Sign a user in, in the organization they land in.

        Raises:
            Throttled: too many attempts have failed, for this e-mail or from this address.
            LoginRejected: unknown e-mail or wrong password.
            UserDisabled: right password, and the user is switched off.
            NotAMember: right password, and there is no organization the user may act in.
            Overloaded: too much password work is waiting.
            StoreUnavailable: the database does not answer.
        """
        row = await self._proved(login.email, login.password, visit, now)
        if row is None:
            raise LoginRejected
        if not row.is_active:
            raise UserDisabled
        organization_id = await self._store.home(row.user_id)
        if organization_id is None:
            raise NotAMember
        return await self._signed_in_by(row, organization_id, now, visit)

    async def switch(  # noqa: PLR0913 - the user, the target and the grounds for it, by name
        self,
        user_id: UUID,
        organization_id: UUID,
        now: float,
        session_id: UUID | None = None,
        visit: Visit = NOWHERE,
        *,
        founded_at: float | None = None,
        of: tuple[UUID, float] | None = None,
    ) -> SignedIn:
        """Issue tokens for another organization to an authenticated user, in their current session.

        `session_id` is None when the caller's token was issued by Whatomate and therefore belongs to no session. A new
        session begins then, unless all sessions of the user were ended after `founded_at`, the time that token was
        issued.

        `of` is the organization of the caller's token and its end, POSIX seconds. For that organization nothing lasts
        longer than the token: no new tokens, and nothing that is refreshed with them.

        Raises:
            OrganizationUnknown: there is no such organization.
            NotAMember: the user does not belong to it, and is no super admin.
            SubjectUnknown: the user is gone.
            UserDisabled: the user is switched off.
            TokenRevoked: the session is over, or all sessions were ended since the token was issued.
            StoreUnavailable: the database does not answer.
        """
        until = of[1] if of is not None and of[0] == organization_id else math.inf
        return await self._signed_in(
            user_id, organization_id, now, visit, session_id, founded_at=founded_at, until=until
        )

    async def change_password(  # noqa: PLR0913 - both passwords, the user and the visit, by name
        self,
        *,
        user_id: UUID,
        current: str,
        new: str,
        now: float,
        session_id: UUID | None = None,
        founded_at: float | None = None,
        visit: Visit = NOWHERE,
    ) -> None:
        """Replace a user's password, and end all of their sessions except the current one.

        Without a `session_id`, `founded_at` is when the caller's token was issued, POSIX seconds.

        Raises:
            PasswordUnacceptable: the new one is too short or too long.
            PasswordMissing: the user has none.
            Throttled: too many attempts have failed, from this address or in the user's sessions.
            CurrentPasswordWrong: the current one is another.
            SubjectUnknown: the user is gone.
            TokenRevoked: the session is over, or all sessions were ended since the token was issued.
            Overloaded: too much password work is waiting.
            StoreUnavailable: the database does not answer.
        """
        began = asyncio.get_running_loop().time()
        self._passwords.check(new)
        row = await self._store.password_of(user_id)
        if row is None:
            raise SubjectUnknown
        before = row.password_hash
        if not before:
            raise PasswordMissing

        async def prove(lane: Lane) -> bool | None:
            return await self._passwords.verify(current, before, lane) or None

        email, address = row.email, visit.address
        if not await self._attempts.throttled(prove, email=email, address=address, now=now, has_session=True):
            raise CurrentPasswordWrong
        after = await self._passwords.hash(new, Lane(network(visit.address), Work.PASSWORD))
        # bcrypt took a while. Tokens issued during it were issued before the change, so its time is added to `now`.
        changed_at = now + asyncio.get_running_loop().time() - began
        if not await self._sessions.change_password(
            user_id,
            before=before,
            after=after,
            except_session=session_id,
            founded_at=founded_at,
            now=changed_at,
        ):
            raise CurrentPasswordWrong  # another request has changed the password since the look-up

    async def _hashed(self, email: str, password: str, visit: Visit, now: float, *, invited: bool) -> str:
        attempts, passwords = self._attempts, self._passwords
        return await hash_new(
            attempts, passwords, email=email, password=password, visit=visit, now=now, invited=invited
        )

    async def _proved(self, email: str, password: str, visit: Visit, now: float) -> LoginRow | None:
        """Return the account of `email`; None, at the same cost, if there is none or the password does not match."""
        if not is_searchable(email):
            email = ""
        return await self._attempts.throttled(
            lambda lane: self._prove(email, password, lane), email=email, address=visit.address, now=now
        )

    async def _prove(self, email: str, password: str, lane: Lane) -> LoginRow | None:
        # Rows whose e-mails differ only in case count as one e-mail: only the first of them can sign in.
        row = next(iter(await logins_of(self._store, email)), None)
        stored = None if row is None else row.password_hash
        return row if await self._passwords.verify(password, stored, lane) else None

    async def _signed_in_by(self, row: LoginRow, organization_id: UUID, now: float, visit: Visit) -> SignedIn:
        """Sign in the owner of `row`, whose password is proved; if it has changed meanwhile, refuse the sign-in."""
        try:
            return await self._signed_in(
                row.user_id, organization_id, now, visit, password_hash=row.password_hash
            )
        except TokenRevoked:
            raise LoginRejected from None

    async def _signed_in(  # noqa: PLR0913 - the user, the target and the grounds for it, by name
        self,
        user_id: UUID,
        organization_id: UUID,
        now: float,
        visit: Visit,
        session_id: UUID | None = None,
        *,
        password_hash: str | None = None,
        founded_at: float | None = None,
        until: float = math.inf,
    ) -> SignedIn:
        subject = await self._acting(user_id, organization_id, session_id)
        profile = await self._store.profile(user_id, organization_id)
        if profile is None:
            raise SubjectUnknown
        if session_id is None:
            opened = self._sessions.open(
                subject, now, visit, password_hash=password_hash, founded_at=founded_at, until=until
            )
            return SignedIn(profile, await opened)
        return SignedIn(profile, await self._sessions.extend(subject, session_id, now, visit, until=until))

    async def _acting(self, user_id: UUID, organization_id: UUID, session_id: UUID | None) -> Subject:
        subject = await self._store.subject(user_id, organization_id, session_id)
        if subject is None:
            raise SubjectUnknown
        if not subject.is_active:
            raise UserDisabled
        if not subject.organization_exists:
            raise OrganizationUnknown
        if not subject.may_act:
            raise NotAMember
        return subject
