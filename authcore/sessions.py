"""Sessions: families of refresh tokens, each token good once.

Laws:

- The store keeps digests, never tokens, and decides in one statement whether a token is still good: two refreshes at
  once make one pair, an outage consumes nothing.
- A token used again, by the user or by a thief, ends its whole family. Within ten seconds of its use it is refused and
  nothing more: that is a client racing itself.
- A refresh token that Whatomate issued (genuine, and without the gateway's own claim) is taken once, and its successor
  begins a family here.
- The organization of the token is kept. Who was removed from it lands in their home organization.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import uuid4

from authcore.claims import RefreshClaims
from authcore.errors import (
    RefreshExpired,
    RefreshRejected,
    RefreshRevoked,
    RefreshUserUnknown,
    RefreshWrongKind,
    TokenExpired,
    TokenRejected,
    TokenWrongKind,
    UserDisabled,
)
from authcore.store.rows import NewRefreshToken

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.credentials import RefreshToken
    from authcore.store.protocol import SessionStore
    from authcore.store.rows import Subject
    from authcore.tokens import Tokens

_PURGE_GRACE_SECONDS = 86_400
_RACE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What signing in or refreshing yields."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int


class Sessions:
    """Opens, continues and ends sessions."""

    def __init__(self, store: SessionStore, tokens: Tokens) -> None:
        self._store = store
        self._tokens = tokens

    async def open(self, subject: Subject, now: float) -> TokenPair:
        """Begin a session of `subject`, acting in the organization they are seen in.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        family = uuid4()
        pair, token = self._issue(subject, family, now)
        await self._store.open_session(family, subject.user_id, subject.organization_id, token)
        return pair

    async def refresh(self, token: RefreshToken, now: float) -> TokenPair:
        """Trade a refresh token for a new pair.

        Raises:
            RefreshRejected: malformed, expired, of another kind or wrongly signed (by subclass).
            RefreshRevoked: used or logged out before; the family is ended, but by a client racing itself.
            RefreshUserUnknown: the user is gone.
            UserDisabled: the user is switched off.
            StoreUnavailable: the database does not answer; the token stays good.
        """
        claims = self._verified(token, now)
        subject = await self._subject(claims)
        family = claims.session_id if claims.is_ours else uuid4()
        pair, successor = self._issue(subject, family, now)
        used = _digest(token.token)
        if claims.is_ours:
            fresh = await self._store.rotate(used, successor)
        else:
            fresh = await self._store.adopt(
                family or uuid4(),
                subject.user_id,
                subject.organization_id,
                _kept(used, claims, now),
                successor,
            )
        if not fresh:
            await self._store.revoke_reused(used, _moment(now - _RACE_SECONDS), _moment(now))
            raise RefreshRevoked
        return pair

    async def close(self, token: RefreshToken, now: float) -> None:
        """End the session a refresh token belongs to. A token that is not good has no session: nothing happens.

        Raises:
            StoreUnavailable: the database does not answer; the session goes on.
        """
        try:
            claims = self._verified(token, now)
        except RefreshRejected:
            return
        digest = _digest(token.token)
        if not claims.is_ours:
            await self._store.adopt(
                uuid4(), claims.user_id, claims.organization_id, _kept(digest, claims, now), None
            )
        await self._store.revoke_session(digest, _moment(now))

    async def purge(self, now: float) -> int:
        """Forget sessions that ended by time, and return how many.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        # With leeway a token lives past its exp, and a forgotten one of Whatomate's would be taken again.
        return await self._store.purge_sessions(_moment(now - _PURGE_GRACE_SECONDS))

    def _verified(self, token: RefreshToken, now: float) -> RefreshClaims:
        try:
            return self._tokens.verify(token.token, RefreshClaims, now)
        except TokenExpired as error:
            raise RefreshExpired from error
        except TokenWrongKind as error:
            raise RefreshWrongKind from error
        except TokenRejected as error:
            raise RefreshRejected from error

    async def _subject(self, claims: RefreshClaims) -> Subject:
        subject = await self._store.subject(claims.user_id, claims.organization_id)
        if subject is None:
            raise RefreshUserUnknown
        if not subject.is_active:
            raise UserDisabled
        if subject.may_act:
            return subject
        home = await self._store.home(subject.user_id)
        subject = None if home is None else await self._store.subject(claims.user_id, home)
        if subject is None or not subject.may_act or not subject.is_active:
            raise RefreshRejected
        return subject

    def _issue(self, subject: Subject, family: UUID | None, now: float) -> tuple[TokenPair, NewRefreshToken]:
        access = self._tokens.issue_access(
            user_id=subject.user_id,
            organization_id=subject.organization_id,
            email=subject.email,
            role_id=subject.role_id,
            is_super_admin=subject.is_super_admin,
            now=now,
            session_id=family,
        )
        refresh = self._tokens.issue_refresh(
            user_id=subject.user_id,
            organization_id=subject.organization_id,
            email=subject.email,
            role_id=subject.role_id,
            is_super_admin=subject.is_super_admin,
            now=now,
            session_id=family,
        )
        kept = NewRefreshToken(
            digest=_digest(refresh),
            issued_at=_moment(now),
            expires_at=_moment(now + self._tokens.refresh_seconds),
        )
        return TokenPair(access, refresh, self._tokens.access_seconds), kept


def _kept(digest: bytes, claims: RefreshClaims, now: float) -> NewRefreshToken:
    return NewRefreshToken(digest=digest, issued_at=_moment(now), expires_at=_moment(claims.expires_at))


def _digest(token: str) -> bytes:
    # Of what is signed, without the signature: where an algorithm allows two signatures of one content, both are one
    # token.
    return sha256(token.rpartition(".")[0].encode("ascii")).digest()


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
