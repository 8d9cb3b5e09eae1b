"""Signed identities: a principal, its signer and its verifier, with what a test wants to change."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from authcore.principal import AuthMethod, Principal
from authcore.tokens.identity_signer import IdentitySigner
from authcore.tokens.signed_identity import IdentityVerifier

SECRET = b"a-secret-of-the-identities-and-of-nobody-else"


NOW = 1_800_000_000.5


GRANTED = frozenset({"chat:read", "contacts:read"})


TOLD = "chat:read,contacts:read"


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


def verifier(*keys: bytes, algorithm: str = "HS256", **changes: Any) -> IdentityVerifier:
    return IdentityVerifier(keys or (SECRET,), algorithm=algorithm, **{"audience": "upstream", **changes})


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
