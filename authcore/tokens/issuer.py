"""Issuer and verifier of the installation's JWTs: access tokens, refresh tokens and tickets.

Laws:

- Verification either returns claims or raises a ``TokenRejected``: no input makes it raise anything else.
- The signature is verified first; no claim is used or revealed before it.
- There is no clock: ``exp``, ``nbf`` and ``iat`` are compared with the ``now`` passed in. An issuer whose clock is
  ahead is not locked out, but what it issued more than a quarter of an hour in the future is refused: it would last for
  as long as the clock was ahead.
- A token names its session. An access token carries no ``jti``: Whatomate's rule would make it a refresh token.
- Access tokens and tickets fit into the first message of a WebSocket, which Whatomate limits to 512 bytes. They name
  their session by ``s``, and long claims are spelled shorter without losing meaning (:func:`_fitting`).
- A token with ``aud`` is for another service (RFC 7519 section 4.1.3), and is refused.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID, uuid4

from authcore.crypto import jws
from authcore.errors import TokenExpired, TokenRejected, TokenWrongKind
from authcore.tokens.claims import AnyClaims, TokenKind, check_issued, parse_claims, short_session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authcore.crypto.keyring import KeyRing

TICKET_SECONDS: Final = 30
ROOM: Final = 306
"""Most payload bytes for which an HS256 token stays below 512 in ``{"type":"auth","payload":{"token":"…"}}``."""

C = TypeVar("C", bound=AnyClaims)


class Tokens:
    """Issuer and verifier of this installation's tokens."""

    def __init__(  # noqa: PLR0913 - its settings by name
        self,
        ring: KeyRing,
        *,
        issuer: str,
        leeway_seconds: float,
        access_seconds: int,
        refresh_seconds: int,
        ticket_seconds: int = TICKET_SECONDS,
    ) -> None:
        self.ring = ring
        self.issuer = issuer
        self.leeway_seconds = leeway_seconds
        self.access_seconds = access_seconds
        self.refresh_seconds = refresh_seconds
        self.ticket_seconds = ticket_seconds

    # -- issue ----------------------------------------------------------------------------------------------------

    def issue_access(  # noqa: PLR0913 - one argument per claim, by name
        self,
        *,
        user_id: UUID,
        organization_id: UUID,
        email: str,
        role_id: UUID | None,
        is_super_admin: bool,
        now: float,
        session_id: UUID | None = None,
        not_after: float = math.inf,
    ) -> str:
        """Sign an access token that expires no later than `not_after`."""
        return self.sign(
            _fitting(
                {
                    **_identity(user_id, organization_id, email, role_id, is_super_admin=is_super_admin),
                    **self._times(now, self.access_seconds, not_after),
                    **_session(session_id, otherwise=TokenKind.ACCESS),
                }
            )
        )

    def issue_refresh(  # noqa: PLR0913 - one argument per claim, by name
        self,
        *,
        user_id: UUID,
        organization_id: UUID,
        email: str,
        role_id: UUID | None,
        is_super_admin: bool,
        now: float,
        session_id: UUID | None = None,
        not_after: float = math.inf,
        until: float = math.inf,
        jti: str | None = None,
    ) -> str:
        """Sign a refresh token. It is good only once the store knows its digest.

        `until` is the end of all that is refreshed with it, and with what comes of that. `jti` is its id; without one
        it is given a new one.
        """
        return self.sign(
            {
                **_identity(user_id, organization_id, email, role_id, is_super_admin=is_super_admin),
                **self._times(now, self.refresh_seconds, not_after),
                **({} if session_id is None else {"sid": str(session_id)}),
                "jti": jti or str(uuid4()),
                **_until(until),
                "token_use": TokenKind.REFRESH,
            }
        )

    def issue_ticket(
        self,
        *,
        user_id: UUID,
        organization_id: UUID,
        now: float,
        session_id: UUID | None = None,
        not_after: float = math.inf,
    ) -> str:
        """Sign a WebSocket ticket, for no longer than `not_after`.

        That is the end of what it opens, too, where there is no session whose end that would be.
        """
        return self.sign(
            {
                "user_id": str(user_id),
                "organization_id": str(organization_id),
                "sub": "ws",
                # Makes two tickets of one second differ; Whatomate tests sub before jti.
                "jti": short_session(uuid4()),
                **self._times(now, self.ticket_seconds, not_after),
                **_session(session_id),
                **_until(not_after if session_id is None else math.inf),
                "token_use": TokenKind.TICKET,
            }
        )

    def _times(self, now: float, seconds: int, not_after: float = math.inf) -> dict[str, object]:
        return {"iss": self.issuer, "iat": int(now), "exp": ends_at(now, seconds, not_after)}

    def sign(self, payload: Mapping[str, object]) -> str:
        """Sign the claims of another kind of token."""
        return jws.sign(payload, self.ring.signing)

    # -- verify ---------------------------------------------------------------------------------------------------

    def verify(self, token: str | bytes, kind: type[C], now: float, *, expired: bool = False) -> C:
        """Prove a token and return its claims.

        Args:
            token: The compact serialization.
            kind: The claims asked for, such as ``AccessClaims``.
            now: POSIX seconds.
            expired: A token past its ``exp`` is accepted too.

        Raises:
            TokenMalformed: not a JWT, or claims of the wrong type.
            TokenWrongKind: genuine, and issued for another purpose.
            TokenExpired: genuine, and past its ``exp``.
            TokenRejected: any other reason not to believe it.
        """
        payload = self._proved(jws.bounded(token))
        claims = parse_claims(payload)
        if not isinstance(claims, kind):
            raise TokenWrongKind
        try:
            self.check(payload, claims, now)
        except TokenExpired:
            if not expired:
                raise
        return claims

    def _proved(self, token: bytes) -> dict[str, object]:
        """Return the payload of a token whose signature a key of the ring made."""
        header = jws.read_header(token)
        return jws.prove(token, header, self.ring.candidates(jws.algorithm_of(header), header.get("kid")))

    def check(self, payload: Mapping[str, object], claims: AnyClaims, now: float) -> None:
        """Judge the claims of a token whose signature is proved: its issuer, its audience, its times.

        Raises:
            TokenExpired: past its ``exp``.
            TokenRejected: any other reason not to believe it.
        """
        if claims.issuer != self.issuer or payload.get("aud") is not None:
            raise TokenRejected
        if claims.not_before is not None and claims.not_before > now + self.leeway_seconds:
            raise TokenRejected
        check_issued(payload, now + self.leeway_seconds)
        if claims.expires_at + self.leeway_seconds <= now:
            raise TokenExpired


