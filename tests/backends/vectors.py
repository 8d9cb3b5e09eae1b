"""Maker of docs/packages/vectors.json: requests as the gateway signs them, and forgeries, with what becomes of each.

The tests of each package read the file, so that all languages agree. Ed25519 signs alike each time, so the file is the
same each time: `python -m tests.backends.vectors > docs/packages/vectors.json`.
"""

from __future__ import annotations

import base64
import hmac
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from authcore.identity_headers import HEADERS, SESSION
from authcore.principal import AuthMethod, Principal
from authcore.tokens.identity_signer import IdentitySigner
from gateway.proxy.headers import HeaderPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

FILE: Final = Path(__file__).parents[2] / "docs" / "packages" / "vectors.json"
AUDIENCE: Final = "billing"
ISSUER: Final = "whatomate-gateway"
NOW: Final = 1_800_000_000
LEEWAY: Final = 5
SECRET: Final = "a-secret-of-the-vectors-and-of-nobody-else"

ZOE: Final = Principal(
    AuthMethod.API_KEY,
    UUID("11111111-1111-4111-8111-111111111111"),
    UUID("22222222-2222-4222-8222-222222222222"),
    email="zoë@example.com",
    name="Zoë Ångström 李",
    role_id=UUID("33333333-3333-4333-8333-333333333333"),
    role="agent",
    permissions=frozenset({"accounts:read", "chat:read"}),
    key_id=UUID("44444444-4444-4444-8444-444444444444"),
)
NOBODY_IN_PARTICULAR: Final = Principal(
    AuthMethod.JWT, ZOE.user_id, ZOE.organization_id, email="root@example.com", is_super_admin=True
)
LISTED: Final = "accounts:read,chat:read"


def pem_of(number: int) -> bytes:
    """Return the private key of a number."""
    return _key(number).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def signer(number: int = 1, **changes: Any) -> IdentitySigner:
    """Return the signer with the key of a number."""
    values = {"issuer": ISSUER, "seconds": 60, **changes}
    return IdentitySigner("EdDSA", pem_of(number), **values)


def token(who: Principal = ZOE, by: IdentitySigner | None = None, **changes: Any) -> str:
    """Return what the gateway sends for a request."""
    values = {"audience": AUDIENCE, "method": b"GET", "path": "/bills/7", "now": NOW, **changes}
    return (
        (by or signer())
        .sign(who, values["audience"], values["method"], values["path"], b"request-0001", values["now"])
        .decode("ascii")
    )


def forged(
    header: dict[str, Any] | None = None, sign: Callable[[bytes], bytes] | None = None, **claims: Any
) -> str:
    """Return a token of one's own making, by default by the gateway's key, with other members than it makes."""
    genuine = token()
    made = {**jwt.decode(genuine, options={"verify_signature": False}), **claims}
    named = {**jwt.get_unverified_header(genuine), **(header or {})}
    text = ".".join(_encoded(json.dumps(part).encode()) for part in (named, made))
    return f"{text}.{_encoded((sign or _key(1).sign)(text.encode()))}"


