"""Signing keys and forged signatures: a foreign issuer with its key set, a directory of keys, an HMAC by hand."""

from __future__ import annotations

import base64
import hmac
import json
import time
from contextlib import AsyncExitStack
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization

from authcore.crypto.pem import generate_pem, parse_pem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from authcore.crypto.keyring import Key

ISSUER, AUDIENCE = "https://id.example/realms/main", "whatomate"


@cache
def loaded(pem: bytes) -> tuple[Any, Key]:
    """A private key, and what its file says: to read one proves an RSA key's primes, longer than a request."""
    return serialization.load_pem_private_key(pem, None), parse_pem(pem)


class Provider:
    """An identity provider: keys, and a server that shows their public halves."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {"first": generate_pem("RS256")}
        # Now: once a gateway runs, it would wait so long that its connections time out.
        loaded(self.keys["first"])
        self.asked = 0
        self.answer: Callable[[], web.Response] = self.show
        self.url = ""

    def show(self) -> web.Response:
        keys = [{**(loaded(pem)[1].public or {}), "kid": kid} for kid, pem in self.keys.items()]
        return web.json_response({"keys": keys}, headers={"Cache-Control": "public, max-age=3600"})

    async def handle(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return self.answer()

    def token(self, kid: str = "first", *, named: bool = True, typ: object = "JWT", **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": ["account", AUDIENCE],
            "sub": "f:1",
            "exp": now + 300,
            "iat": now,
            "jti": str(uuid4()),  # a provider's tokens have ids, and are no refresh tokens of ours
            "email": "agent@example.com",
            "email_verified": True,
            **changes,
        }
        present = {name: value for name, value in claims.items() if value is not None}
        pem = self.keys[kid]
        key, described = loaded(pem)
        return jwt.encode(present, key, described.algorithm, {"typ": typ, **({"kid": kid} if named else {})})

    def settings(self, **changes: Any) -> dict[str, Any]:
        return {
            "url": ISSUER,
            "jwks_url": self.url,
            "audience": (AUDIENCE,),
            "cooldown_seconds": 0.2,
            "timeout_seconds": 10,
            **changes,
        }


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    one = Provider()
    application = web.Application()
    application.router.add_get("/jwks", one.handle)
    runner = web.AppRunner(application)
    async with AsyncExitStack() as stack:
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
        yield one


def part(content: object) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hmac(header: object, claims: object, secret: bytes, algorithm: str = "sha256") -> str:
    content = f"{part(header)}.{part(claims)}"
    return f"{content}.{part(hmac.new(secret, content.encode(), algorithm).digest())}"


def by_ed25519(header: object, claims: object, pem: bytes) -> str:
    content = f"{part(header)}.{part(claims)}"
    return f"{content}.{part(loaded(pem)[0].sign(content.encode()))}"


def two_keys(folder: Path) -> list[str]:
    """Make a directory of two signing keys, of which the first signs; return their ids."""
    kids = []
    for name in ("a.pem", "b.pem"):
        (folder / name).write_bytes(generate_pem("EdDSA"))
        kids.append(str(parse_pem((folder / name).read_bytes()).kid))
    (folder / "signing").write_text(kids[0])
    return kids
