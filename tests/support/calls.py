"""Requests as bytes, and what a refusal must look like."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any
from uuid import UUID

import jwt

from tests.support.peers import Client, Message
from tests.support.worlds import SECRET

if TYPE_CHECKING:
    from gateway.app import Gateway

GET = b"GET / HTTP/1.1\r\nHost: e\r\n\r\n"


def request(method: str, target: str, *lines: str, body: bytes | None = None) -> bytes:
    """A well-formed request with the field lines `lines`."""
    fields = [f"{method} {target} HTTP/1.1", "Host: gateway.test", *lines]
    if body is not None:
        fields.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*fields, "", ""]).encode() + (body or b"")


def get(target: str, *lines: str) -> bytes:
    return request("GET", target, *lines)


def post(target: str, content: object, *lines: str) -> bytes:
    """A request whose body is `content` as JSON."""
    return request(
        "POST", target, "Content-Type: application/json", *lines, body=json.dumps(content).encode()
    )


def put(target: str, content: object, *lines: str) -> bytes:
    body = json.dumps(content).encode()
    return request("PUT", target, "Content-Type: application/json", *lines, body=body)


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


async def ask(gateway: Gateway, raw: bytes) -> Message:
    """Send `raw` on a connection of its own."""
    return await ask_at(gateway.address, raw)


async def ask_at(address: tuple[str, int], raw: bytes) -> Message:
    """Send `raw` on a connection of its own."""
    async with Client(address) as client:
        return await client.exchange(raw)


async def granted(gateway: Gateway, raw: bytes) -> dict[str, Any]:
    """Return the data of a hosted endpoint's successful answer."""
    answer = await ask(gateway, raw)
    assert answer.status == 200, answer.body
    envelope = answer.json()
    assert envelope["status"] == "success"
    assert isinstance(envelope["data"], dict)
    return envelope["data"]


def is_refusal(answer: Message, status: int, message: str | None = None) -> None:
    """A refusal is the envelope, as JSON, with an id; and says what it is asked to say."""
    assert answer.status == status, (answer.start, answer.body)
    assert answer.one("Content-Type") == "application/json"
    assert answer.one("X-Request-ID")
    assert answer.one("Location") is None
    envelope = answer.json()
    assert set(envelope) == {"status", "message", "data"}
    assert envelope["status"] == "error"
    assert envelope["data"] is None
    assert isinstance(envelope["message"], str)
    if message is not None:
        assert envelope["message"] == message
    if status == 401:
        assert answer.one("WWW-Authenticate")
    if status == 503:
        assert answer.one("Retry-After")


def claims_of(token: str) -> dict[str, Any]:
    """Return a token's claims, read as Whatomate reads them, with a session's short name as ``sid`` too."""
    claims: dict[str, Any] = jwt.decode(
        token,
        SECRET,
        algorithms=["HS256"],
        issuer="whatomate",
        leeway=5,  # the machine's clock may be set back
    )
    if "s" in claims:
        claims["sid"] = str(UUID(bytes=urlsafe_b64decode(claims["s"] + "==")))
    return claims


def whatomate_token(user: UUID, organization: UUID, *, seconds: int = 3600, **changes: Any) -> str:
    """A token as Whatomate issues it: none of the gateway's own claims. A change to None leaves the claim out."""
    now = int(time.time())
    claims = {
        "user_id": str(user),
        "organization_id": str(organization),
        "email": "someone@example.com",
        "is_super_admin": False,
        "exp": now + seconds,
        "iat": now,
        "iss": "whatomate",
        **changes,
    }
    return jwt.encode(
        {name: claim for name, claim in claims.items() if claim is not None}, SECRET, algorithm="HS256"
    )
