"""Origins that look like one that is let in: a suffix, a prefix, a user, a port, a dot, a case, a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, get, request

if TYPE_CHECKING:
    from tests.support.worlds import Start


CORS = {
    "origins": ("https://example.com", "https://*.example.com", "http://localhost:3000"),
    "credentials": True,
}

LOOKALIKES = [
    "https://evil-example.com",
    "https://evilexample.com",
    "https://example.com.evil.com",
    "https://a.example.com.evil.com",
    "https://evil.com/.example.com",
    "https://evil.com#.example.com",
    "https://evil.com?.example.com",
    "https://evil.com\\.example.com",
    "https://evil.com%2f.example.com",
    "https://a.example.com@evil.com",
    "https://evil@a.example.com",
    "https://a:b@example.com",
    "https://a.b.example.com",
    "https://.example.com",
    "https://*.example.com",
    "https://a..example.com",
    "https://a.example.com.",
    "https://example.com.",
    "https://example.com:443",
    "https://example.com:8443",
    "https://a.example.com:443",
    "https://example.com/",
    "https://example.com ",
    "http://example.com",
    "http://a.example.com",
    "HTTPS//example.com",
    "//example.com",
    "example.com",
    "a.example.com",
    "https:example.com",
    "https:/a.example.com",
    "https://exаmple.com",  # noqa: RUF001 -- a Cyrillic letter is the attack
    "https://a.exampleXcom",
    "http://localhost",
    "http://localhost:30000",
    "http://localhost:3000.evil.com",
    "https://localhost:3000",
    "https://example.com, https://evil.com",
    "https://evil.com https://example.com",
    "https://evil.com, https://a.example.com",
    "null",
    "NULL",
    "file://",
    "*",
]


@pytest.mark.parametrize("origin", LOOKALIKES)
async def test_a_lookalike_is_a_stranger(start: Start, origin: str) -> None:
    gate = await start(cors=CORS)
    line = f"Origin: {origin}"
    for raw in (
        get("/x", line),
        get("/api/x", line),
        request("OPTIONS", "/api/x", line, "Access-Control-Request-Method: GET"),
    ):
        answer = await ask(gate, raw)
        if origin.endswith(" "):  # white space around a value is not part of it (RFC 9110 section 5.5)
            assert answer.one("Access-Control-Allow-Origin") == origin.strip()
        else:
            assert not [name for name, _ in answer.lines if name.lower().startswith(b"access-control-")]


async def test_two_origins_are_none(start: Start) -> None:
    gate = await start(cors=CORS)
    for pair in (("https://example.com", "https://evil.com"), ("https://evil.com", "https://example.com")):
        answer = await ask(gate, get("/x", *(f"Origin: {origin}" for origin in pair)))
        assert answer.one("Access-Control-Allow-Origin") is None


async def test_the_genuine_ones_are_let_in(start: Start) -> None:
    gate = await start(cors=CORS)
    for origin in (
        "https://example.com",
        "https://a.example.com",
        "https://A.EXAMPLE.com",
        "http://localhost:3000",
    ):
        assert (await ask(gate, get("/x", f"Origin: {origin}"))).one("Access-Control-Allow-Origin") == origin
