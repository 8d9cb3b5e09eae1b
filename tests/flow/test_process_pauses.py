"""A gateway that stood still for a while: it refuses nobody for that, and blames no upstream and no worker."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from gateway.wire.descriptors import DIALS
from tests.support.admin import admin, all_listening, ask_admin, deaths
from tests.support.calls import GET, request
from tests.support.peers import Client, Upstream, read_head
from tests.support.processes import children, serving, stand_still, stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.worlds import Start

PAUSE = 3
"""Seconds that the process stands still: longer than each time that is set here."""
SHORT = 1.5
"""A time of that kind: longer than the upstreams of the tests stand still on a busy machine."""
EJECTION = {"base_seconds": 60, "failures": 1}
POLICIES: dict[str, dict[str, Any]] = {
    "one attempt": {"retry": {"try_timeout_seconds": SHORT, "attempts": 1}},
    "deadline": {"deadline_seconds": SHORT},
    "head": {"head_timeout_seconds": SHORT},
    "pool": {"connect_timeout_seconds": SHORT, "connections": 8},
}


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer soon, and close every third connection, so that others are opened all the time."""
    for _ in range(3):
        await read_head(reader)
        await asyncio.sleep(0.03)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


class Callers:
    """Clients that ask all the time, each on its connection.

    Attributes:
        statuses: How often they had each status.
    """

    def __init__(self, address: tuple[str, int], number: int) -> None:
        self._address = address
        self._over = False
        self.statuses: Counter[int] = Counter()
        self._tasks = [asyncio.ensure_future(self._ask()) for _ in range(number)]

    async def _ask(self) -> None:
        async with Client(self._address) as client:
            while not self._over:
                self.statuses[(await client.exchange(GET)).status] += 1

    async def end(self) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)


def route_file(folder: Path, nodes: list[Upstream], policy: dict[str, Any]) -> Path:
    """Write a route file that leads everything to `nodes`, which a first failure ejects, under `policy`."""
    routes = [{"name": "all", "match": {"path": "/*"}, "auth": "public", "upstream": "app"}]
    upstream = {"url": [f"http://127.0.0.1:{node.port}" for node in nodes], "ejection": EJECTION}
    file = folder / "routes.yaml"
    file.write_text(json.dumps({"upstreams": {"app": upstream | policy}, "routes": routes}))
    return file


@asynccontextmanager
async def three_endpoints(
    folder: Path, policy: dict[str, Any]
) -> AsyncIterator[tuple[int, tuple[str, int], tuple[str, int]]]:
    """A gateway of its own process before three servers; yields its process id and its addresses."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(Upstream(script=answer)) for _ in range(3)]
        environment = {"GATEWAY_ROUTES": str(route_file(folder, nodes, policy)), "GATEWAY_UPSTREAM_URL": ""}
        process, address, admin = await stack.enter_async_context(
            serving(nodes[0], log=folder / "log", **environment)
        )
        yield process.pid, address, admin


def events(folder: Path) -> Counter[str]:
    lines = (folder / "log").read_text().splitlines()
    return Counter(json.loads(line)["event"] for line in lines if line.startswith("{"))


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
async def test_a_pause_costs_no_request_and_no_endpoint(tmp_path: Path, policy: dict[str, Any]) -> None:
    async with three_endpoints(tmp_path, policy) as (pid, address, operator):
        callers = Callers(address, 24)
        for _ in range(2):
            await asyncio.sleep(0.3)
            with stopped(pid):
                await asyncio.sleep(PAUSE)
        await asyncio.sleep(0.5)
        await callers.end()
        assert set(callers.statuses) == {200}
        report = json.loads((await ask_admin(operator, "/status.json"))[1])["upstreams"]["app"]
        assert not any(one["behind"] for one in report["addresses"].values())
    said = events(tmp_path)
    assert not said.keys() & {"endpoint_ejected", "endpoint_unhealthy", "endpoint_unreachable"}, said


CLIENTS = {
    "head": (b"GET / HT", b"TP/1.1\r\nHost: a\r\n\r\n", "HEAD"),
    "body": (request("POST", "/", "Content-Length: 5") + b"he", b"llo", "BODY"),
}
"""What a client sends during a pause and soon after it, and the time between the two that is bounded."""


@pytest.mark.parametrize(("meanwhile", "then", "bound"), CLIENTS.values(), ids=CLIENTS)
async def test_what_a_client_began_during_a_pause_has_its_whole_time_after_it(
    upstream: Upstream, meanwhile: bytes, then: bytes, bound: str
) -> None:
    times = {f"GATEWAY_TIMEOUT_{bound}_SECONDS": str(SHORT)}
    async with serving(upstream, log=None, **times) as (process, address, _), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(address)) for _ in range(6)]
        for client in clients:
            assert (await client.exchange(GET)).status == 200
        with stopped(process.pid):
            for client in clients:
                await client.send(meanwhile)
            await asyncio.sleep(PAUSE)
        await asyncio.sleep(0.2)
        for client in clients:
            await client.send(then)
        assert [(await client.response()).status for client in clients] == [200] * 6


async def test_a_pause_of_all_is_the_silence_of_no_worker(upstream: Upstream) -> None:
    silence = {"GATEWAY_TIMEOUT_WORKER_SECONDS": "4"}
    async with serving(upstream, "--workers", "2", log=None, **silence) as (process, address, operator):
        await all_listening(operator, 2)
        before = children(process.pid)
        for _ in range(2):
            with ExitStack() as stack:
                for pid in before:
                    stack.enter_context(stopped(pid))
                await asyncio.sleep(1.2)  # the parent waits for their signs of life now, and goes on first
                stack.enter_context(stopped(process.pid))
                await asyncio.sleep(PAUSE)
            await asyncio.sleep(1)
        assert children(process.pid) == before
        assert await deaths(operator) == 0
        async with Client(address) as client:
            assert (await client.exchange(GET)).status == 200


@pytest.mark.parametrize("turns", [0, 1, 2])
@pytest.mark.parametrize("policy", [POLICIES["one attempt"], {"connect_timeout_seconds": SHORT}])
async def test_a_pause_during_a_dial_is_no_silence_of_the_endpoint(
    start: Start, tmp_path: Path, policy: dict[str, Any], turns: int
) -> None:
    async with Upstream(script=answer) as first, Upstream(script=answer) as second:
        file = route_file(tmp_path, [first, second], policy)
        gateway = await start(routes=file, upstream={"url": None})
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Client(gateway.address)) for _ in range(6)]
            asking = [asyncio.ensure_future(client.exchange(GET)) for client in clients]
            while DIALS.under_way < len(clients):
                await asyncio.sleep(0)
            for _ in range(turns):
                await asyncio.sleep(0)
            stand_still(SHORT + 0.3)
            assert [(await one).status for one in asking] == [200] * len(clients)
        report = (await admin(gateway, "/status.json")).json()["upstreams"]["app"]
        assert not any(one["behind"] for one in report["addresses"].values())
