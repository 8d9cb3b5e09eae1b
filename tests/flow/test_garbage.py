"""Garbage: the objects of a request, a refusal or a connection go with it; the collector finds none.

A cycle is found only by a collection, which stops everything: ten thousand objects of garbage take 5 to 20 ms.
"""

from __future__ import annotations

import asyncio
import gc
from types import FrameType
from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, bearer, get, post
from tests.support.peers import PATIENCE, Client
from tests.support.sockets import CLOSE, Far, auth, frame, knock, opened
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World

    Traffic = Callable[[Gateway, World, Upstream, int], Awaitable[None]]

TIMES = 5
CHAINED = {"_Job", "Lane"}
"""What a job of bcrypt is made of: asyncio and concurrent.futures chain their futures by a cycle, which holds it."""


async def known(gateway: Gateway, world: World, _upstream: Upstream, number: int) -> None:
    """Every head another, over one connection."""
    async with Client(gateway.address) as client:
        for line in range(3):
            raw = get(f"/api/{number}/{line}", bearer(world.token(world.agent)), f"X-Trace: {number}-{line}")
            assert (await client.exchange(raw)).status == 200


async def bodies(gateway: Gateway, world: World, _upstream: Upstream, number: int) -> None:
    raw = post(f"/api/{number}", {"a": "b" * 50_000}, f"X-API-Key: {world.api_key}")
    assert (await ask(gateway, raw)).status == 200


async def refused(gateway: Gateway, world: World, _upstream: Upstream, number: int) -> None:
    lines = (
        bearer("a.b.c"),
        f"X-API-Key: whm_{number:032x}",
        bearer(world.token(world.agent, now=number + 1)),
    )
    for line in ("X-None: here", *lines):
        assert (await ask(gateway, get("/api/x", line))).status == 401
    for raw in (get("/a/../b"), get("/a", "Host: another.test")):
        assert (await ask(gateway, raw)).status == 400


async def hosted(gateway: Gateway, _world: World, _upstream: Upstream, number: int) -> None:
    for password, status in ((PASSWORD, 200), ("wrong", 401)):
        answer = await ask(
            gateway, post("/api/auth/login", {"email": "agent@example.com", "password": password})
        )
        assert answer.status == status
    assert (await ask(gateway, post("/api/auth/refresh", {"refresh_token": f"a.b.{number}"}))).status == 401


async def sockets(gateway: Gateway, world: World, upstream: Upstream, _number: int) -> None:
    far = Far(b"hello")
    upstream.script = far.script
    try:
        client = await opened(gateway, bearer(world.token(world.agent)), target="/api/x")
        client.writer.close()
        await far.ended.wait()
        far.writer.close()
    finally:
        upstream.script = None


async def first_messages(gateway: Gateway, world: World, upstream: Upstream, number: int) -> None:
    """Sockets that authenticate by their first message, with a token that is good and with one that is not."""
    try:
        for token in (world.token(world.agent), f"a.b.{number}"):
            far = Far()
            upstream.script = far.script
            client, _ = await knock(gateway)
            await client.send(frame(auth(token)) + frame(b"\x03\xe8", CLOSE))
            client.writer.write_eof()
            await far.ended.wait()
            client.writer.close()
            far.writer.close()
    finally:
        upstream.script = None


async def limited(gateway: Gateway, world: World, _upstream: Upstream, number: int) -> None:
    """Requests past a limit by network, and past one by user."""
    line = bearer(world.token(world.agent))
    for path in ("by-network", "by-user"):
        answer = await ask(gateway, get(f"/{path}/{number}", line))
        assert (answer.status == 429) is (number > 0)


async def unreached(gateway: Gateway, world: World, _upstream: Upstream, number: int) -> None:
    """Requests for upstreams that are away: waited for, not waited for, without an address, with a stand-in."""
    line = bearer(world.token(world.agent))
    for path, status in (("away", 502), ("awaited", 502), ("nowhere", 502), ("stood-in", 200)):
        assert (await ask(gateway, get(f"/{path}/{number}", line))).status == status


ANSWERS = (
    b"none\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
    b"HTTP/1.1 100 Continue\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
)


