"""Inspector of tokens: it explains one to its owner, with the secret or key that proved it.

Law: a report contains neither the signature nor a secret.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from authcore.crypto import jws
from authcore.errors import TokenExpired, TokenMalformed, TokenRejected
from authcore.tokens.claims import parse_claims

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authcore.crypto.keyring import Key, KeyRing
    from authcore.tokens.claims import TokenKind
    from authcore.tokens.issuer import Tokens


@dataclass(frozen=True, slots=True)
class Inspection:
    """Report on a token.

    Attributes:
        reason: Why the token is not valid, in one sentence; empty if it is.
        kind: The token's kind, if it could be determined.
        header: The JOSE header.
        claims: The payload. If the token is not genuine, these are unproved statements.
        signer: The key of the ring that made the signature; None if none of them did.
    """

    reason: str
    kind: TokenKind | None = None
    header: Mapping[str, object] = field(default_factory=dict)
    claims: Mapping[str, object] = field(default_factory=dict)
    signer: Key | None = None

    @property
    def valid(self) -> bool:
        """True if the token verifies now, as a token of its kind."""
        return not self.reason

    @property
    def is_genuine(self) -> bool:
        """True if a key of the ring made the signature."""
        return self.signer is not None


def inspect(tokens: Tokens, token: str | bytes, now: float) -> Inspection:
    """Explain a token: its contents, which key proved it, and why `tokens` do not accept it, if so."""
    try:
        bounded = jws.bounded(token)
        header = jws.read_header(bounded)
        payload = jws.unproved(bounded)
    except TokenRejected:
        return Inspection("it is not a JWT that this program can read")
    signer = _signer(tokens.ring, bounded, header)
    if signer is None:
        return Inspection(_why_unproved(tokens.ring, header), None, header, payload)
    try:
        claims = parse_claims(payload)
    except TokenRejected as error:
        return Inspection(_why_invalid(tokens, error, payload), None, header, payload, signer)
    try:
        tokens.check(payload, claims, now)
    except TokenRejected as error:
        return Inspection(_why_invalid(tokens, error, payload), claims.kind, header, payload, signer)
    return Inspection("", claims.kind, header, payload, signer)


def _signer(ring: KeyRing, token: bytes, header: Mapping[str, object]) -> Key | None:
    """Return the key that made a token's signature; None if none did, or the header is refused."""
    if jws.is_demanding(header):
        return None
    for key in ring.candidates(jws.algorithm_of(header), header.get("kid")):
        with suppress(TokenRejected):
            jws.prove(token, header, (key,))
            return key
    return None


def _why_unproved(ring: KeyRing, header: Mapping[str, object]) -> str:
    if jws.is_demanding(header):
        return "its header demands extensions that are not supported"
    algorithm, kid = jws.algorithm_of(header), header.get("kid")
    if all(key.algorithm != algorithm for key in ring):
        return f"its algorithm {algorithm!r} is not accepted"
    if not ring.candidates(algorithm, kid):
        return f"no {algorithm} key is called {kid!r}"
    return "its signature is by none of the configured secrets and keys"


def _why_invalid(tokens: Tokens, error: TokenRejected, payload: Mapping[str, object]) -> str:
    if isinstance(error, TokenExpired):
        return "it has expired"
    if isinstance(error, TokenMalformed):
        return "a claim is missing or of the wrong type"
    if payload.get("iss") != tokens.issuer:
        return f"its issuer is not {tokens.issuer!r}"
    return "it is for another audience, or not valid yet (nbf in the future, or iat far in it)"
