"""The limits that the proxies have by themselves: in the examples none is below what the gateway lets pass."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from config.settings import Settings
from tests.integrations.proxies import EXAMPLES, ON, RECIPES, running
from tests.support.calls import ask_at, bearer, get, request
from tests.support.peers import Client, read_head

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World

PROXIES = pytest.mark.parametrize("proxy", sorted(RECIPES))
PIECE = bytes(range(256)) * 4096
"""A MiB: nginx takes no more of a body unless it is configured to."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PERMISSIONS = """
WITH made AS (
    INSERT INTO permissions (resource, action)
    SELECT 'of-another-program-' || n, 'read' FROM generate_series(1, 480) n RETURNING id
)
INSERT INTO role_permissions (custom_role_id, permission_id)
SELECT role.id, made.id FROM made, custom_roles role WHERE role.name = 'agent' AND role.organization_id = $1
"""
"""12 KiB and more of X-User-Permissions."""


@PROXIES
async def test_a_large_upload_is_streamed_through_each_proxy(
    world: World, start: Start, upstream: Upstream, tmp_path: Path, proxy: str
) -> None:
    """Nor does an upload take the place of the identity, which is long here, in the proxy's buffer."""
    await world.sql(PERMISSIONS, world.home)
    heads, bodies = [], []
    begun = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            if head.start.startswith(b"POST"):
                heads.append(head)
                bodies.append(await reader.readexactly(len(PIECE)))
                begun.set()
                bodies.append(await reader.readexactly(len(PIECE)))
            writer.write(OK)

    upstream.script = serve
    gateway = await start(world.url, **ON)
    token = bearer(world.token(world.agent))
    async with (
        running(proxy, tmp_path, gateway.address[1], upstream.port) as address,
        Client(address) as client,
    ):
        for path in ("/api/x", "/assets/upload"):
            begun.clear()
            head = f"POST {path} HTTP/1.1\r\nHost: e\r\n{token}\r\nContent-Length: {2 * len(PIECE)}\r\n\r\n"
            await client.send(head.encode() + PIECE)
            await asyncio.wait_for(begun.wait(), 10)
            await client.send(PIECE)
            assert (await client.response()).body == b"ok"
        assert bodies == [PIECE] * 4
        assert len(heads[0].one("X-User-Permissions") or "") > 12_000
        assert heads[0].one("X-User-ID") == str(world.agent)


@PROXIES
async def test_long_identities_and_credentials_pass_each_proxy(
    world: World, start: Start, upstream: Upstream, tmp_path: Path, proxy: str
) -> None:
    await world.sql(PERMISSIONS, world.home)
    gateway = await start(world.url, **ON)
    async with running(proxy, tmp_path, gateway.address[1], upstream.port) as address:
        cookie = f"Cookie: of-another-program={'x' * 7000}"
        answer = await ask_at(address, get("/api/x", bearer(world.token(world.agent)), cookie))
        assert answer.status == 200, answer.body
        seen = upstream.requests[-1]
        assert len(seen.one("X-User-Permissions") or "") > 12_000
        assert seen.one("Cookie") == cookie.removeprefix("Cookie: ")


@PROXIES
async def test_an_identity_that_is_too_long_for_the_proxy_is_not_lost_on_the_way(
    world: World, start: Start, upstream: Upstream, tmp_path: Path, proxy: str
) -> None:
    await world.sql(PERMISSIONS.replace("480", "700").replace("of-", "too-long-of-"), world.home)
    gateway = await start(world.url, **ON)
    async with running(proxy, tmp_path, gateway.address[1], upstream.port) as address:
        for body in (b"", bytes(100_000)):
            upstream.requests.clear()
            raw = request("POST", "/api/x", bearer(world.token(world.agent)), body=body)
            if (await ask_at(address, raw)).status == 200:
                assert len(upstream.requests[-1].one("X-User-Permissions") or "") > 20_000
            else:
                assert upstream.requests == []


EVENT = b"data: now\n\n"


async def events(reader: asyncio.StreamReader, count: int, more: asyncio.Event) -> None:
    """Read the answer's head, and `count` events; each is sent only after the one before it was seen."""
    head = await read_head(reader)
    assert head.status == 200
    for _ in range(count):
        got = b""
        while EVENT not in got:
            piece = await asyncio.wait_for(reader.read(1 << 16), 30)
            assert piece, "the stream was cut"
            got += piece
        more.set()


@PROXIES
@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_an_event_reaches_the_client_before_the_next_is_sent(
    world: World, start: Start, upstream: Upstream, tmp_path: Path, proxy: str, framing: str
) -> None:
    more = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        coding = b"Transfer-Encoding: chunked" if framing == "chunked" else b"Connection: close"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n%b\r\n\r\n" % coding)
        for _ in range(3):
            writer.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT) if framing == "chunked" else EVENT)
            await more.wait()
            more.clear()
        writer.write(b"0\r\n\r\n" if framing == "chunked" else b"")

    gateway = await start(world.url, **ON)
    async with (
        running(proxy, tmp_path, gateway.address[1], upstream.port) as address,
        Client(address) as client,
    ):
        upstream.script = serve
        await client.send(get("/api/events", bearer(world.token(world.agent)), "Connection: close"))
        await events(client.reader, 3, more)


async def test_the_envoy_example_sets_no_limit_on_the_length_of_an_answer(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    """Unless it is configured otherwise, it ends each at 15 seconds: before its head, and in the middle of it."""
    seconds = 16

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        if b"/slow" in head.start:
            await asyncio.sleep(seconds)
            writer.write(OK)
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + EVENT
        )
        await asyncio.sleep(seconds)
        writer.write(EVENT)

    gateway = await start(world.url, **ON)
    token = bearer(world.token(world.agent))
    async with (
        running("envoy", tmp_path, gateway.address[1], upstream.port) as address,
        Client(address) as slow,
        Client(address) as stream,
    ):
        upstream.script = serve
        await slow.send(get("/api/slow", token))
        await stream.send(get("/api/events", token))
        await events(stream.reader, 2, asyncio.Event())
        head = await asyncio.wait_for(slow.reader.readuntil(b"\r\n\r\n"), 30)
        assert head.startswith(b"HTTP/1.1 200 ")


SILENCES = {
    "nginx.conf": ("proxy_read_timeout (.+);", "proxy_send_timeout (.+);"),
    "nginx-cached.conf": ("proxy_read_timeout (.+);", "proxy_send_timeout (.+);"),
    "haproxy.cfg": ("timeout client (.+)", "timeout server (.+)", "timeout tunnel (.+)"),
    "haproxy-decisions.cfg": ("timeout client (.+)", "timeout server (.+)", "timeout tunnel (.+)"),
    "envoy.yaml": (
        "cluster: service, timeout: 0s, idle_timeout: (.+) }",
        "cluster: gateway, .*idle_timeout: (.+) }",
    ),
    "traefik.yaml": ("readTimeout: (.+)",),  # of a whole upload
}


@pytest.mark.parametrize("file", sorted(SILENCES))
def test_no_examples_timeout_for_silence_is_shorter_than_the_gateways(file: str) -> None:
    text = (EXAMPLES / file).read_text(encoding="utf-8")
    for pattern in SILENCES[file]:
        found = re.findall(rf"^[^#\n]*{pattern}$", text, re.MULTILINE)
        assert found, pattern
        for one in found:
            seconds = int(one[:-1]) * {"s": 1, "h": 3600}[one[-1]]
            assert seconds >= Settings().upstream.body_timeout_seconds
