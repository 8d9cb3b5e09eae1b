"""Filling the places before the gateway's own endpoints, so that others wait for theirs."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest

from tests.attacks.floods import FLOOD, FLOODING, registration
from tests.support.accounts import HOME, login_from
from tests.support.calls import ask, bearer, get, granted, is_refusal, post, request
from tests.support.peers import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.app import Gateway
    from tests.support.worlds import Start, World

FEW: dict[str, Any] = {
    "limit": {"hosted": 6, "hosted_per_network": 2, "hosted_waiting": 8, "hosted_waiting_per_network": 4},
    "trusted_proxies": ["127.0.0.1/32"],
}
SECONDS = 60


@pytest.fixture
def bolt(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return the event that the flood's bcrypt waits for."""
    opened, real = threading.Event(), bcrypt.hashpw

    def slow(password: bytes, salt: bytes) -> bytes:
        if password == FLOODING.encode():
            assert opened.wait(SECONDS)
        return real(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", slow)
    return opened


def number(gate: Gateway, name: str) -> float:
    """A metric of the places."""
    found = gate.metrics.registry.get_sample_value(f"gateway_hosted_{name}")
    assert found is not None, name
    return found


async def until(gate: Gateway, name: str, value: float) -> None:
    """Wait until a metric of the places has a value."""
    async with asyncio.timeout(SECONDS):
        while number(gate, name) != value:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def flood(
    gate: Gateway, world: World, bolt: threading.Event, size: int
) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Registrations of one network that are at work, or wait, until the end."""
    tasks = [asyncio.create_task(ask(gate, registration(world, one))) for one in range(size)]
    try:
        yield tasks
    finally:
        bolt.set()
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*tasks)


async def test_one_network_has_its_share_and_another_is_served_meanwhile(
    world: World, start: Start, bolt: threading.Event
) -> None:
    gate = await start(world.url, **FEW)
    async with flood(gate, world, bolt, 6) as tasks:
        await until(gate, "waiting", 4)
        assert number(gate, "taken") == 2
        async with asyncio.timeout(SECONDS):
            await granted(gate, login_from(HOME))
            await granted(gate, registration(world, 100, HOME, password="another password"))
        assert not any(task.done() for task in tasks)
    assert {task.result().status for task in tasks} == {200}
    assert number(gate, "taken") == number(gate, "waiting") == number(gate, "networks") == 0


async def test_past_its_share_of_those_that_wait_a_network_is_refused_at_once(
    world: World, start: Start, bolt: threading.Event
) -> None:
    gate = await start(world.url, **FEW)
    async with flood(gate, world, bolt, 6):
        await until(gate, "waiting", 4)
        refused = await ask(gate, registration(world, 100))
        is_refusal(refused, 429, "Too many requests at once from your network, try again shortly")
        assert refused.one("Retry-After") == "1"
        assert number(gate, "refused_of_network_total") == number(gate, "refused_total") == 1
        # What else its people ask for gets a place of what it asks most for.
        async with asyncio.timeout(SECONDS):
            page = asyncio.create_task(ask(gate, get("/api/auth/openapi.json", f"X-Forwarded-For: {FLOOD}")))
            await until(gate, "refused_of_network_total", 2)
            bolt.set()
            assert (await page).status == 200


async def test_a_caller_that_waits_too_long_for_a_place_is_refused(
    world: World, start: Start, bolt: threading.Event
) -> None:
    gate = await start(world.url, timeout={"hosted_seconds": 0.05}, **FEW)
    async with flood(gate, world, bolt, 3) as tasks:
        async with asyncio.timeout(SECONDS):
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        is_refusal(done.pop().result(), 429)
        assert number(gate, "waiting") == 0
    assert number(gate, "taken") == 0


async def test_a_client_that_leaves_gives_its_turn_back(
    world: World, start: Start, bolt: threading.Event
) -> None:
    gate = await start(world.url, **FEW)
    async with flood(gate, world, bolt, 2):
        await until(gate, "taken", 2)
        async with Client(gate.address) as client:
            await client.send(registration(world, 100))
            await until(gate, "waiting", 1)
        await until(gate, "waiting", 0)
        assert number(gate, "taken") == 2
    await until(gate, "taken", 0)
    await granted(gate, registration(world, 200))


async def test_a_body_that_does_not_come_holds_no_place(world: World, start: Start) -> None:
    gate = await start(world.url, **FEW)
    raw = login_from(HOME)
    head, _, body = raw.partition(b"\r\n\r\n")
    async with Client(gate.address) as first, Client(gate.address) as second, Client(gate.address) as third:
        for client in (first, second, third):
            await client.send(head + b"\r\n\r\n" + body[:9])
        async with asyncio.timeout(SECONDS):
            await granted(gate, login_from(HOME))
            assert number(gate, "taken") == number(gate, "waiting") == 0
            await first.send(body[9:])
            assert (await first.response()).status == 200
            await second.send(body[9:20])
            await second.send(body[20:] + get("/api/auth/openapi.json"))  # and the connection goes on
            assert [(await second.response()).status for _ in range(2)] == [200, 200]


async def test_a_body_that_is_asked_for_comes(world: World, start: Start) -> None:
    gate = await start(world.url, **FEW)
    head, _, body = login_from(HOME).partition(b"\r\n\r\n")
    async with Client(gate.address) as client, asyncio.timeout(SECONDS):
        await client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.response(interim=True, head_only=True)).status == 100
        await client.send(body)
        assert (await client.response()).status == 200


async def test_a_body_over_the_limit_is_refused_without_a_place(world: World, start: Start) -> None:
    gate = await start(world.url, **{**FEW, "limit": {**FEW["limit"], "auth_body_bytes": 1024}})
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    head = request("POST", "/api/auth/login", "Content-Type: application/json", "Transfer-Encoding: chunked")
    async with Client(gate.address) as client, asyncio.timeout(SECONDS):
        await client.send(head + chunk)
        await client.send(chunk)
        assert (await client.response()).status == 413
    assert number(gate, "entered_total") == 0


async def test_a_caller_whose_session_ends_while_it_waits_is_refused(
    world: World, start: Start, bolt: threading.Event
) -> None:
    """A place that comes late must not be the place of a caller who has gone."""
    gate = await start(world.url, **FEW)
    pair = await granted(gate, login_from(HOME, email="admin@example.com"))
    line = bearer(pair["access_token"])
    async with flood(gate, world, bolt, 2):
        await until(gate, "taken", 2)
        made = post("/api/api-keys", {"name": "late"}, line, f"X-Forwarded-For: {FLOOD}")
        late = asyncio.create_task(ask(gate, made))
        await until(gate, "waiting", 1)
        await granted(gate, post("/api/auth/logout-all", {}, line, f"X-Forwarded-For: {HOME}"))
        await until_refused(gate, line)
    async with asyncio.timeout(SECONDS):
        is_refusal(await late, 401)
    assert await world.sql("SELECT count(*) FROM api_keys WHERE name = 'late'") == [(0,)]


async def until_refused(gate: Gateway, line: str) -> None:
    """Wait until the gateway knows that a session has ended, and longer than a place is given without another look."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(SECONDS):
        while (await ask(gate, get("/api/contacts", line))).status != 401 or loop.time() - began < 0.3:
            await asyncio.sleep(0.01)


async def test_keys_are_made_in_the_turn_of_the_network_that_asks(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = await start(world.url, password={"workers": 2, "network_workers": 1}, **FEW)
    real, opened, begun = bcrypt.hashpw, threading.Event(), threading.Event()
    token = world.token(world.admin)

    def key(address: str) -> bytes:
        return post("/api/api-keys", {"name": "k"}, bearer(token), f"X-Forwarded-For: {address}")

    def slow(secret: bytes, salt: bytes) -> bytes:
        if not begun.is_set():
            begun.set()
            assert opened.wait(SECONDS)
        return real(secret, salt)

    monkeypatch.setattr(bcrypt, "hashpw", slow)
    first = asyncio.create_task(ask(gate, key(FLOOD)))
    try:
        async with asyncio.timeout(SECONDS):
            assert await asyncio.to_thread(begun.wait, SECONDS)
            second = asyncio.create_task(ask(gate, key(FLOOD)))
            await until(gate, "taken", 2)
            assert (await ask(gate, key(HOME))).status == 200, "another network's key is not behind it"
            assert not second.done()
    finally:
        opened.set()
    async with asyncio.timeout(SECONDS):
        assert [answer.status for answer in await asyncio.gather(first, second)] == [200, 200]
