"""Frozen rows about single sign-on, and the store protocol of its rules; no ``repr`` of them has a client's secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from authcore.store.protocol import AccountStore, TicketStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.store.rows import Binding


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRow:
    """Enabled row of ``sso_providers``.

    Attributes:
        client_secret: As it is stored: plain text, or encrypted by Whatomate.
        allowed_domains: Domains in lower case; None for all. A list without a domain, such as a comma, allows none.
        profile_url: ``user_info_url``.
    """

    id: UUID
    organization_id: UUID
    provider: str
    client_id: str
    client_secret: str = field(repr=False)
    allow_auto_create: bool
    default_role_name: str
    allowed_domains: tuple[str, ...] | None
    auth_url: str
    token_url: str
    profile_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRow:
    """Account that an identity may be of: it has the identity's binding, its e-mail, or both.

    Attributes:
        organization_id: The home organization.
        provider: ``users.sso_provider``; empty if the account is bound to none.
        provider_account: ``users.sso_provider_id``.
        is_proved: Somebody proved the account's e-mail.
        noted_issuer: The issuer for which the gateway bound it to `provider_account`; empty if it did not.
        has_email: Its e-mail is the identity's.
    """

    user_id: UUID
    organization_id: UUID
    is_active: bool
    is_super_admin: bool
    provider: str
    provider_account: str
    is_proved: bool
    noted_issuer: str
    has_email: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSession:
    """Session of the gateway's that a provider's sign-in began.

    Attributes:
        session_id: The session.
        provider_id: The row of the provider.
        issuer: Who signed the user in.
        subject: ``sub`` of the ID token, or the user's id there.
        sid: The provider's own session; empty if it names none.
        account: The user's id there, to which their account here was bound; None from before that was noted.
        bound_to: The organization that the session stays in, whose row alone names the provider; None for any.
    """

    session_id: UUID
    provider_id: UUID
    issuer: str
    subject: str
    sid: str
    account: str | None
    bound_to: UUID | None


class SsoStore(AccountStore, TicketStore, Protocol):
    """Store of single sign-on."""

    async def sso_providers(self) -> Sequence[ProviderRow]:
        """Return the enabled row of each kind that counts: of several the one with the lowest id."""

    async def sso_accounts(self, provider: str, account: str, email: str | None) -> Sequence[AccountRow]:
        """Return the accounts that are bound to a user of a provider, and those with an e-mail in any case."""

    async def bind_account(self, user_id: UUID, binding: Binding) -> bool:
        """Bind an account; False if it is gone, or bound to another user or provider by now."""

    async def note_sso_session(
        self, session: ProviderSession, logouts: Sequence[bytes], since: datetime
    ) -> bool:
        """Note a session, then return whether none of `logouts` was noted at `since` or later."""

    async def is_ticket_used(self, digest: bytes) -> bool:
        """Return whether the ticket of `digest` was used; it is not used up by that."""

    async def note_sso_logout(self, digest: bytes, at: datetime) -> None:
        """Note that a provider ended a session, or all of a user, which `digest` stands for."""

    async def sso_sessions(self, issuer: str, subject: str, sid: str) -> Sequence[tuple[UUID, UUID]]:
        """Return user and id of the live sessions of a subject or a provider's session; both, unless one is empty."""

    async def sso_session(self, session_id: UUID) -> ProviderSession | None:
        """Return what is noted about a session; None if no provider began it."""

    async def purge_sso(self, before: datetime) -> int:
        """Forget the notes on sessions that are gone, and on logouts before then; return how many sessions."""