def by_public_key(text: bytes) -> bytes:
    """Sign with the gateway's public key, which everybody has, as a shared secret."""
    pem = (
        _key(1)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return hmac.digest(pem, text, "sha256")


def _key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def identity(who: Principal, permissions: list[str] | None) -> dict[str, Any]:
    """Return what a package reads of a caller."""
    return {
        "user_id": str(who.user_id),
        "organization_id": str(who.organization_id),
        "email": who.email,
        "name": who.name,
        "role": who.role,
        "role_id": None if who.role_id is None else str(who.role_id),
        "is_super_admin": who.is_super_admin,
        "auth_method": who.method.public_name,
        "key_id": None if who.key_id is None else str(who.key_id),
        "permissions": permissions,
        "request_id": "request-0001",
        "expires_at": NOW + 60,
    }


def case(name: str, signed: str | list[str], outcome: str | dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return one case; `more` are the method, the target, the algorithm, and the headers beside the identity."""
    tokens = [signed] if isinstance(signed, str) else signed
    beside = more.pop("beside", [["X-User-Permissions", LISTED]])
    expected = {"reason": outcome} if isinstance(outcome, str) else {"identity": outcome}
    return {
        "name": name,
        "algorithm": "EdDSA",
        "method": "GET",
        "target": "/bills/7",
        **more,
        "headers": [*(["X-Identity", one] for one in tokens), *beside],
        **expected,
    }


def good() -> list[dict[str, Any]]:
    """Return what is taken."""
    zoe, root = identity(ZOE, LISTED.split(",")), identity(NOBODY_IN_PARTICULAR, [])
    by_secret = IdentitySigner("HS256", SECRET.encode(), issuer=ISSUER, seconds=60)
    lies = [["X-User-ID", "somebody else"], ["X-User-Name", "Mallory"], ["x_user.name", "Mallory"]]
    return [
        case("a request as the gateway sends it", token(), zoe),
        case("by the key that signed before, or signs next", token(by=signer(2)), zoe),
        case("by a shared secret", token(by=by_secret), zoe, algorithm="HS256"),
        case("the query is not signed", token(), zoe, target="/bills/7?page=2&x=%2F"),
        case("a path with escapes", token(path="/café/a b"), zoe, target="/caf%C3%A9/a%20b"),
        case("another method", token(method=b"DELETE"), zoe, method="DELETE"),
        case("a super admin without a name, a role and permissions", token(NOBODY_IN_PARTICULAR), root, beside=[]),
        case("the list of permissions is not sent", token(), {**zoe, "permissions": None}, beside=[]),
        case("plain headers that say something else", token(), zoe, beside=[["X-User-Permissions", LISTED], *lies]),
        case("within the leeway after its end", token(now=NOW - 64), {**zoe, "expires_at": NOW - 4}),
        case("within the leeway before it was issued", token(now=NOW + 6), {**zoe, "expires_at": NOW + 66}),
    ]  # fmt: skip


def bad() -> list[dict[str, Any]]:
    """Return what is refused."""
    genuine = token()
    head, body, signature = genuine.split(".")
    none, plain = _encoded(b'{"alg":"none","typ":"identity+jwt"}'), [["X-User-Permissions", LISTED]]
    confused = forged({"alg": "HS256"}, by_public_key)
    more = f"{LISTED},users:write"
    claims: dict[str, Any] = {
        "sub": 1,
        "path": None,
        "exp": "9999999999",
        "iat": True,
        "method": ["GET"],
        "permissions": 7,
    }
    return [
        case("plain headers alone", [], "missing", beside=[*plain, ["X-User-ID", str(ZOE.user_id)]]),
        case("an empty one", "", "missing"),
        case("two of them", [genuine, genuine], "repeated"),
        case("two of them, one another's", [genuine, token(path="/other")], "repeated"),
        case("two lists of permissions", genuine, "repeated", beside=[*plain, *plain]),
        case("not a token", "x", "malformed"),
        case("three empty parts", "..", "malformed"),
        case("nothing but dots and letters", "a.b.c", "malformed"),
        case("without a signature", f"{head}.{body}.", "malformed"),
        case("two parts", f"{head}.{body}", "malformed"),
        case("four parts", f"{genuine}.{signature}", "malformed"),
        case("padded", f"{head}.{body}.{signature}==", "malformed"),
        case("too long", f"{head}.{body}.{signature}{'A' * 8192}", "malformed"),
        case("a header that is a list", f"{_encoded(b'[]')}.{body}.{signature}", "malformed"),
        case("an extension that must be understood", forged({"crit": ["x"], "x": 1}), "malformed"),
        case("algorithm none", f"{none}.{body}.{signature}", "algorithm"),
        case("the public key as a shared secret", confused, "algorithm"),
        case("a shared secret where keys are expected", token(by=IdentitySigner("HS256", SECRET.encode(), issuer=ISSUER, seconds=60)), "algorithm"),  # noqa: E501
        case("a key where a shared secret is expected", genuine, "algorithm", algorithm="HS256"),
        case("an access token", forged({"typ": "JWT"}), "type"),
        case("without a type", forged({"typ": None}), "type"),
        case("a key that the gateway does not publish", token(by=signer(9)), "key"),
        case("no name of a key", forged({"kid": None}), "key"),
        case("the name of a key that is no text", forged({"kid": 1}), "key"),
        case("another key under the name of the gateway's", forged(sign=_key(9).sign), "signature"),
        case("another signature", f"{head}.{body}.{'A' * len(signature)}", "signature"),
        case("other claims under the same signature", f"{head}.{token(path='/other').split('.')[1]}.{signature}", "signature"),  # noqa: E501
        case("another gateway", token(by=signer(issuer="somebody")), "issuer"),
        case("no issuer", forged(iss=None), "issuer"),
        case("another service", token(audience="upstream"), "audience"),
        case("several services", forged(aud=[AUDIENCE, "upstream"]), "audience"),
        case("at its end, and the leeway's", token(now=NOW - 65), "expired"),
        case("long ago", token(now=NOW - 86_400), "expired"),
        case("not yet", token(now=NOW + 30), "future"),
        case("another method", genuine, "method", method="DELETE"),
        case("a method in small letters", genuine, "method", method="get"),
        case("another path", genuine, "path", target="/bills/8"),
        case("a path in capitals", genuine, "path", target="/BILLS/7"),
        case("a longer path", genuine, "path", target="/bills/7/"),
        case("a question mark in the path", genuine, "path", target="/bills/7%3Fx"),
        case("a path with escapes in its escapes", token(path="/bills/a"), "path", target="/bills/%2561"),
        case("a path with dots", genuine, "path", target="/x/../bills/7"),
        case("a permission more", genuine, "permissions", beside=[["X-User-Permissions", more]]),
        case("a permission less", genuine, "permissions", beside=[["X-User-Permissions", "chat:read"]]),
        case("an empty list of permissions", genuine, "permissions", beside=[["X-User-Permissions", ""]]),
        *(case(f"a claim of another kind: {name}", forged(**{name: value}), "malformed") for name, value in claims.items()),  # noqa: E501
    ]  # fmt: skip


def restored() -> dict[str, str]:
    """Return the plain headers, in lower case, that an application is given of the first case's identity."""
    names = {header.key: header.name for header in HEADERS if header.key != SESSION}
    lines = HeaderPolicy(names).identity(ZOE).decode("utf-8").split("\r\n")
    sent = (line.partition(": ") for line in lines if line)
    return {name.lower(): value for name, _, value in sent}


def document() -> str:
    """Return the file's text."""
    keys = [dict(by.public or {}) for by in (signer(1), signer(2))]
    strangers = [
        {"kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "x"},
    ]
    made = {
        "about": "Requests, and what a verifier makes of them; headers are UTF-8. Made by tests/backends/vectors.py.",
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "now": NOW,
        "leeway_seconds": LEEWAY,
        "jwks": {"keys": [*keys, *strangers]},
        "secret": SECRET,
        "restored": restored(),
        "cases": [*good(), *bad()],
    }  # fmt: skip
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
