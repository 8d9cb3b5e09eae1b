"""Cross-site WebSocket hijacking: a handshake is a GET with the cookie, and CORS keeps its answer from no page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browsing import Jar, signed_in
from tests.support.calls import ask, bearer, get, is_refusal
from tests.support.peers import Client, read_head
from tests.support.sockets import ASK, SWITCH

if TYPE_CHECKING:
    import asyncio

    from gateway.app import Gateway
    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World


APP = "https://app.example.com"


async def switching(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    writer.write(SWITCH)
    await reader.read()


async def shake(gate: Gateway, *lines: str) -> Message:
    head = ASK.replace(b"/chat", b"/api/socket").replace(b"Host: e\r\n", b"Host: gateway.test\r\n")
    async with Client(gate.address) as client:
        await client.send(head[:-2] + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n")
        return await client.response(interim=True)


@pytest.fixture
async def gate(world: World, start: Start, upstream: Upstream) -> Gateway:
    upstream.script = switching
    return await start(world.url, cookies=True)


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("Origin: https://evil.example",),
        ("Origin: null",),
        ("Origin:",),
        ("Origin: https://gateway.test.evil.example",),
        ("Origin: https://gateway.test@evil.example",),
        ("Origin: https://gateway.testevil",),
        ("Origin: https://gateway.test.",),
        ("Origin: https://gateway.test:8443",),
        ("Origin: https://sub.gateway.test",),
        ("Origin: gateway.test",),
        ("Origin: https://gateway.test", "Origin: https://evil.example"),
        ("Origin: https://gateway.test", "Sec-Fetch-Site: cross-site"),
        ("Origin: https://evil.example", "X-Forwarded-Host: evil.example"),
        (f"Origin: {APP}",),
    ],
)
async def test_a_page_elsewhere_opens_none(gate: Gateway, upstream: Upstream, lines: tuple[str, ...]) -> None:
    jar = await signed_in(gate)
    is_refusal(await shake(gate, jar.sent_to("/api/socket"), *lines), 403)
    assert upstream.seen == b""


@pytest.mark.parametrize(
    "lines",
    [
        ("Origin: https://gateway.test",),
        ("Origin: HTTPS://Gateway.Test",),
        ("Origin: https://gateway.test", "Sec-Fetch-Site: same-origin"),
    ],
)
async def test_a_page_of_this_origin_does(gate: Gateway, lines: tuple[str, ...]) -> None:
    jar = await signed_in(gate)
    assert (await shake(gate, jar.sent_to("/api/socket"), *lines)).status == 101


async def test_a_page_that_may_use_cookies_does_and_no_other(
    world: World, start: Start, upstream: Upstream
) -> None:
    upstream.script = switching
    jar: Jar | None = None
    cors: dict[str, Any]
    for cors, status in (({"origins": (APP,), "credentials": True}, 101), ({"origins": (APP,)}, 403)):
        gate = await start(world.url, cookies=True, cors=cors)
        jar = jar or await signed_in(gate)
        assert (await shake(gate, jar.sent_to("/api/socket"), f"Origin: {APP}")).status == status
        is_refusal(await shake(gate, jar.sent_to("/api/socket"), "Origin: https://app.example.com.evil"), 403)


async def test_a_handshake_with_a_credential_in_a_header_needs_no_origin(gate: Gateway, world: World) -> None:
    """No browser sends one by itself."""
    for line in (bearer(world.token(world.agent)), f"X-API-Key: {world.api_key}"):
        assert (await shake(gate, line, "Origin: https://evil.example")).status == 101


@pytest.mark.parametrize("mark", ["Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="])
@pytest.mark.parametrize("endpoint", ["nginx", "forward"])
async def test_a_page_elsewhere_opens_none_through_a_proxy_that_describes_the_handshake(
    world: World, start: Start, endpoint: str, mark: str
) -> None:
    """A proxy that asks sends no handshake itself: of its marks, some may be missing."""
    trusted = {"decision": {"path": "/decisions"}, "trusted_proxies": ["127.0.0.0/8"]}
    gate = await start(world.url, cookies=True, **trusted)
    jar = await signed_in(gate)
    asked = {
        "nginx": ("X-Original-Method: GET", "X-Original-URI: /api/socket"),
        "forward": (
            "X-Forwarded-Method: GET",
            "X-Forwarded-Uri: /api/socket",
            "X-Forwarded-Host: gateway.test",
        ),
    }[endpoint]
    for origin, status in (("https://evil.example", 403), ("https://gateway.test", 200)):
        lines = (*asked, jar.sent_to("/api/socket"), f"Origin: {origin}", mark)
        assert (await ask(gate, get(f"/decisions/{endpoint}", *lines))).status == status, origin
