"""Authenticator: it turns a credential into the :class:`~authcore.principal.Principal` that it proves.

Laws:

- A credential is proved before anything about its user is revealed.
- The cache key is a keyed digest of the credential under a secret of this process: the cache holds no credential.
- A ticket opens one connection, once, across all replicas. It is used up in the store after every other check has
  passed, and neither its verdict nor its principal is cached.
- A cached principal is never used past the end of its credential, by the second, nor past the cache's time.
- An organization that is asked for and ignored gets no principal of its own: the credential has one for all of them.
- An outage of the store is ``StoreUnavailable``, never a verdict, and is not cached. A principal cached before may
  stand in for the store's answer, and is then marked as stale.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from authcore.credentials import (
    ApiKey,
    BearerToken,
    CookieToken,
    CookieTwins,
    Credential,
    SocketToken,
    Ticket,
)
from authcore.crypto import jws
from authcore.errors import (
    ApiKeyExpired,
    AuthError,
    TicketUsed,
    TokenExpired,
    TokenRejected,
    TokenWrongKind,
)
from authcore.identity import api_keys
from authcore.identity.newest_token import newest_first
from authcore.identity.resolver import PrincipalResolver
from authcore.moments import moment
from authcore.principal import AuthMethod, ForeignProof
from authcore.tokens.claims import AccessClaims, TicketClaims

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from authcore.identity.api_keys import ApiKeys, LastUsed
    from authcore.identity.foreign_issuer import ForeignIssuer
    from authcore.identity.verdict import Verdict
    from authcore.identity.verdict_cache import VerdictCache
    from authcore.principal import Principal
    from authcore.store.protocol import CallerStore, TicketStore
    from authcore.tokens.issuer import Tokens


_KINDS: Final[dict[type, bytes]] = {BearerToken: b"t", CookieToken: b"c", ApiKey: b"k"}
_METHODS: Final = {BearerToken: AuthMethod.JWT, CookieToken: AuthMethod.COOKIE}
_NOWHERE: Final = b"-" * 17
_NEVER_CACHED: Final = (Ticket, SocketToken, CookieTwins)
"""A tuple: ``isinstance`` with a union, compiled, makes the union anew in each call."""


class Authenticator:
    """Authenticator: it answers from the cache when it can, and otherwise from the proof and the store."""

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators
        self,
        store: CallerStore,
        tokens: Tokens,
        api_keys: ApiKeys,
        last_used: LastUsed,
        memory: VerdictCache,
        foreign: ForeignIssuer | None = None,
        *,
        lenient: bool = False,
    ) -> None:
        """With `lenient`, an organization that the caller may not act in is ignored as if it had not been asked for."""
        self._tokens = tokens
        self._tickets: TicketStore = store
        self._principals = PrincipalResolver(
            store, api_keys, leeway_seconds=tokens.leeway_seconds, lenient=lenient
        )
        self._last_used = last_used
        self._memory = memory
        self._foreign = foreign
        self._keyed = blake2b(key=secrets.token_bytes(32), digest_size=16)

    def key_of(self, credential: Credential | CookieTwins, organization: UUID | None) -> bytes | None:
        """Return the cache key of a credential; None for one that opens a socket, which is never cached.

        None as well for several cookies: each may be cached, and which one counts is not known yet.

        The key depends only on the two arguments and a secret of this process, so a caller may store it beside them.

        Args:
            credential: What the caller presented.
            organization: The organization the caller asks to act in; None for the credential's own.
        """
        if isinstance(credential, _NEVER_CACHED):
            return None
        return self._digest(credential, organization)

    def newest_first(self, twins: CookieTwins, now: float) -> list[CookieToken]:
        """Return those of several cookies that verify, the one issued last first; if none does, the first cookie alone.

        Args:
            twins: The cookies.
            now: POSIX seconds.
        """
        genuine = newest_first(self._tokens, twins.tokens, AccessClaims, now)
        return [CookieToken(token) for token, _ in genuine] or [CookieToken(twins.tokens[0])]

    def recall(self, key: bytes, now: float) -> Principal | None:
        """Answer from the cache alone: microseconds, no await, no proof.

        Args:
            key: The key that :meth:`key_of` returned for the credential.
            now: POSIX seconds.

        Returns:
            The principal, or None when :meth:`authenticate` has to be called.

        Raises:
            AuthError: a refusal of this credential is cached (the same errors as of :meth:`authenticate`).
        """
        principal = self._memory.recall(key, now)
        if principal is None:
            return None
        if principal.expires_at is not None and principal.expires_at <= now:
            self._memory.drop(key)
            return None
        if principal.key_id is not None:
            self._last_used.add(principal.key_id)
        return principal

    async def authenticate(
        self,
        credential: Credential,
        organization: UUID | None,
        now: float,
        address: str = "",
        *,
        spends: bool = True,
    ) -> Principal:
        """Prove the credential, load its principal, and cache the verdict.

        Args:
            credential: What the caller presented.
            organization: The organization the caller asks to act in; None for the credential's own.
            now: POSIX seconds.
            address: Where the caller is; counts where an API key has to be proved.
            spends: A ticket is used up; otherwise it is only looked at.

        Raises:
            Throttled: an API key has to be proved, and too many attempts have failed from this address.
            TokenRejected: the token does not verify, or its user or organization is gone, or it is a ticket that was
                used before (by subclass).
            UserDisabled: a genuine token of a user who is switched off.
            ApiKeyRejected: the key is not good, or its owner is not (by subclass).
            ApiKeyBound: the key is good, and belongs to another organization than the one asked for; when lenient, only
                if its owner may act in the one asked for.
            NotAMember: the user does not belong to the organization asked for; not when lenient.
            OrganizationUnknown: a super admin, who needs no membership, asks for an organization that does not exist;
                not when lenient.
            Overloaded: too much password work is waiting.
            StoreUnavailable: the database does not answer, and the caller is not known from before.
            IssuerUnavailable: it is a foreign issuer's token, and that issuer's keys cannot be fetched.
        """
        if isinstance(credential, SocketToken):
            return await self._open(credential.secret, now, spends=spends)
        if isinstance(credential, Ticket):
            return await self._admit(credential, now, spends=spends)
        key = self._digest(credential, organization)
        principal = self.recall(key, now)
        if principal is not None:
            return principal
        # The token is parsed and verified before anything is loaded for it: a forged one costs no task and no memory.
        load: Callable[[], Awaitable[Verdict]]
        own = key if organization is None else self._digest(credential, None)
        if isinstance(credential, ApiKey):
            api_keys.parse(credential.secret)
            load = partial(
                self._principals.resolve,
                organization,
                own,
                partial(self._principals.of_key, credential, organization, now, address),
            )
        elif self._is_foreign(credential):
            load = await self._foreign_loader(credential, organization, own, now)
        else:
            claims = self._tokens.verify(credential.secret, AccessClaims, now)
            method = _METHODS[type(credential)]
            load = partial(
                self._principals.resolve,
                organization,
                own,
                partial(self._principals.of_token, method, claims, organization),
            )
        principal = await self._memory.fetch(key, now, load)
        if principal.expires_at is not None and principal.expires_at <= now:
            raise ApiKeyExpired if isinstance(credential, ApiKey) else TokenExpired
        if principal.key_id is not None:
            self._last_used.add(principal.key_id)
        return principal

    def _digest(self, credential: BearerToken | CookieToken | ApiKey, organization: UUID | None) -> bytes:
        # The parts before the credential have fixed lengths, so no two different inputs give the same bytes.
        kind = _KINDS[type(credential)]
        where = _NOWHERE if organization is None else b"+" + organization.bytes
        digest = self._keyed.copy()  # a new one would mix in its key again
        digest.update(kind + where + credential.secret)
        return digest.digest()

    async def _open(self, token: bytes, now: float, *, spends: bool) -> Principal:
        """Prove a token that is to open a socket: a ticket or an access token, whichever it turns out to be.

        A foreign issuer's token is neither. The upstream reads the token too, and it does not have that issuer's keys.
        """
        with suppress(TokenWrongKind):
            return await self._admit(Ticket(token), now, spends=spends)
        return await self.authenticate(BearerToken(token), None, now)

    async def _admit(self, ticket: Ticket, now: float, *, spends: bool) -> Principal:
        """Prove a ticket, load its principal, and use the ticket up unless it is only looked at."""
        claims = self._tokens.verify(ticket.secret, TicketClaims, now)
        verdict = await self._principals.resolve(
            None, b"", partial(self._principals.of_token, AuthMethod.WS, claims, None)
        )
        if verdict.principal is None:
            raise verdict.refusal or AuthError
        # The ticket is identified by its digest, not by its jti: Whatomate's tickets have none.
        digest = jws.signing_digest(ticket.secret)
        if not spends:
            is_good = not await self._tickets.is_ticket_used(digest)
        else:
            until = moment(claims.expires_at + self._tokens.leeway_seconds)
            is_good = await self._tickets.use_ticket(digest, until)
        if not is_good:
            raise TicketUsed
        return verdict.principal

    def _is_foreign(self, credential: BearerToken | CookieToken) -> bool:
        return (
            self._foreign is not None
            and isinstance(credential, BearerToken)
            and self._foreign.claims(credential.secret)
        )

    async def _foreign_loader(
        self, credential: BearerToken | CookieToken, organization: UUID | None, own: bytes, now: float
    ) -> Callable[[], Awaitable[Verdict]]:
        """Prove a foreign token; return the function that loads its user from the store."""
        foreign = self._foreign
        if foreign is None:
            raise TokenRejected
        user = await foreign.verify(credential.secret, now)

        async def find(rows: set[UUID]) -> Principal:
            rows.add(foreign.row)
            return await self._principals.of_token(
                AuthMethod.FOREIGN,
                await foreign.find(user),
                organization,
                rows,
                foreign=ForeignProof(foreign.row, user.key, user.email, foreign.leeway_seconds),
            )

        return partial(self._principals.resolve, organization, own, find)
