"""Identity signer: it makes one short-lived JWT for each forwarded request.

The packages in ``docs/packages`` verify them, and ``docs/signed-identity.md`` lists the claims.

Laws:

- The claims about the principal are encoded once per principal; a request adds method, path, id and times. Both parts
  are one JSON object: the first is padded with spaces to a multiple of three bytes, so that their base64url texts can
  be concatenated (RFC 4648 section 4).
- The claims say what the identity headers say, as those are sent: a name or a role has no control characters.
- A token by a private key names that key, by the kid under which its public half is published.
- The anonymous principal gets no signed identity.
"""

from __future__ import annotations

import hmac
import json
import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakKeyDictionary

from authcore.crypto.pem import KeyUnusable, parse_pem
from authcore.identity_headers import displayed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authcore.principal import Principal

TYPE: Final = "identity+jwt"
"""``typ`` of the tokens: a token for another purpose is no signed identity (RFC 8725 section 3.11)."""

_PUBLIC_KEY: Final = re.compile(r"-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----")


class Signature(Protocol):
    """Incremental signature: it takes the signed bytes in pieces and then returns the signature."""

    def update(self, piece: bytes, /) -> None:
        """Add a piece of the signed bytes."""

    def digest(self) -> bytes:
        """Return the signature."""

    def copy(self) -> Any:
        """Return an independent copy with the same bytes added so far."""


class _Ed25519:
    """Buffer for Ed25519, which signs a message as a whole."""

    def __init__(self, key: Any, taken: bytes = b"") -> None:
        self._key = key
        self._taken = taken

    def update(self, piece: bytes, /) -> None:
        self._taken += piece

    def digest(self) -> bytes:
        return bytes(self._key.sign(self._taken))

    def copy(self) -> _Ed25519:
        return _Ed25519(self._key, self._taken)


class IdentitySigner:
    """Identity signer with a cache of the encoded claims per principal.

    Attributes:
        public: The public key as a JWK, whose ``kid`` the tokens name; None for a shared secret.
    """

    def __init__(self, algorithm: str, key: bytes, *, issuer: str, seconds: int) -> None:
        """Sign with `key`: an Ed25519 private key in PEM for ``EdDSA``, a secret for ``HS256``.

        Raises:
            KeyUnusable: the algorithm is ``EdDSA``, and `key` is no such private key.
        """
        self._issuer = issuer
        self._seconds = seconds
        self._begun: WeakKeyDictionary[Principal, tuple[bytes, Signature]] = WeakKeyDictionary()
        named = {"alg": algorithm, "typ": TYPE}
        self.public: Mapping[str, str] | None = None
        if algorithm == "HS256":
            self._header = _header(named)
            self._signature: Signature = hmac.new(key, self._header, sha256)
            return
        pem = parse_pem(key)
        if pem.algorithm != algorithm or pem.private is None or pem.kid is None:
            raise KeyUnusable(
                "an Ed25519 private key is needed; make one with: openssl genpkey -algorithm ed25519"
            )
        self.public = pem.public
        self._header = _header(named | {"kid": pem.kid})
        self._signature = _Ed25519(pem.private.key, self._header)

    def sign(  # noqa: PLR0913, PLR0917 -- what is signed
        self, principal: Principal, audience: str, method: bytes, path: str, request_id: bytes, now: float
    ) -> bytes:
        """Return the token for one request."""
        begun = self._begun.get(principal)
        if begun is None:
            first = self._first(principal)
            signature = self._signature.copy()
            signature.update(first)
            begun = self._begun[principal] = (first, signature)
        issued = int(now)
        rest = b'"aud":%b,"method":"%b","path":%b,"request_id":"%b","iat":%d,"exp":%d}' % (
            json.dumps(audience).encode(),
            method,
            json.dumps(path).encode(),
            request_id,
            issued,
            issued + self._seconds,
        )
        first, signature = begun[0], begun[1].copy()
        last = _encoded(rest)
        signature.update(last)
        return b"%b%b%b.%b" % (self._header, first, last, _encoded(signature.digest()))

    def _first(self, principal: Principal) -> bytes:
        claims: dict[str, object] = {
            "iss": self._issuer,
            "sub": str(principal.user_id),
            "org": str(principal.organization_id),
            "email": principal.email,
            "name": displayed(principal.name),
            "role": displayed(principal.role),
            "super_admin": principal.is_super_admin,
            "auth": principal.method.public_name,
            "permissions": digest(",".join(sorted(principal.permissions))),
        }
        if principal.role_id is not None:
            claims["role_id"] = str(principal.role_id)
        if principal.key_id is not None:
            claims["key_id"] = str(principal.key_id)
        text = json.dumps(claims, separators=(",", ":")).encode()[:-1] + b","
        return _encoded(text + b" " * (-len(text) % 3))


def digest(permissions: str) -> str:
    """Return the digest of ``X-User-Permissions`` that a token carries: the value itself would make it long."""
    return _encoded(sha256(permissions.encode("utf-8")).digest()).decode("ascii")


def public_keys(pem: str) -> list[Mapping[str, str]]:
    """Return the Ed25519 public keys of a text of PEM blocks, as JWKs.

    Raises:
        KeyUnusable: there is something else in it, or none; the text says so, and nothing of the keys.
    """
    keys = []
    for block in _PUBLIC_KEY.findall(pem):
        key = parse_pem(block.encode())
        if key.algorithm != "EdDSA" or key.public is None:
            raise KeyUnusable("a key is no Ed25519 public key")
        keys.append(key.public)
    if not keys or _PUBLIC_KEY.sub("", pem).strip():
        raise KeyUnusable(
            "should be Ed25519 public keys in PEM, one after the other; of a private key make one with: "
            "openssl pkey -in identity.pem -pubout"
        )
    return keys


def _header(members: Mapping[str, str]) -> bytes:
    return _encoded(json.dumps(members, separators=(",", ":")).encode()) + b"."


def _encoded(text: bytes) -> bytes:
    return urlsafe_b64encode(text).rstrip(b"=")
