"""Inspector of a foreign issuer's tokens: it explains one by the issuer's key set, which it fetches."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from authcore.crypto import jws
from authcore.errors import IssuerUnavailable, TokenExpired, TokenMalformed, TokenRejected
from authcore.tokens.inspection import Inspection

if TYPE_CHECKING:
    from authcore.crypto.keyring import Key
    from authcore.identity.foreign_issuer import ForeignIssuer

_UNPROVED: Final = "its signature is by no key of its issuer's key set"
_REJECTED: Final = (
    "its audience is not in GATEWAY_ISSUER_AUDIENCE, its e-mail is not verified, it is not valid yet (nbf in the "
    "future, or iat far in it), or it is for another use (a logout token, by its events or its typ)"
)


async def inspect_foreign(foreign: ForeignIssuer, token: str, now: float) -> Inspection:
    """Explain a token that says that it is the issuer's: its contents, its key, and why it is not accepted, if so.

    Whether its user exists here is not looked at.
    """
    try:
        bounded = jws.bounded(token, foreign.token_bytes)
        header, payload = jws.read_header(bounded), jws.unproved(bounded)
    except TokenRejected:
        return Inspection("it is not a JWT that this program can read")
    try:
        signer = await _signer(foreign, bounded)
    except IssuerUnavailable:
        why = foreign.keys.problem or "it holds no such key"
        return Inspection(f"its issuer's key set does not tell: {why}", None, header, payload)
    if signer is None:
        return Inspection(_UNPROVED, None, header, payload)
    reason = ""
    try:
        await foreign.verify(bounded, now)
    except TokenExpired:
        reason = "it has expired"
    except TokenMalformed:
        reason = "a claim is missing or of the wrong type"
    except TokenRejected:
        reason = _REJECTED
    return Inspection(reason, None, header, payload, signer)


async def _signer(foreign: ForeignIssuer, token: bytes) -> Key | None:
    """Return the key of the issuer's set that made a token's signature; None if none did.

    Raises:
        IssuerUnavailable: the set cannot be fetched.
    """
    header = jws.read_header(token)
    if jws.is_demanding(header):
        return None
    for key in await foreign.keys.candidates(jws.algorithm_of(header), header.get("kid"), foreign.steady()):
        with suppress(TokenRejected):
            jws.prove(token, header, (key,))
            return key
    return None
