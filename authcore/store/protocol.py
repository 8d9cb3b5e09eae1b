"""Store protocols: the operations that the domain needs from its database; ``rows.py`` has the rows they return.

Laws for every implementation:

- A row with ``deleted_at`` set does not exist, in any table and any join.
- Without an answer of the database it raises :class:`authcore.errors.StoreUnavailable`, and never returns a verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.permissions import SystemRole
    from authcore.session_states import Reuse
    from authcore.store.invitations import Spend
    from authcore.store.rows import (
        ApiKeyListing,
        ApiKeyPage,
        ApiKeyRow,
        LoginRow,
        NewApiKey,
        NewUser,
        PasswordRow,
        Subject,
        UserProfile,
    )
    from authcore.store.session_rows import (
        Moments,
        NewRefreshToken,
        NewSession,
        Rotated,
        SessionListing,
        SessionRow,
        Transitions,
        Visit,
    )


class SubjectReader(Protocol):
    """The reads behind every authenticated request."""

    async def subject(
        self,
        user_id: UUID,
        organization_id: UUID,
        session_id: UUID | None = None,
        founded_at: datetime | None = None,
    ) -> Subject | None:
        """Return the user as seen in the organization, and what became of a session of theirs; None: no such user.

        Without a session, `founded_at` is when the credential was issued: it ends as all sessions of the user do.
        """


class TicketStore(Protocol):
    """Store of used WebSocket tickets."""

    async def use_ticket(self, digest: bytes, expires_at: datetime) -> bool:
        """Use up the ticket of `digest`; False when it was used before."""

    async def is_ticket_used(self, digest: bytes) -> bool:
        """Return whether the ticket of `digest` was used; it is not used up by that."""


class CallerStore(SubjectReader, TicketStore, Protocol):
    """Store of the principal resolver."""


class KeyReader(Protocol):
    """Store of the proof of API keys."""

    async def api_key_candidates(self, prefixes: tuple[str, str], digest: bytes) -> Sequence[ApiKeyRow]:
        """Return the live keys with one of `prefixes`: those proved by `digest`, then the newest; five at most."""

    async def add_api_key_digest(self, key_id: UUID, key_hash: str, digest: bytes) -> None:
        """Keep the digest of a key that was proved against `key_hash`."""


class KeyUse(Protocol):
    """Store of the last uses of API keys."""

    async def mark_used(self, key_ids: Sequence[UUID], at: datetime) -> None:
        """Write the last use of the keys, in one statement."""


class SessionStore(SubjectReader, Protocol):
    """Families of refresh tokens. Each write is one statement or one transaction: wholly done, or not at all."""

    async def home(self, user_id: UUID) -> UUID | None:
        """Return the organization a user lands in: the home, else the default membership, else the first."""

    async def open_session(
        self,
        session: NewSession,
        token: NewRefreshToken,
        *,
        proved: bytes | None = None,
        founded_at: datetime | None = None,
    ) -> bool:
        """Begin a family with its first token; False if its foundation no longer holds.

        That is the password whose hash has the fingerprint `proved`, or a token issued at `founded_at`.
        """

    async def trim_sessions(self, user_id: UUID, most: int, at: datetime) -> Sequence[UUID]:
        """End the sessions of the user beyond the `most` that were used last, and return which."""

    async def extend_session(self, session: NewSession, token: NewRefreshToken) -> Sequence[str] | None:
        """Give a live family of the user one more token; None, changing nothing, when it is over.

        Returned are the ids, written for Whatomate, of unused tokens whose rows were deleted for it.
        """

    async def rotate_refresh_token(  # noqa: PLR0913 - what decides, by position; what is written, by name
        self,
        digest: bytes,
        event: str,
        transitions: Transitions,
        at: Moments,
        *,
        successor: NewRefreshToken | None = None,
        organization_id: UUID | None = None,
        visit: Visit | None = None,
    ) -> Rotated | None:
        """Let `event` happen to a token, as `transitions` has it; None when there is no such token."""

    async def use_forgotten_token(
        self, user_id: UUID, session_id: UUID, issued_at: datetime, at: datetime
    ) -> bool:
        """End the session of a token whose row was deleted after its use; return False if that is not so."""

    async def adopt_foreign_token(
        self, session: NewSession, foreign: NewRefreshToken, foreign_issued_at: datetime
    ) -> SessionRow | None:
        """Enter a token that Whatomate issued into a family, once, and return the family.

        None when the user has ended all sessions since it was issued.
        """

    async def family(self, digest: bytes) -> SessionRow | None:
        """Return the family a token belongs to."""

    async def end_session(self, user_id: UUID, session_id: UUID, at: datetime, over: datetime) -> bool:
        """End one of the user's sessions that had not expired by `over`; False when they have no such live one."""

    async def end_sessions(
        self, user_id: UUID, but: UUID | None, at: datetime, over: datetime
    ) -> Sequence[UUID]:
        """End every session of the user but one that had not expired by `over`; return which.

        What Whatomate issued to them before is not entered any more.
        """

    async def replace_password(  # noqa: PLR0913 - who, which password for which, and what goes on, by name
        self,
        user_id: UUID,
        *,
        before: str | None,
        after: str,
        but: UUID | None,
        at: datetime,
        over: datetime,
        founded_at: datetime | None = None,
    ) -> Sequence[UUID] | None:
        """Replace the password hash `before`, and end sessions as :meth:`end_sessions` does; None when it is another.

        ``TokenRevoked``, and nothing done, if the session `but` is over, or all were ended since `founded_at`.

        With None for `before` whatever hash there is is replaced, and None is returned when there is no such user.

        In one transaction: where the hash is another by now, no session ends.
        """

    async def note_passwords(self) -> int:
        """Note for sessions of which it is not known which password they began under; return for how many."""

    async def is_live(self, session_id: UUID, now: datetime, over: datetime) -> bool:
        """Return whether a session goes on: not ended, expired, or begun before `over`."""

    async def sessions(
        self, user_id: UUID, first: UUID | None, now: datetime, over: datetime
    ) -> Sequence[SessionListing]:
        """Return the user's live sessions: `first` first, then the last used; a hundred at most."""

    async def purge_sessions(self, before: datetime) -> int:
        """Forget the tokens that expired before then, and the families of which none is left; return how many."""

    async def forget_successors(self, at: Moments, reuse: Reuse) -> int:
        """Forget the sealed successors that nobody is given any more by `reuse`; return how many."""