def ends_at(now: float, seconds: int, not_after: float) -> int:
    """Return the ``exp`` of a token that lives for `seconds` and must not outlive `not_after`."""
    return int(min(int(now) + seconds, not_after))


def _identity(
    user_id: UUID, organization_id: UUID, email: str, role_id: UUID | None, *, is_super_admin: bool
) -> dict[str, object]:
    claims: dict[str, object] = {
        "user_id": str(user_id),
        "organization_id": str(organization_id),
        "email": email,
        "is_super_admin": is_super_admin,
    }
    return claims if role_id is None else {**claims, "role_id": str(role_id)}


def _session(session_id: UUID | None, otherwise: TokenKind | None = None) -> dict[str, object]:
    """Return the claim that names the session; for a token without one, the claim that names its kind."""
    if session_id is not None:
        return {"s": short_session(session_id)}
    return {} if otherwise is None else {"token_use": otherwise}


def _until(seconds: float) -> dict[str, object]:
    """Return the claim that says when all that is founded on a token ends."""
    return {} if seconds == math.inf else {"until": int(seconds)}


def _fitting(claims: dict[str, object]) -> dict[str, object]:
    """Return an access token's claims, shortened as far as possible to fit into a WebSocket's first message.

    A false ``is_super_admin`` is left out first; every reader treats its absence as false. If that is not enough, the
    UUIDs are spelled without hyphens, which both Whatomate's parser and ours accept.
    """
    if "s" not in claims or _size(claims) <= ROOM:
        return claims
    claims = {name: claim for name, claim in claims.items() if claim is not False}
    if _size(claims) <= ROOM:
        return claims
    ids = ("user_id", "organization_id", "role_id")
    return {name: str(claim).replace("-", "") if name in ids else claim for name, claim in claims.items()}


def _size(claims: Mapping[str, object]) -> int:
    return len(json.dumps(claims, separators=(",", ":"), ensure_ascii=False).encode())
