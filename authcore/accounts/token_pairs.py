"""Issuer of token pairs: an access and a refresh token for one session. A client that raced itself gets its pair again.

Laws:

- No token outlives its session.
- A reopened pair is equal to the first one to the letter; its lifetimes count from now on. A renewed pair has the same
  refresh token, and an access token of its own.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from authcore.crypto.jws import signing_digest
from authcore.crypto.sealing import seal, unseal
from authcore.errors import (
    RefreshExpired,
    RefreshRejected,
    RefreshRevoked,
    RefreshWrongKind,
    TokenExpired,
    TokenRejected,
    TokenWrongKind,
)
from authcore.moments import moment
from authcore.store.session_rows import NewRefreshToken
from authcore.tokens.claims import RefreshClaims
from authcore.tokens.issuer import ends_at

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.credentials import RefreshToken
    from authcore.store.rows import Subject
    from authcore.store.session_rows import Rotated, SessionRow
    from authcore.tokens.issuer import Tokens


RETRY_SECONDS: Final = 60
"""For this long after the end of its access token, the client that a pair was made for may ask for it again."""


@dataclass(frozen=True, slots=True)
class TokenPair:
    """Result of signing in or refreshing: an access token and a refresh token.

    Attributes:
        expires_in: Seconds from now until the access token expires.
        refresh_expires_in: Seconds from now until the refresh token expires.
        session_id: The session of both tokens.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    refresh_expires_in: int
    session_id: UUID


class TokenPairs:
    """Issuer of token pairs."""

    def __init__(self, tokens: Tokens, *, session_seconds: float, is_offering: bool = False) -> None:
        """Prepare.

        Args:
            tokens: Issues tokens.
            session_seconds: The absolute lifetime of a session.
            is_offering: The ids of refresh tokens are to be written for a Whatomate server. Tokens with an end of all
                that is refreshed (``until``) are left out: Whatomate would not enforce it.
        """
        self._tokens = tokens
        self._session_seconds = session_seconds
        self._is_offering = is_offering

    def issue(
        self,
        subject: Subject,
        session: SessionRow,
        now: float,
        follows: RefreshToken | None = None,
        *,
        until: float = math.inf,
    ) -> tuple[TokenPair, NewRefreshToken]:
        """Return a pair, and its row for the store: sealed for the bearer of the token that it `follows`, if any.

        `until` is the end of both, and of all that comes of them.
        """
        tokens = self._tokens
        over_at = min(session.created_at.timestamp() + self._session_seconds, until)
        jti = str(uuid4())
        access = tokens.issue_access(
            user_id=subject.user_id,
            organization_id=subject.organization_id,
            email=subject.email,
            role_id=subject.role_id,
            is_super_admin=subject.is_super_admin,
            now=now,
            session_id=session.id,
            not_after=over_at,
        )
        refresh = tokens.issue_refresh(
            user_id=subject.user_id,
            organization_id=subject.organization_id,
            email=subject.email,
            role_id=subject.role_id,
            is_super_admin=subject.is_super_admin,
            now=now,
            session_id=session.id,
            not_after=over_at,
            until=until,
            jti=jti,
        )
        access_end = ends_at(now, tokens.access_seconds, over_at)
        refresh_end = ends_at(now, tokens.refresh_seconds, over_at)
        pair = TokenPair(access, refresh, access_end - int(now), refresh_end - int(now), session.id)
        copy = json.dumps([access, refresh, access_end, refresh_end])
        return pair, NewRefreshToken(
            digest=signing_digest(refresh),
            issued_at=moment(now),
            expires_at=moment(refresh_end),
            access_expires_at=moment(access_end),
            retry_until=moment(access_end + RETRY_SECONDS),
            sealed=None if follows is None else seal(copy, follows.token),
            offer=jti if self._is_offering and until == math.inf else None,
        )


def reopen(rotated: Rotated, token: RefreshToken, now: float) -> TokenPair:
    """Return the pair that followed `token`, decrypted with it.

    Raises:
        RefreshRevoked: the pair is no longer stored, or was sealed for another token.
    """
    copy = None if rotated.successor is None else unseal(rotated.successor, token.token)
    if copy is None:
        raise RefreshRevoked
    access, refresh, access_end, refresh_end = json.loads(copy)
    access_left, refresh_left = max(0, access_end - int(now)), max(0, refresh_end - int(now))
    return TokenPair(access, refresh, access_left, refresh_left, rotated.session_id)


def renew(rotated: Rotated, token: RefreshToken, fresh: TokenPair, now: float) -> TokenPair:
    """Return the refresh token that followed `token`, with the access token of a `fresh` pair.

    Raises:
        RefreshRevoked: the same as of :func:`reopen`.
    """
    successor = reopen(rotated, token, now)
    return replace(successor, access_token=fresh.access_token, expires_in=fresh.expires_in)


def proved(tokens: Tokens, token: RefreshToken, now: float) -> RefreshClaims:
    """Return the claims of a refresh token that `tokens` verifies.

    Raises:
        RefreshRejected: malformed, expired, of another kind or wrongly signed (by subclass).
    """
    try:
        return tokens.verify(token.token, RefreshClaims, now)
    except TokenExpired as error:
        raise RefreshExpired from error
    except TokenWrongKind as error:
        raise RefreshWrongKind from error
    except TokenRejected as error:
        raise RefreshRejected from error


def digest_of(token: RefreshToken) -> bytes:
    """Return the digest under which the store knows a token.

    It covers the signed part without the signature: where an algorithm allows two signatures of one content, both are
    the same token.
    """
    return signing_digest(token.token)
