"""Outage of the database: stopped, killed, or paused so that it neither answers nor closes.

Law: who is known goes on, who is not is asked to wait, nobody is denied for it; and what was revoked meanwhile is
revoked from the first answer on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest

from authcore.store.circuit import ended
from authcore.store.migrate import migrate
from gateway.dev.postgres import EmbeddedPostgres
from tests.support.calls import ask_at, bearer, get, is_refusal, post
from tests.support.databases import execute, finish, named, server_folder
from tests.support.peers import PATIENCE
from tests.support.processes import Process, eventually
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.support.worlds import World

PATH = "/api/contacts"
WAYS = ["stopped", "killed", "paused"]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A server of this module's own, to be stopped and killed."""
    with server_folder("whatomate-outage-") as folder, EmbeddedPostgres(folder, durable=False) as postgres:
        yield postgres


@pytest.fixture
def migrated_url(server: EmbeddedPostgres) -> str:
    """A database on it; it goes with the server."""
    name = f"test_{uuid4().hex}"
    finish(execute(server.url, f"CREATE DATABASE {name} TEMPLATE template0"))
    finish(migrate(named(server.url, name)))
    return named(server.url, name)


def family(pid: int) -> list[int]:
    """The server and its children, each in a process group of its own."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def leave(server: EmbeddedPostgres, way: str) -> None:
    assert server.pid is not None
    if way == "stopped":
        server.stop()
    elif way == "killed":
        for pid in family(server.pid):
            os.kill(pid, signal.SIGKILL)
        server.stop()
    else:
        for pid in family(server.pid):
            os.kill(pid, signal.SIGSTOP)


def come_back(server: EmbeddedPostgres, way: str) -> None:
    if way == "paused":
        assert server.pid is not None
        for pid in family(server.pid):
            os.kill(pid, signal.SIGCONT)
    elif server.pid is None:
        server.start()


@asynccontextmanager
async def away(server: EmbeddedPostgres, way: str) -> AsyncIterator[None]:
    await asyncio.to_thread(leave, server, way)
    try:
        yield
    finally:
        come_back(server, way)  # here, and not in a thread: a server dies with the thread that started it


class Load:
    """Known callers who ask all the time; every status is kept with the moment it came."""

    def __init__(self, gate: Process, lines: list[str]) -> None:
        self._gate = gate
        self._tasks = [asyncio.ensure_future(self._ask(line)) for line in lines]
        self.answers: list[tuple[float, int]] = []

    async def _ask(self, line: str) -> None:
        while True:
            answer = await ask_at(self._gate.address, get(PATH, line))
            self.answers.append((time.monotonic(), answer.status))
            await asyncio.sleep(0.005)

    async def stop(self) -> set[int]:
        for task in self._tasks:
            await ended(task)  # asyncio.wait_for may swallow a cancellation (before Python 3.12)
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in results), results
        return {status for _, status in self.answers}


async def recovered(gate: Process, line: str) -> None:
    """Wait until a stranger is known again: the store answers."""

    async def known() -> bool:
        return (await ask_at(gate.address, get(PATH, line))).status == 200

    await eventually(known)


@pytest.mark.parametrize("way", WAYS)
async def test_the_known_go_on_and_strangers_wait_and_nobody_is_denied(
    world: World, gateways: Callable[..., Awaitable[list[Process]]], server: EmbeddedPostgres, way: str
) -> None:
    # Fresh for so short that nobody is served from fresh memory for long.
    (gate,) = await gateways(1, IDENTITY_CACHE_SECONDS="0.5", DATABASE_STATEMENT_TIMEOUT_SECONDS="2")
    known = [bearer(world.token(world.agent)), f"X-API-Key: {world.api_key}"]
    stranger = bearer(world.token(world.both))
    for line in known:
        assert (await ask_at(gate.address, get(PATH, line))).status == 200
    assert (await gate.ready()).status == 200
    load = Load(gate, known)
    async with away(server, way):
        await asyncio.sleep(3)
        for raw in (
            get(PATH, stranger),
            get(PATH, f"X-API-Key: whm_{0:032x}"),
            post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD}),
            post("/api/auth/refresh", {"refresh_token": world.tokens.issue_refresh(**_refresh(world))}),
        ):
            async with asyncio.timeout(PATIENCE):
                answer = await ask_at(gate.address, raw)
            is_refusal(answer, 503)
            assert int(answer.one("Retry-After") or 0) >= 1
        status = await gate.status()
        assert status["store"]["circuit_open"] == 1
        assert status["changes"]["pushed"] == 0
        assert (await gate.ready()).status == 200, "it was in order, and serves whom it knows"
        assert (await gate.outcomes())["stale"] > 0
    await recovered(gate, stranger)
    assert await load.stop() == {200}
    assert (await gate.status())["store"]["circuit_open"] == 0

    async def pushed() -> bool:
        return bool((await gate.status())["changes"]["pushed"] == 1)

    await eventually(pushed)
    assert (await gate.ready()).status == 200


def _refresh(world: World) -> dict[str, Any]:
    return {
        "user_id": world.agent,
        "organization_id": world.home,
        "email": "agent@example.com",
        "role_id": None,
        "is_super_admin": False,
        "now": time.time(),
    }


@pytest.mark.parametrize("way", WAYS)
async def test_what_was_revoked_meanwhile_is_revoked_from_the_first_answer_on(
    world: World, gateways: Callable[..., Awaitable[list[Process]]], server: EmbeddedPostgres, way: str
) -> None:
    (gate,) = await gateways(1)  # with an hour of freshness: what holds here does not hold by time
    line = f"X-API-Key: {world.api_key}"
    assert (await ask_at(gate.address, get(PATH, line))).status == 200
    async with away(server, way):
        await asyncio.sleep(2.5)
        assert (await ask_at(gate.address, get(PATH, line))).status == 200
        if way != "paused":  # and so revoked before the gateway is likely to have noticed that it is back
            server.start()
            await _revoke_unheard(world)
            return_at = await gate.outcomes()
    if way == "paused":
        await _revoke_unheard(world)
        return_at = await gate.outcomes()
    seen: list[int] = []
    async with asyncio.timeout(PATIENCE):
        while not seen or seen[-1] != 401:
            seen.append((await ask_at(gate.address, get(PATH, line))).status)
    # Whatever was let through until then was told to be stale: the store had not been heard yet.
    stale = (await gate.outcomes()).get("stale", 0) - return_at.get("stale", 0)
    assert seen == [200] * int(stale) + [401]
    for _ in range(20):
        assert (await ask_at(gate.address, get(PATH, line))).status == 401


async def _revoke_unheard(world: World) -> None:
    """Switch the keys off without a word: no trigger is there when it happens.

    One that is heard of before the store answers again is 503 until it does: what is known to have changed is not
    served from memory.
    """
    connection = await asyncpg.connect(world.url)
    triggers = await connection.fetch(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'api_keys'::regclass AND NOT tgisinternal"
    )
    async with connection.transaction():
        await connection.execute("ALTER TABLE api_keys DISABLE TRIGGER USER")
        await connection.execute("UPDATE api_keys SET is_active = false")
        for trigger in triggers:
            await connection.execute(f"ALTER TABLE api_keys ENABLE ALWAYS TRIGGER {trigger['tgname']}")
    await connection.close()


async def test_without_stale_seconds_an_outage_is_told_to_everybody(
    world: World, gateways: Callable[..., Awaitable[list[Process]]], server: EmbeddedPostgres
) -> None:
    (gate,) = await gateways(1, IDENTITY_STALE_SECONDS="0")
    line = bearer(world.token(world.agent))
    assert (await ask_at(gate.address, get(PATH, line))).status == 200
    async with away(server, "stopped"):

        async def unavailable() -> bool:
            return (await ask_at(gate.address, get(PATH, line))).status == 503

        await eventually(unavailable)
    await recovered(gate, line)


async def test_a_token_that_ends_during_the_outage_ends(
    world: World, gateways: Callable[..., Awaitable[list[Process]]], server: EmbeddedPostgres
) -> None:
    (gate,) = await gateways(1)
    line = bearer(world.token(world.agent, now=time.time() - 3600 + 6))
    assert (await ask_at(gate.address, get(PATH, line))).status == 200
    async with away(server, "stopped"):
        assert (await ask_at(gate.address, get(PATH, line))).status == 200

        async def expired() -> bool:
            answer = await ask_at(gate.address, get(PATH, line))
            return answer.status == 401

        await eventually(expired)


async def test_a_gateway_that_starts_without_its_database_finds_it_later(
    world: World, gateways: Callable[..., Awaitable[list[Process]]], server: EmbeddedPostgres
) -> None:
    line = bearer(world.token(world.agent))
    async with away(server, "stopped"):
        (gate,) = await gateways(1)
        is_refusal(await ask_at(gate.address, get(PATH, line)), 503)
    await recovered(gate, line)
