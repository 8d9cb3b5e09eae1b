"""Weak proxies: for each check of the audit at least one server that has just the weakness it looks for."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

PATIENCE: Final = 10
PROTECTED, PUBLIC, LOGIN, REFRESH = "/api/users", "/health", "/api/auth/login", "/api/auth/refresh"
KNOWN: Final = "known@example.com"


@dataclass(frozen=True)
class Asked:
    """A request, read as leniently as can be."""

    raw: bytes
    method: str
    target: str
    fields: dict[str, str]
    """By name in lower case, with hyphens for all that may stand for one; the last of a name."""
    body: bytes

    @property
    def token(self) -> str:
        return self.fields.get("authorization", "").removeprefix("Bearer ")


def answer(status: int, body: bytes = b"{}", *lines: str) -> bytes:
    fields = [
        f"HTTP/1.1 {status} Word",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *lines,
    ]
    return "\r\n".join([*fields, "Connection: close", "", ""]).encode() + body


def sound(asked: Asked) -> bytes:
    """Return the right answer, for a twin without the weakness."""
    if asked.target.startswith(PROTECTED) or asked.target == LOGIN:
        return answer(401, b"{}", "WWW-Authenticate: Bearer")
    return answer(
        200 if asked.target.partition("?")[0] == PUBLIC and asked.method in {"GET", "POST"} else 404
    )


def lets_in(when: Callable[[Asked], bool]) -> Callable[[Asked], bytes]:
    return lambda asked: answer(200, b'{"users": []}') if when(asked) else sound(asked)


def header_of(token: str) -> dict[str, object]:
    with suppress(ValueError):
        part = token.split(".", maxsplit=1)[0]
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return found if isinstance(found, dict) else {}
    return {}


def signed_by(token: str, secret: bytes) -> bool:
    content, _, signature = token.rpartition(".")
    right = base64.urlsafe_b64encode(hmac.new(secret, content.encode(), hashlib.sha256).digest()).rstrip(b"=")
    return signature.encode() == right


def looking_users_up(secret: bytes) -> Callable[[Asked], bytes]:
    """Return a server that knows none of the users in made-up tokens, and says so where a refresh token verifies."""

    def server(asked: Asked) -> bytes:
        if asked.target != REFRESH:
            return sound(asked)
        verifies = signed_by(json.loads(asked.body)["refresh_token"], secret)
        return answer(
            401, b'{"message": "User not found"}' if verifies else b'{"message": "Invalid refresh token"}'
        )

    return server


def is_alias(target: str) -> bool:
    """Return whether a decoding, lowering server serves the protected path, and an exact rule lets it pass."""
    return target != PROTECTED and unquote(target).lower().rstrip("/.") == PROTECTED


def is_plain(asked: Asked) -> bool:
    return asked.raw.count(b"\r\n") == 6 and asked.fields.get("content-length") == "4"


def reflecting(asked: Asked) -> bytes:
    return answer(200, asked.raw)


def cors(asked: Asked) -> bytes:
    origin = asked.fields.get("origin", "")
    return answer(
        204, b"", f"Access-Control-Allow-Origin: {origin}", "Access-Control-Allow-Credentials: true"
    )


def talkative(asked: Asked) -> bytes:
    if asked.target == LOGIN:
        return answer(500, b"Traceback (most recent call last):\n  ...")
    return sound(asked)


def telling(asked: Asked) -> bytes:
    if asked.target == LOGIN and KNOWN.encode() in asked.body:
        return answer(401, b'{"message": "wrong password"}')
    return answer(401, b'{"message": "no such user"}') if asked.target == LOGIN else sound(asked)


TWINS: Final[dict[str, list[Callable[[Asked], bytes]]]] = {
    "anonymous-refused": [
        lets_in(lambda asked: asked.target == PROTECTED),
        lets_in(lambda asked: asked.target == PROTECTED and asked.token == "null"),
    ],
    "identity-alone": [
        lets_in(lambda asked: "x-user-id" in asked.fields),
        lets_in(lambda asked: b"X_USER-ID" in asked.raw.upper()),
    ],
    "identity-reflected": [reflecting],
    "override-headers": [
        lambda asked: answer(404) if "x-original-url" in asked.fields else sound(asked),
        lambda asked: answer(405) if "x-http-method-override" in asked.fields else sound(asked),
    ],
    "token-unsigned": [lets_in(lambda asked: str(header_of(asked.token).get("alg", "")).lower() == "none")],
    "token-guessed-secret": [
        lets_in(lambda asked: signed_by(asked.token, b"changeme")),
        lets_in(lambda asked: signed_by(asked.token, b"your-super-secret-jwt-key-change-in-production")),
        looking_users_up(b"change-me-in-production"),
    ],
    "token-key-confusion": [
        lets_in(
            lambda asked: "dev/null" in str(header_of(asked.token).get("kid")) and signed_by(asked.token, b"")
        ),
        lets_in(lambda asked: "jwk" in header_of(asked.token) and signed_by(asked.token, b"own")),
    ],
    "path-forms": [
        lets_in(lambda asked: is_alias(asked.target)),
        lets_in(lambda asked: "%EF%BD" in asked.target),
        lets_in(lambda asked: "/.." in asked.target),
    ],
    "ambiguous-framing": [
        lambda _: answer(200),
        lambda asked: answer(200) if is_plain(asked) else answer(400) + answer(404),
        lambda asked: answer(405) if asked.method == "POST" else sound(asked),
    ],
    "head-limits": [lambda _: answer(200)],
    "upgrade-smuggling": [lambda asked: answer(101, b"") if "upgrade" in asked.fields else sound(asked)],
    "trace-reflects": [lambda asked: reflecting(asked) if asked.method == "TRACE" else sound(asked)],
    "admin-pages": [
        lambda asked: (
            answer(200, b"# HELP gateway_requests x\n") if asked.target == "/metrics" else sound(asked)
        ),
        lambda asked: answer(200, b"DB_PASSWORD=x\n") if asked.target == "/.env" else sound(asked),
    ],
    "errors-tell-nothing": [talkative],
    "cookie-flags": [
        lambda _: answer(200, b"{}", "Set-Cookie: sid=1; Path=/; HttpOnly"),
        lambda _: answer(200, b"{}", "Set-Cookie: sid=1; SameSite=Lax"),
    ],
    "cors-strangers": [
        cors,
        lambda asked: (
            answer(200, b"{}", "Access-Control-Allow-Origin: null")
            if asked.fields.get("origin") == "null"
            else sound(asked)
        ),
    ],
    "tls": [sound],
    "user-enumeration": [telling, sound],
    "sign-in-throttled": [sound],
    "upstream-direct": [lambda _: answer(200), lets_in(lambda asked: "x-user-id" in asked.fields)],
}
"""By check: servers that it must find something in."""


@asynccontextmanager
async def weak(
    twin: Callable[[Asked], bytes], tls: ssl.SSLContext | None = None, slow: float = 0.0
) -> AsyncIterator[int]:
    """Serve `twin` on the port that is yielded; a known e-mail takes `slow` seconds more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                asked = read(head)
                size = asked.fields.get("content-length", "0")
                has_body = asked.target in {LOGIN, REFRESH} and size.isdecimal()
                body = await reader.readexactly(int(size)) if has_body else b""
                asked = Asked(head + body, asked.method, asked.target, asked.fields, body)
                if slow and KNOWN.encode() in body:
                    await asyncio.sleep(slow)
                writer.write(twin(asked))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 24, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def read(head: bytes) -> Asked:
    start, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, target, *_ = [*start.split(" "), "", ""]
    pairs = (line.partition(":") for line in lines)
    fields = {
        name.strip().lower().replace("_", "-").replace(".", "-"): value.strip() for name, _, value in pairs
    }
    return Asked(head, method, target, fields, b"")
