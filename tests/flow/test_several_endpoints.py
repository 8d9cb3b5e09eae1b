"""Traffic policies over several endpoints: where each attempt went, and what the client saw."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from gateway.assembly.upstream_reporting import NAMED
from tests.observe.scraping import scraped, value
from tests.support.calls import ask, get, request
from tests.support.flaky import BUSY, CUT, OK, Flaky
from tests.support.peers import PATIENCE, Client, Upstream, read_head
from tests.support.route_files import by_route_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from gateway.app import Gateway
    from gateway.wire.endpoint import Endpoint
    from tests.support.peers import Message
    from tests.support.route_files import RouteFileStart
    from tests.support.worlds import Start

POLICY = """
upstreams:
  many: {url: [%s], %s}
  other: {url: "http://127.0.0.1:%d"}
routes:
  - {name: all, auth: public, match: {path: /*}, upstream: many}
"""

CHECKED = (
    "health: {path: /ready, interval_seconds: 0.5, timeout_seconds: 0.5, jitter_percent: 0, rise: 1, fall: 2}"
)
"""Checks that forgive a machine one that came too late."""
ANSWER = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def routed(start: Start, tmp_path: Path) -> RouteFileStart:
    return by_route_file(start, tmp_path)


@pytest.fixture
async def three() -> AsyncIterator[list[Upstream]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Upstream()) for _ in range(3)]


def policy(endpoints: list[Upstream], words: str, other: int = 1) -> str:
    urls = ", ".join(f"http://127.0.0.1:{one.port}" for one in endpoints)
    return POLICY % (urls, words, other)


@pytest.mark.parametrize("bad", [BUSY, CUT])
async def test_each_attempt_goes_to_another_endpoint(
    routed: RouteFileStart, three: list[Upstream], bad: bytes
) -> None:
    scripts = [Flaky(bad), Flaky(bad), Flaky(OK)]
    for one, script in zip(three, scripts, strict=True):
        one.script = script
    retry = "retry: {when: [reset, 503], attempts: 3, budget_floor: 9, backoff_seconds: 0.001}"
    gate = await routed(policy(three, retry))
    for number in range(12):
        target = f"/{number}"
        assert (await ask(gate, get(target))).body == b"ok"
        for script in scripts:
            starts = [message.start for message in script.seen]
            assert starts.count(f"GET {target} HTTP/1.1".encode()) <= 1
    assert all(script.seen for script in scripts)


async def test_endpoints_that_restart_in_turn_lose_no_safe_request(
    routed: RouteFileStart, three: list[Upstream]
) -> None:
    retry = "retry: {when: [stale, connect-failure, reset], attempts: 3, budget_floor: 50}"
    gate = await routed(policy(three, retry))
    statuses: list[int] = []
    over = asyncio.Event()

    async def load() -> None:
        async with Client(gate.address) as client:
            while not over.is_set():
                statuses.append((await client.exchange(get("/"))).status)

    async def more(number: int) -> None:
        goal = len(statuses) + number
        async with asyncio.timeout(PATIENCE):
            while len(statuses) < goal:
                await asyncio.sleep(0.005)

    callers = [asyncio.create_task(load()) for _ in range(4)]
    back: list[Upstream] = []
    try:
        await more(20)
        for one in three:
            await one.__aexit__(None, None, None)
            await more(20)
            back.append(await Upstream(port=one.port).__aenter__())
            await more(20)
        over.set()
        await asyncio.wait_for(asyncio.gather(*callers), PATIENCE)
    finally:
        for one in back:
            await one.__aexit__(None, None, None)
        for caller in callers:
            caller.cancel()
    assert set(statuses) == {200}


class Gate:
    """A script that holds every request until it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.held = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            self.held += 1
            await self.open.wait()
            writer.write(OK)
            await writer.drain()


@pytest.mark.parametrize("bound", ["endpoint_requests", "endpoint_connections"])
async def test_an_endpoint_at_its_bound_gets_no_more_and_all_at_it_are_503(
    routed: RouteFileStart, three: list[Upstream], bound: str
) -> None:
    gates = [Gate() for _ in three]
    for one, gate in zip(three, gates, strict=True):
        one.script = gate
    gateway = await routed(policy(three, f"breaker: {{{bound}: 2}}"))
    held: list[asyncio.Task[Message]] = []
    for number in range(1, 7):
        held.append(asyncio.create_task(ask(gateway, request("POST", "/", body=b""))))
        async with asyncio.timeout(PATIENCE):
            while sum(gate.held for gate in gates) < number:
                await asyncio.sleep(0.005)
    assert [gate.held for gate in gates] == [2, 2, 2]
    refused = await ask(gateway, get("/"))
    assert (refused.status, refused.one("Retry-After")) == (503, "1")
    for gate in gates:
        gate.open.set()
    assert {answer.status for answer in await asyncio.gather(*held)} == {200}
    assert (await ask(gateway, get("/"))).status == 200
    page = await scraped(gateway)
    assert value(page, "gateway_upstream_breaker_refused_total", bound="endpoints") == 1
    assert value(page, "gateway_faults_total", reason="upstream_breaker") == 1


@pytest.mark.parametrize("bound", ["endpoint_requests", "endpoint_connections"])
@pytest.mark.parametrize("dead", [0, 1])
async def test_an_endpoint_that_replaces_one_that_refuses_keeps_its_bound(
    routed: RouteFileStart, three: list[Upstream], bound: str, dead: int
) -> None:
    live, *gone = three[: 1 + dead]
    live.script = gate = Gate()
    for one in gone:
        await one.__aexit__(None, None, None)
    gateway = await routed(policy([live, *gone], f"breaker: {{{bound}: 2}}"))
    for _ in range(2):  # before it is known that the other one refuses, and after that
        calls = [asyncio.create_task(ask(gateway, request("POST", "/", body=b""))) for _ in range(8)]
        done, held = await asyncio.wait(calls, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        async with asyncio.timeout(PATIENCE):
            while len(held) > 2:
                more, held = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
                done |= more
            while gate.held < 2:
                await asyncio.sleep(0.005)
        assert {call.result().status for call in done} == {503}
        assert gate.held == 2
        gate.open.set()
        assert {answer.status for answer in await asyncio.gather(*held)} == {200}
        gate.open.clear()
        gate.held = 0


@pytest.mark.parametrize("number", [1, 3])
async def test_an_upstream_whose_endpoints_all_fail_their_checks_is_stood_in_for(
    routed: RouteFileStart, three: list[Upstream], upstream: Upstream, number: int
) -> None:
    ready, calls = [200] * number, [0] * number

    def scripted(place: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                is_check = (await read_head(reader)).start.startswith(b"GET /ready ")
                calls[place] += not is_check
                writer.write(ANSWER % (ready[place] if is_check else 200))

        return serve

    for place, one in enumerate(three[:number]):
        one.script = scripted(place)
    gate = await routed(policy(three[:number], f"failover: other, {CHECKED}", upstream.port))

    async def until(states: list[int]) -> None:
        ready[:] = states
        async with asyncio.timeout(PATIENCE):
            while [one.unhealthy for one in _endpoints(gate)] != [state != 200 for state in states]:
                await asyncio.sleep(0.02)

    async def is_away() -> bool:
        return value(await scraped(gate), "gateway_upstream_away", upstream="many") == 1

    await until([*[500] * (number - 1), 200])
    assert (await ask(gate, get("/1"))).status == 200
    assert upstream.requests == []
    assert not await is_away()
    await until([500] * number)
    before = sum(calls)
    assert (await ask(gate, get("/2"))).status == 200
    assert [message.start for message in upstream.requests] == [b"GET /2 HTTP/1.1"]
    assert sum(calls) == before
    assert await is_away()
    await upstream.__aexit__(None, None, None)
    assert (await ask(gate, get("/3"))).status == 200, "better one that fails its checks than nobody"
    await until([200] * number)
    assert (await ask(gate, get("/4"))).status == 200
    assert not await is_away()


def _endpoints(gate: Gateway) -> list[Endpoint]:
    return gate.routing.table.match(b"GET", "/", "", preflight=False).upstream.cluster.endpoints


async def test_the_count_of_endpoints_past_the_named_never_falls_as_endpoints_leave(
    routed: RouteFileStart,
) -> None:
    async with AsyncExitStack() as stack:
        upstreams = [await stack.enter_async_context(Upstream()) for _ in range(NAMED + 4)]
        gate = await routed(policy(upstreams, "balance: round_robin"))
        cluster = gate.routing.table.match(b"GET", "/", "", preflight=False).upstream.cluster
        every, sent = list(cluster.endpoints), 0
        fewer = [*every[:-2], every[-1]]
        for present in (every, fewer, fewer[1:], fewer[1 : NAMED + 1]):
            cluster.take(present)
            before = sum(endpoint.requests for endpoint in present[NAMED:])
            for _ in present:
                await ask(gate, get("/x"))
            sent += sum(endpoint.requests for endpoint in present[NAMED:]) - before
            page = await scraped(gate)
            assert (
                value(page, "gateway_upstream_endpoint_requests_total", upstream="many", endpoint="other")
                == sent
            )
        assert sent
