"""Invitations and the registration policy: who may register is everybody, the invited, or nobody.

An invitation is a signed token that carries an organization, a role and, if it is for one person, an e-mail.

Laws:

- An invitation is good once, until it expires or is revoked. Its token is returned once, and the store has its digest.
- A genuine token without a row lets nobody in: to know the secret that Whatomate shares is not enough to invite.
- Nobody grants what they have not: the inviter is judged when they invite, and again when somebody is let in
  (:mod:`authcore.granting`).
- An invitation is honoured where everybody may register too: it says which role.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

from authcore.accounts.texts import acceptable_email
from authcore.crypto.jws import signing_digest
from authcore.errors import (
    InvitationExpired,
    InvitationForAnother,
    InvitationRejected,
    InvitationRequired,
    InvitationsExhausted,
    InvitationSpent,
    InvitationUnknown,
    OrganizationUnknown,
    PermissionDenied,
    RegistrationClosed,
    RoleUnknown,
    TokenExpired,
    TokenRejected,
)
from authcore.granting import lacking, may_invite
from authcore.moments import moment
from authcore.store.invitations import InvitationRow, Spend
from authcore.tokens.claims import InvitationClaims, TokenKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from authcore.store.invitation_protocol import InvitationStore
    from authcore.tokens.issuer import Tokens

INVITATION_SECONDS: Final = 7 * 86_400
LONGEST_SECONDS: Final = 366 * 86_400
_PURGE_GRACE_SECONDS: Final = 86_400


class Registration(StrEnum):
    """Registration policy: who may register."""

    OPEN = "open"
    INVITE = "invite"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Membership:
    """Membership that a newcomer is to get.

    Attributes:
        invitation: The digest of the invitation that lets them in; None if registration is open.
    """

    organization_id: UUID
    role_id: UUID | None
    invitation: bytes | None = field(default=None, repr=False)


class Invitations:
    """Invitation service: it makes invitations, and checks registrations by them."""

    def __init__(
        self,
        store: InvitationStore,
        tokens: Tokens,
        *,
        registration: Registration = Registration.OPEN,
        seconds: int = INVITATION_SECONDS,
        most: int | None = None,
    ) -> None:
        """`seconds` is how long an invitation is good for that says nothing else; a user may make `most`."""
        self._most = most
        self._store = store
        self._tokens = tokens
        self._registration = registration
        self._seconds = seconds

    # -- invite ---------------------------------------------------------------------------------------------------

    async def create(  # noqa: PLR0913 - what an invitation carries, by name
        self,
        *,
        organization_id: UUID,
        now: float,
        inviter: UUID | None = None,
        role_id: UUID | None = None,
        email: str | None = None,
        expires_at: float | None = None,
    ) -> tuple[InvitationRow, str]:
        """Make an invitation; its token is returned this once.

        Args:
            organization_id: Where it lets in.
            now: POSIX seconds.
            inviter: The user who invites; None for the operator, who may grant everything.
            role_id: As what; without one, the organization's default role as it is now.
            email: The invited person; without one, the holder of the token.
            expires_at: POSIX seconds until when, at most a year from now.

        Raises:
            OrganizationUnknown: there is no such organization.
            RoleUnknown: it has no such role.
            PermissionDenied: the role permits what the inviter lacks.
            EmailUnacceptable: not an address.
            InvitationsExhausted: the inviter has made as many as one may have.
            StoreUnavailable: the database does not answer.
        """
        if not await self._store.organization_exists(organization_id):
            raise OrganizationUnknown
        if inviter is not None and await self._has_made_most(inviter, now):
            raise InvitationsExhausted
        if role_id is None:
            role_id = await self._store.role_id(organization_id, None)
        if role_id is not None:
            await self._may_grant(inviter, organization_id, role_id)
        ends = min(expires_at or now + self._seconds, now + LONGEST_SECONDS)
        row = InvitationRow(
            id=uuid4(),
            organization_id=organization_id,
            role_id=role_id,
            email=None if email is None else acceptable_email(email),
            invited_by=inviter,
            created_at=moment(now),
            expires_at=moment(int(ends)),
        )
        token = self._signed(row, now)
        await self._store.add_invitation(row, signing_digest(token), self._most)
        return row, token

    async def _has_made_most(self, inviter: UUID, now: float) -> bool:
        return self._most is not None and await self._store.has_invitations(inviter, self._most, moment(now))

    async def _may_grant(self, inviter: UUID | None, organization_id: UUID, role_id: UUID) -> None:
        granted = await self._store.role_grants(organization_id, role_id)
        if granted is None:
            raise RoleUnknown
        if inviter is None:
            return
        subject = await self._store.subject(inviter, organization_id)
        if subject is None or not may_invite(subject):
            raise PermissionDenied
        missing = lacking(subject, granted)
        if missing:
            raise PermissionDenied(
                f"You cannot grant a role with permissions that you lack: {', '.join(sorted(missing))}"
            )

    def _signed(self, row: InvitationRow, now: float) -> str:
        claims: dict[str, object] = {
            "iss": self._tokens.issuer,
            "iat": int(now),
            "exp": int(row.expires_at.timestamp()),
            "jti": str(row.id),
            "org": str(row.organization_id),
            "token_use": TokenKind.INVITATION,
        }
        optional = {"role": row.role_id and str(row.role_id), "email": row.email}
        return self._tokens.sign(claims | {name: one for name, one in optional.items() if one is not None})

    async def open_ones(
        self, organization_id: UUID, now: float, most: int | None = None
    ) -> Sequence[InvitationRow]:
        """Return the organization's invitations that may still be used, newest first; `most` of them, None for all.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._store.open_invitations(organization_id, moment(now), most)

    async def revoke(self, organization_id: UUID, invitation_id: UUID, now: float) -> None:
        """Take an invitation back.

        Raises:
            InvitationUnknown: the organization has no such open invitation.
            StoreUnavailable: the database does not answer.
        """
        if not await self._store.revoke_invitation(organization_id, invitation_id, moment(now)):
            raise InvitationUnknown

    async def purge(self, now: float) -> int:
        """Forget invitations that expired more than a day ago, and return how many.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._store.purge_invitations(moment(now - _PURGE_GRACE_SECONDS))

    # -- let in ---------------------------------------------------------------------------------------------------

    async def place(self, organization_id: UUID | None, invitation: str | None, now: float) -> Membership:
        """Return the membership that a registration gets.

        Args:
            organization_id: Where they want to; None for wherever they are invited.
            invitation: The token they present, if any.
            now: POSIX seconds.

        Raises:
            RegistrationClosed: nobody is let in.
            InvitationRequired: Only the invited may register.
            InvitationRejected: the invitation is not genuine, has expired, or is for elsewhere (by subclass).
            OrganizationUnknown: there is no such organization.
            StoreUnavailable: the database does not answer.
        """
        if self._registration is Registration.CLOSED:
            raise RegistrationClosed
        if invitation is None:
            if self._registration is Registration.INVITE:
                raise InvitationRequired
            if organization_id is None or not await self._store.organization_exists(organization_id):
                raise OrganizationUnknown
            return Membership(organization_id, await self._store.role_id(organization_id, None))
        claims = self._verified(invitation, now)
        if organization_id not in (None, claims.organization_id):
            raise InvitationForAnother
        if not await self._store.organization_exists(claims.organization_id):
            raise OrganizationUnknown
        if claims.role_id is not None:
            grants = await self._store.role_grants(claims.organization_id, claims.role_id)
            if grants is None:  # deleted since; another role is not what was meant
                raise InvitationRejected("The role of this invitation does not exist any more")
        return Membership(claims.organization_id, claims.role_id, signing_digest(invitation))

    async def spending(self, place: Membership, email: str, now: float) -> Spend | None:
        """Return the invitation that a registration of `email` for `place` uses up; None if it needs none.

        Raises:
            InvitationRejected: the invitation has been used up already, or is for another (by subclass).
            StoreUnavailable: the database does not answer.
        """
        if place.invitation is None:
            return None
        found = await self._store.find_invitation(place.invitation, email)
        if found is None:
            raise InvitationRejected
        if found.is_spent:
            raise InvitationSpent
        if not found.fits:
            raise InvitationForAnother
        return Spend(place.invitation, email, moment(now))

    def _verified(self, token: str, now: float) -> InvitationClaims:
        try:
            return self._tokens.verify(token, InvitationClaims, now)
        except TokenExpired as error:
            raise InvitationExpired from error
        except TokenRejected as error:
            raise InvitationRejected from error
