"""Sign identities: one short JWT for each request that is forwarded. The other end is ``signed_identity.py``.

Laws:

- What is of the principal is written and encoded once per principal; a request adds method, path, id and times. The two
  parts are one JSON object: the first is filled up with spaces to a multiple of three bytes, so that their base64url
  can be put together (RFC 4648 section 4).
- Nobody is nobody: the anonymous principal gets none.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from authcore.pem import KeyUnusable, parse_pem
from authcore.signed_identity import TYPE, digest

if TYPE_CHECKING:
    from authcore.principal import Principal


class Signature(Protocol):
    """One signature in the making: bytes in, at last the signature."""

    def update(self, piece: bytes, /) -> None:
        """Take in what is signed."""

    def digest(self) -> bytes:
        """Return the signature."""

    def copy(self) -> Any:
        """Return another that has taken in the same."""


class _Ed25519:
    """Gathers what is signed, since Ed25519 takes it whole."""

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
    """Signs identities."""

    def __init__(self, algorithm: str, key: bytes, *, issuer: str, seconds: int) -> None:
        """Sign by `key`: an Ed25519 private key in PEM for ``EdDSA``, a secret for ``HS256``.

        Raises:
            KeyUnusable: it is not.
        """
        self._issuer = issuer
        self._seconds = seconds
        self._begun: WeakKeyDictionary[Principal, tuple[bytes, Signature]] = WeakKeyDictionary()
        header = json.dumps({"alg": algorithm, "typ": TYPE}, separators=(",", ":")).encode()
        self._header = _encoded(header) + b"."
        if algorithm == "HS256":
            self._signature: Signature = hmac.new(key, self._header, sha256)
            return
        pem = parse_pem(key)
        if pem.algorithm != algorithm or pem.private is None:
            raise KeyUnusable(
                "an Ed25519 private key is needed; make one with: openssl genpkey -algorithm ed25519"
            )
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
            "role": principal.role,
            "super_admin": principal.is_super_admin,
            "auth": principal.method.told,
            "permissions": digest(",".join(sorted(principal.permissions))),
        }
        if principal.key_id is not None:
            claims["key_id"] = str(principal.key_id)
        text = json.dumps(claims, separators=(",", ":")).encode()[:-1] + b","
        return _encoded(text + b" " * (-len(text) % 3))


def _encoded(text: bytes) -> bytes:
    return urlsafe_b64encode(text).rstrip(b"=")