class SharedSessionStore(SessionStore, Protocol):
    """Families of refresh tokens that a Whatomate server knows of too."""

    async def is_published(self, digest: bytes) -> bool:
        """Return whether the id of a token was written into Whatomate's Redis."""

    async def mark_published(self, digest: bytes, jti: str) -> bool:
        """Note that it was; return False and note nothing if the token has been used, or its session is over."""

    async def was_used_elsewhere(self, digest: bytes, *, is_ours: bool) -> bool:
        """Return whether a token whose id has gone was used at Whatomate."""

    async def unused_successor(self, digest: bytes) -> str | None:
        """Return the written id of the token that followed, if nobody has used that here."""

    async def supersede(self, digest: bytes, at: datetime) -> None:
        """Note that the token that followed was used."""

    async def published_of(self, sessions: Sequence[UUID]) -> Sequence[str]:
        """Return the ids of the unused tokens of sessions that were written, or are about to be."""


class AccountStore(SubjectReader, Protocol):
    """Users, organizations, memberships and keys, as signing up and administration need them."""

    async def home(self, user_id: UUID) -> UUID | None:
        """As ``SessionStore.home``."""

    async def logins(self, email: str) -> Sequence[LoginRow]:
        """Return the users with the e-mail in any case: the exact spelling first, then the oldest."""

    async def profile(self, user_id: UUID, organization_id: UUID) -> UserProfile | None:
        """Return the user in the form that clients see, acting in the organization."""

    async def organization_exists(self, organization_id: UUID) -> bool:
        """Return whether the organization has a live row."""

    async def role_id(self, organization_id: UUID, name: str | None) -> UUID | None:
        """Return the organization's role of that name; of no name, its default one."""

    async def add_user(self, user: NewUser, spending: Spend | None = None) -> UUID | None:
        """Create a user with their home membership; None when the e-mail is taken in any case.

        With `spending` an invitation is used up by that, or ``InvitationSpent`` raised and nothing done.
        """

    async def add_member(
        self,
        user_id: UUID,
        organization_id: UUID,
        role_id: UUID | None,
        spending: Spend | None = None,
        *,
        uninvited: bool = False,
    ) -> bool:
        """Make the user a member; False when they are one already. `spending` as in ``add_user``.

        A user who comes `uninvited` and was removed from the organization is refused by ``InvitationRequired``.
        """

    async def password_of(self, user_id: UUID) -> PasswordRow | None:
        """Return the user's e-mail and password hash; None when there is no such user."""

    async def add_organization(self, name: str, slug: str, roles: Sequence[SystemRole]) -> UUID | None:
        """Create an organization with its system roles; None when the slug is taken."""

    async def add_api_key(self, key: NewApiKey) -> ApiKeyListing | None:
        """Store a new API key, which ends with its parent at the latest; None if the parent has ended."""

    async def has_api_keys(self, user_id: UUID, organization_id: UUID, number: int) -> bool:
        """Return whether a user has `number` API keys there, or has made so many within a day, deleted or not."""

    async def api_keys(self, organization_id: UUID) -> Sequence[ApiKeyListing]:
        """Return the organization's keys, newest first."""

    async def find_api_keys(
        self, organization_id: UUID, search: str, *, limit: int, offset: int
    ) -> ApiKeyPage:
        """Return the organization's keys whose name or prefix holds `search` in any case, newest first."""

    async def api_key(self, organization_id: UUID, key_id: UUID) -> ApiKeyListing | None:
        """Return one of the organization's keys."""

    async def switch_api_key(
        self, organization_id: UUID, key_id: UUID, *, is_active: bool
    ) -> ApiKeyListing | None:
        """Switch one of the organization's keys on or off and return it; None when there is no such key."""

    async def delete_api_key(self, organization_id: UUID, key_id: UUID) -> bool:
        """Delete one of the organization's keys; False when there is no such key."""

    async def revoke_api_key(self, key_id: UUID) -> bool:
        """Switch a key off; False when there is no such key."""
