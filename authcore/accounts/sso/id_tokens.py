"""Verifier of ID tokens and logout tokens (OpenID Connect Core 3.1.3.7, Back-Channel Logout 2.6).

Laws:

- The signature is one of an asymmetric algorithm, by a key of the issuer's own set.
- ``iss`` is the issuer's, ``aud`` names this client, and with ``azp`` or other audiences ``azp`` is this client.
- An ID token repeats the nonce of its sign-in, and was issued in the course of it: an older or a younger one is
  refused. Its ``iat`` may be five minutes early, as Microsoft's always is.
- A logout token is good for half a day at most, whatever its ``exp``: it need not have one.
- A token of one kind never passes for one of the other.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256, sha384, sha512
from typing import TYPE_CHECKING, Final

from authcore.crypto import jws
from authcore.crypto.jwks_client import PATIENCE_SECONDS
from authcore.crypto.remote_proof import prove_remotely
from authcore.errors import IssuerUnavailable, SsoIdentityRejected, SsoProviderFailed, TokenRejected
from authcore.tokens.claims import moment, text
from authcore.tokens.openid_claims import audiences

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authcore.crypto.jwks_client import JwksClient

TOKEN_BYTES: Final = 32_768
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
LOGOUT_SECONDS: Final = 43_200
"""A logout token that was issued longer ago is refused; ids of used ones are stored for longer than that."""
_BACKDATED_SECONDS: Final = 300
"""Microsoft dates its tokens so far back, for clients whose clocks are slow. The nonce binds a token to its sign-in."""
_HASHES: Final = {"256": sha256, "384": sha384, "512": sha512}
_SUBJECT_LENGTH: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Claims that a token is expected to have.

    Attributes:
        issuer: Returns whether the token's ``iss`` is the issuer's; it is given all claims.
        client_id: The client that it is for.
        leeway_seconds: Clock skew forgiven.
    """

    issuer: Callable[[Mapping[str, object]], bool]
    client_id: str
    leeway_seconds: float


async def verify_id_token(  # noqa: PLR0913 -- the token, and what it is verified with, by name
    token: str,
    keys: JwksClient,
    expected: Expected,
    *,
    nonce: str,
    access_token: str,
    begun_at: float,
    now: float,
    steady: float,
) -> dict[str, object]:
    """Return the claims of an ID token that was issued for a sign-in.

    `steady` is a reading of the clock by which `keys` are followed; `now` is the time.

    Raises:
        SsoIdentityRejected: it is not to be believed.
        SsoProviderFailed: the key set cannot be fetched.
    """
    try:
        claims = await _proved(token, keys, steady)
        issued_at = _checked(claims, expected, now)
        sent = text(claims, "nonce") or ""
        if "events" in claims:
            raise SsoIdentityRejected("it is a logout token")
        if not hmac.compare_digest(sent.encode(), nonce.encode()):
            raise SsoIdentityRejected("its nonce is not that of this sign-in")
        if moment(claims, "exp") is None:
            raise SsoIdentityRejected("it has no exp")
        earliest = int(begun_at) - _BACKDATED_SECONDS - expected.leeway_seconds  # iat is in whole seconds
        if issued_at < earliest:
            raise SsoIdentityRejected("it was issued before this sign-in began")
        _check_hash(claims, token, access_token)
        if not subject_of(claims):
            raise SsoIdentityRejected("it has no sub")
    except TokenRejected as error:
        raise SsoIdentityRejected(f"it does not verify: {type(error).__name__}") from error
    return claims


async def verify_logout_token(
    token: str, keys: JwksClient, expected: Expected, now: float, steady: float
) -> dict[str, object]:
    """Return the claims of a logout token; `now` and `steady` are as of :func:`verify_id_token`.

    Raises:
        SsoIdentityRejected: it is not to be believed.
        SsoProviderFailed: the key set cannot be fetched.
    """
    try:
        claims = await _proved(token, keys, steady)
        if _checked(claims, expected, now) + LOGOUT_SECONDS <= now:
            raise SsoIdentityRejected("it was issued too long ago")
        events = claims.get("events")
        if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
            raise SsoIdentityRejected("it is no logout token")
        if "nonce" in claims:  # so that no ID token passes for one
            raise SsoIdentityRejected("it has a nonce")
        token_id, subject, sid = (text(claims, name) for name in ("jti", "sub", "sid"))
        if not (token_id and (subject or sid)):
            raise SsoIdentityRejected("it has no jti, or neither sub nor sid")
    except TokenRejected as error:
        raise SsoIdentityRejected(f"it does not verify: {type(error).__name__}") from error
    return claims


def subject_of(claims: Mapping[str, object], claim: str = "sub") -> str:
    """Return the subject of claims: 255 printable ASCII characters at most; empty if there is none."""
    value = claims.get(claim)
    if not isinstance(value, str) or len(value) > _SUBJECT_LENGTH:
        return ""
    return value if value.isascii() and value.isprintable() else ""


async def _proved(token: str, keys: JwksClient, steady: float) -> dict[str, object]:
    await keys.follow(steady, PATIENCE_SECONDS)
    try:
        claims, _ = await prove_remotely(token, keys, steady, TOKEN_BYTES)
    except IssuerUnavailable as error:
        raise SsoProviderFailed(keys.problem or "the provider's key set cannot be had") from error
    return claims


def _checked(claims: Mapping[str, object], expected: Expected, now: float) -> float:
    """Check the claims that both kinds have, and return ``iat``."""
    leeway = expected.leeway_seconds
    named, bearer = audiences(claims), claims.get("azp")
    if not expected.issuer(claims):
        raise SsoIdentityRejected("its iss is another issuer")
    if expected.client_id not in named:
        raise SsoIdentityRejected("its aud does not name this client")
    if (bearer is not None or len(named) > 1) and bearer != expected.client_id:
        raise SsoIdentityRejected("its azp is another client")
    issued_at, expires_at, not_before = (moment(claims, name) for name in ("iat", "exp", "nbf"))
    if issued_at is None or issued_at > now + leeway:
        raise SsoIdentityRejected("it has no iat, or one in the future: compare the clocks")
    if expires_at is not None and expires_at + leeway <= now:
        raise SsoIdentityRejected("it has expired: compare the clocks")
    if not_before is not None and not_before > now + leeway:
        raise SsoIdentityRejected("it is not good yet: compare the clocks")
    return issued_at


def _check_hash(claims: Mapping[str, object], token: str, access_token: str) -> None:
    """Check that an ID token with ``at_hash`` came with this access token (OpenID Connect Core 3.1.3.6)."""
    sent = claims.get("at_hash")
    hashed = _HASHES.get(str(jws.read_header(token.encode("ascii")).get("alg"))[2:])
    if sent is None or hashed is None:
        return
    digest = hashed(access_token.encode()).digest()
    expected = urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode("ascii")
    if sent != expected:
        raise SsoIdentityRejected("its at_hash is that of another access token")
