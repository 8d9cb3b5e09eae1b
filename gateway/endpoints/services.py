"""Services of the hosted endpoints: the domain objects that every handler is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from authcore.accounts.accounts import Accounts
    from authcore.accounts.invitations import Invitations
    from authcore.accounts.sessions import Sessions
    from authcore.crypto.keyring import KeyRing
    from authcore.quotas import Period, Standing, SubjectKind
    from authcore.store.clock import DatabaseClock
    from authcore.tokens.issuer import Tokens
    from gateway.endpoints.caller import Caller
    from gateway.endpoints.cookies import CookiePolicy
    from gateway.endpoints.openapi import Description
    from gateway.endpoints.sso_flow import SsoFlow
    from gateway.trail.trail import Trail


class UsageReader(Protocol):
    """Protocol of the reader of used quotas."""

    async def usage(self, kind: SubjectKind, subject: UUID, now: float) -> Mapping[Period, Standing]:
        """Return where a subject's counts stand in the windows of `now`, POSIX seconds.

        Raises:
            StoreUnavailable: the database does not answer.
        """


@dataclass(frozen=True, slots=True)
class Services:
    """Services of one gateway's endpoints.

    Attributes:
        accounts: Registration, sign-in, passwords and API keys.
        sessions: Sessions and their tokens.
        invitations: Invitations to organizations.
        tokens: The issuer of tokens and tickets.
        ring: The keys that tokens are signed with.
        cookies: The cookies of browser sessions; a null object if they are off.
        description: The OpenAPI document of the endpoints.
        clock: The clock that all gateways share: the database's.
        trail: The audit trail.
        quotas: What is used of quotas; None if they are off.
        sso: Single sign-on; None if it is not hosted.
        identity_keys: The public keys of signed identities, as JWKs.
    """

    accounts: Accounts
    sessions: Sessions
    invitations: Invitations
    tokens: Tokens
    ring: KeyRing
    cookies: CookiePolicy
    description: Description
    clock: DatabaseClock
    trail: Trail
    quotas: UsageReader | None = None
    sso: SsoFlow | None = None
    identity_keys: tuple[Mapping[str, str], ...] = ()

    async def now(self) -> float:
        """Return the time, POSIX seconds, by the shared clock."""
        return await self.clock.sure()

    def founding(self, caller: Caller, now: float) -> float | None:
        """Return when the caller's token was issued, POSIX seconds; None if it is of a session, or is none of ours."""
        return None if caller.bearer is None else self.sessions.founding(caller.bearer, now)
