"""Maker of signed identities for tests: a gateway's signature without a gateway.

::

    gateway = SigningGateway(audience="billing")
    app = IdentityMiddleware(app, gateway.verifier())
    client.get("/bills", headers=gateway.headers("GET", "/bills", name="Zoë", permissions=["accounts:read"]))

Law: what it makes is what the gateway makes of the same caller; ``docs/packages/vectors.json`` compares them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, uuid5

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from whatomate_identity.keys import PublicKeys
from whatomate_identity.verifier import ISSUER, TYPE, Verifier

if TYPE_CHECKING:
    from collections.abc import Iterable

USER_ID: Final = str(uuid5(NAMESPACE_URL, "user"))
ORGANIZATION_ID: Final = str(uuid5(NAMESPACE_URL, "organization"))


class SigningGateway:
    """Signer with a key of its own.

    Attributes:
        audience: The service that its identities are for.
        issuer: Their issuer.
        kid: The name of its key.
        public_key: The public key, in PEM.
    """

    def __init__(
        self, *, audience: str, issuer: str = ISSUER, private_key: Ed25519PrivateKey | None = None
    ) -> None:
        self.audience, self.issuer = audience, issuer
        self._key = private_key or Ed25519PrivateKey.generate()
        public = self._key.public_key()
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self._members = {"crv": "Ed25519", "kty": "OKP", "x": _encoded(raw)}
        self.kid = _encoded(hashlib.sha256(_json(self._members)).digest())  # RFC 7638
        self.public_key = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode("ascii")

    def verifier(self, **options: Any) -> Verifier:
        """Return a verifier of what it signs, with further arguments of :class:`Verifier`."""
        return Verifier(PublicKeys([self.public_key]), audience=self.audience, issuer=self.issuer, **options)

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the key set as the gateway publishes it."""
        return {"keys": [{**self._members, "kid": self.kid, "alg": "EdDSA", "use": "sig"}]}

    def headers(  # noqa: PLR0913 -- what an identity says
        self,
        method: str = "GET",
        path: str = "/",
        *,
        user_id: str = USER_ID,
        organization_id: str = ORGANIZATION_ID,
        email: str = "test@example.com",
        name: str = "Test User",
        role: str = "agent",
        role_id: str | None = None,
        permissions: Iterable[str] = (),
        is_super_admin: bool = False,
        auth_method: str = "jwt",
        key_id: str | None = None,
        request_id: str = "test-request",
        now: float | None = None,
        seconds: int = 60,
        **claims: Any,
    ) -> dict[str, str]:
        """Return the headers of one request in somebody's name: the signed identity, and the list of permissions.

        Args:
            method: The request's method.
            path: Its path, decoded, without the query.
            user_id: As are the other parts of the caller, what :class:`Identity` calls so.
            organization_id: See there.
            email: See there.
            name: See there.
            role: See there.
            role_id: See there.
            permissions: See there.
            is_super_admin: See there.
            auth_method: See there.
            key_id: See there.
            request_id: See there.
            now: POSIX seconds at which it is signed; by default, now.
            seconds: How long it is good for.
            claims: Claims to set besides, or to set otherwise, for tests of what is refused.
        """
        listed = ",".join(sorted(permissions))
        issued = int(time.time() if now is None else now)
        made: dict[str, Any] = {
            "iss": self.issuer,
            "sub": user_id,
            "org": organization_id,
            "email": email,
            "name": name,
            "role": role,
            "super_admin": is_super_admin,
            "auth": auth_method,
            "permissions": _encoded(hashlib.sha256(listed.encode()).digest()),
            **({} if role_id is None else {"role_id": role_id}),
            **({} if key_id is None else {"key_id": key_id}),
            "aud": self.audience,
            "method": method,
            "path": path,
            "request_id": request_id,
            "iat": issued,
            "exp": issued + seconds,
            **claims,
        }
        header = {"alg": "EdDSA", "typ": TYPE, "kid": self.kid}
        signed = f"{_encoded(_json(header))}.{_encoded(_json(made))}"
        token = f"{signed}.{_encoded(self._key.sign(signed.encode()))}"
        return {"X-Identity": token, **({"X-User-Permissions": listed} if listed else {})}


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