async def malformed(gateway: Gateway, world: World, upstream: Upstream, number: int) -> None:
    """Upstreams whose answers break off, or are none."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWERS[number % len(ANSWERS)])
        writer.close()

    upstream.script = script
    try:
        async with Client(gateway.address) as client:
            await client.send(get(f"/api/{number}", bearer(world.token(world.agent))))
            await client.reader.readuntil(b"\r\n\r\n")
    finally:
        upstream.script = None


async def broken(gateway: Gateway, world: World, upstream: Upstream, number: int) -> None:
    """Uploads that break HTTP while they are being served."""
    lines = (bearer(world.token(world.agent)), "Transfer-Encoding: chunked")
    async with Client(gateway.address) as client:
        await client.send(get(f"/api/{number}", *lines).replace(b"GET", b"POST") + b"1\r\nx\r\n")
        async with asyncio.timeout(PATIENCE):
            while not upstream.seen.endswith(b"1\r\nx\r\n"):
                await asyncio.sleep(0.01)
        await client.send(b"none\r\n")
        assert (await client.response()).status == 400


async def leavers(gateway: Gateway, world: World, _upstream: Upstream, _number: int) -> None:
    """Clients that go in the middle."""
    head = get("/api/x", bearer(world.token(world.agent)))
    for part in (head[:30], head, head * 20):
        async with Client(gateway.address) as client:
            await client.send(part)
            client.writer.transport.abort()


@pytest.fixture
def found() -> Iterator[Callable[[], list[object]]]:
    """Returns what a collection finds that no earlier one did; none comes by itself while a test runs."""

    def collect() -> list[object]:
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        gc.set_debug(0)
        kept = gc.garbage[:]
        gc.garbage.clear()
        return kept

    gc.disable()
    yield collect
    gc.enable()


def ours(found: list[object]) -> set[str]:
    """The names of what is the gateway's own: its objects, and frames of its functions."""
    names = set()
    for one in found:
        module = one.f_globals.get("__name__", "") if isinstance(one, FrameType) else type(one).__module__
        if str(module).partition(".")[0] in {"gateway", "authcore"}:
            names.add(one.f_code.co_qualname if isinstance(one, FrameType) else type(one).__qualname__)
    return names


ROUTES = """
upstreams:
  away: {url: "http://127.0.0.1:1"}
  awaited: {url: "http://127.0.0.1:1", wait_seconds: 0.1}
  nowhere: {url: "http://nowhere.invalid"}
  there: {url: "http://127.0.0.1:PORT"}
  stood-in: {url: "http://127.0.0.1:1", failover: [there]}
limits:
  by-network: {key: network, rate: 1/h}
  by-user: {key: user, rate: 1/h}
routes:
  - {name: by-network, match: {path: /by-network/*}, auth: required, limits: [by-network]}
  - {name: by-user, match: {path: /by-user/*}, auth: required, limits: [by-user]}
  - {name: away, match: {path: /away/*}, auth: required, upstream: away}
  - {name: awaited, match: {path: /awaited/*}, auth: required, upstream: awaited}
  - {name: nowhere, match: {path: /nowhere/*}, auth: required, upstream: nowhere}
  - {name: stood-in, match: {path: /stood-in/*}, auth: required, upstream: stood-in}
  - {name: socket, match: {path: /ws}, auth: required, tickets: true, socket_auth: message}
  - {name: rest, match: {path: /*}, auth: required}
"""


@pytest.mark.parametrize(
    "traffic",
    [
        *(known, bodies, refused, hosted, sockets, leavers),
        *(first_messages, limited, unreached, malformed, broken),
    ],
)
async def test_what_has_ended_leaves_nothing_to_the_collector(
    traffic: Traffic,
    world: World,
    start: Start,
    upstream: Upstream,
    found: Callable[[], list[object]],
    tmp_path: Path,
) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text(ROUTES.replace("PORT", str(upstream.port)))
    gateway = await start(world.url, routes=routes, resolver={"servers": ("127.0.0.1:1",)})
    await traffic(gateway, world, upstream, 0)
    await asyncio.sleep(0.1)
    gc.collect()
    for number in range(1, TIMES):
        await traffic(gateway, world, upstream, number)
    await asyncio.sleep(0.1)
    assert ours(found()) - CHAINED == set()
