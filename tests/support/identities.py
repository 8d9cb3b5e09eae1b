"""Signed identities: a principal, its signer and its verifier, with what a test wants to change."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from authcore.principal import AuthMethod, Principal
from authcore.tokens.identity_signer import IdentitySigner
from whatomate_identity import Identity, PublicKeys, SharedSecrets, Verifier
from whatomate_identity.verifier import path_of

SECRET = b"a-secret-of-the-identities-and-of-nobody-else"
NOW = 1_800_000_000.5
GRANTED = frozenset({"chat:read", "contacts:read"})
GRANTED_TEXT = "chat:read,contacts:read"
"""The same as an upstream is sent them."""


def principal(**changes: Any) -> Principal:
    values: dict[str, Any] = {
        "method": AuthMethod.JWT,
        "user_id": uuid4(),
        "organization_id": uuid4(),
        "email": "zoë@example.com",
        "role": "agent",
        "permissions": GRANTED,
    }
    return Principal(**{**values, **changes})


def signer(**changes: Any) -> IdentitySigner:
    values: dict[str, Any] = {
        "algorithm": "HS256",
        "key": SECRET,
        "issuer": "whatomate-gateway",
        "seconds": 60,
    }
    values |= changes
    return IdentitySigner(values.pop("algorithm"), values.pop("key"), **values)


class Service:
    """A service that verifies, with one key for all tokens."""

    def __init__(self, keys: SharedSecrets | PublicKeys, **changes: Any) -> None:
        self._now = NOW
        values = {"audience": "upstream", "leeway_seconds": 0, **changes}
        self._verifier = Verifier(keys, clock=lambda: self._now, **values)

    def verify(
        self, token: str | None, method: str, target: str, now: float, *, permissions: str | None = None
    ) -> Identity:
        self._now = now
        headers = [(b"X-Identity", (token or "").encode("utf-8", "surrogatepass"))]
        if permissions is not None:
            headers.append((b"X-User-Permissions", permissions.encode()))
        return self._verifier.verify(method, path_of(target.encode()), headers)


def verifier(*keys: bytes, algorithm: str = "HS256", **changes: Any) -> Service:
    if algorithm == "HS256":
        return Service(SharedSecrets(keys or (SECRET,)), **changes)
    return Service(PublicKeys(keys), **changes)


def sign(who: Principal, by: IdentitySigner | None = None, **changes: Any) -> str:
    values: dict[str, Any] = {
        "audience": "upstream",
        "method": b"GET",
        "path": "/api/x",
        "now": NOW,
        **changes,
    }
    token = (by or signer()).sign(
        who, values["audience"], values["method"], values["path"], b"request-0001", values["now"]
    )
    return token.decode("ascii")
