"""Limits that several gateways count together in a real Redis, while it is there, away, killed, slow and silent.

The limits drain so slowly that no test sees it. Most count the client's network, and need no database.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.admin import admin, metrics
from tests.support.calls import GET, bearer, get
from tests.support.peers import Client
from tests.support.processes import eventually
from tests.support.redises import RedisServer, redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.peers import Message
    from tests.support.worlds import Start, World

MOST: Final = 120
LIMIT: Final = {"network": f"{MOST}/d", "public": True, "replicas": 2, "timeout_seconds": 10}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as one:
        yield one


async def gates(start: Start, server: RedisServer, number: int = 2, **more: Any) -> list[Gateway]:
    return [await start(limits={**LIMIT, "url": server.url, **more}) for _ in range(number)]


async def statuses(gate: Gateway, times: int) -> list[int]:
    """Send requests one after the other on one connection; return what was answered."""
    async with Client(gate.address) as client:
        return [(await client.exchange(GET)).status for _ in range(times)]


def is_used_up(answer: Message) -> bool:
    """Return whether the store refused a request; before its answer, the gateway's share may be used up."""
    return answer.status == 429 and (answer.one("RateLimit") or "").startswith('"network";r=0;t=')


async def spend(gate: Gateway, most: int = 1000) -> int:
    """Send requests until `most` have passed, or the limit is used up; return how many passed."""
    passed = 0
    async with asyncio.timeout(60), Client(gate.address) as client:
        while passed < most:
            answer = await client.exchange(GET)
            if is_used_up(answer):
                break
            passed += answer.status == 200
    return passed


async def up(gate: Gateway) -> bool:
    families = await metrics(gate)
    return bool(families["gateway_limits_store_up"][0].value)


async def failed(gate: Gateway) -> float:
    return float((await metrics(gate))["gateway_limits_store_failures"][0].value)


async def test_two_gateways_at_once_grant_one_limit_and_a_bounded_overshoot(
    start: Start, server: RedisServer
) -> None:
    """The bound of docs/rate-limits.md: once more the burst, by shares, and a quarter of it as leases."""
    both = await gates(start, server)
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(statuses(gate, 60) for gate in both for _ in range(4)))
    counts = Counter(status for some in answers for status in some)
    assert set(counts) == {200, 429}
    assert MOST - MOST / 4 <= counts[200] <= MOST + MOST + MOST / 4

    async def both_are_used_up() -> bool:
        return set(await statuses(both[0], 2) + await statuses(both[1], 2)) == {429}

    await eventually(both_are_used_up)


async def test_what_one_gateway_has_granted_the_next_does_not_grant_again(
    start: Start, server: RedisServer
) -> None:
    (first,) = await gates(start, server, 1)
    passed = 0
    async with asyncio.timeout(60):
        while passed < MOST:  # its share alone may be used up for a moment, before the store has answered
            passed += await spend(first, MOST - passed)
    assert passed == MOST
    await first.stop()
    assert len(server.client.keys("gateway:limit:*")) == 1
    (second,) = await gates(start, server, 1)
    # The first requests of a process pass on its share, and ask the store; then the store decides.
    assert await spend(second, 1) == 1

    async def answered() -> bool:
        return bool((await metrics(second))["gateway_limits_store_exchanges"][0].value)

    await eventually(answered)
    assert await spend(second) == 0


async def test_an_answer_tells_what_is_left_of_the_whole_limit(start: Start, server: RedisServer) -> None:
    (gate,) = await gates(start, server, 1)
    async with Client(gate.address) as client:
        answer = await client.exchange(GET)
        assert answer.one("RateLimit-Policy") == f'"network";q={MOST};w=86400'
        assert (answer.one("RateLimit") or "").startswith('"network";r=')
        async with asyncio.timeout(60):
            # The share alone, which drains half as fast, may be used up before the store has answered.
            while not (is_used_up(answer) and int(answer.one("Retry-After") or 0) <= 86_400 / MOST):
                answer = await client.exchange(GET)
    assert int(answer.one("Retry-After") or 0) > 0


@pytest.mark.parametrize("way", ["killed", "silent"])
async def test_a_store_that_leaves_under_load_refuses_nobody_and_comes_back(
    start: Start, server: RedisServer, way: str
) -> None:
    (gate,) = await gates(start, server, 1, network="1000000/d", timeout_seconds=0.2)
    seen: Counter[int] = Counter()
    over = asyncio.Event()

    async def load() -> None:
        async with Client(gate.address) as client:
            while not over.is_set():
                seen[(await client.exchange(GET)).status] += 1

    async with asyncio.timeout(60):
        clients = [asyncio.create_task(load()) for _ in range(4)]
        try:
            await eventually(lambda: up(gate))
            if way == "killed":
                server.kill()
            else:
                server.pause()

            async def away() -> bool:
                return not await up(gate)

            await eventually(away)
            before = seen[200]

            async def goes_on() -> bool:
                await asyncio.sleep(0)
                return seen[200] > before + 20

            await eventually(goes_on)
            if way == "killed":
                server.begin()
            else:
                server.go_on()
            await eventually(lambda: up(gate))
        finally:
            over.set()
            await asyncio.gather(*clients)
    assert set(seen) == {200}


@pytest.mark.parametrize("away", ["open", "closed"])
async def test_without_the_store_open_grants_its_share_and_closed_answers_503(
    start: Start, server: RedisServer, away: str
) -> None:
    (gate,) = await gates(start, server, 1, store_away=away, timeout_seconds=0.5)
    server.kill()
    await statuses(gate, 1)

    async def is_away() -> bool:
        return not await up(gate)

    await eventually(is_away)
    answers = Counter(await statuses(gate, 70))
    if away == "closed":
        assert answers == {503: 70}
        async with Client(gate.address) as client:
            answer = await client.exchange(GET)
        assert answer.one("Retry-After") == "1"
        assert "cannot be read" in answer.json()["message"]
    else:
        assert answers == {200: MOST // 2 - 1, 429: 70 - MOST // 2 + 1}
    assert (await admin(gate, "/readyz")).status in {200, 503}
    server.begin()
    await eventually(lambda: up(gate))


async def test_a_store_that_takes_no_writes_stays_away_until_it_does(
    start: Start, server: RedisServer
) -> None:
    """It answers a PING and every script that only reads: no sign of that opens a closed limit."""
    (gate,) = await gates(start, server, 1, store_away="closed")
    server.client.config_set("maxmemory", 1)
    await statuses(gate, 1)
    failures = 0.0

    async def asked_again() -> bool:
        return await failed(gate) >= failures + 2

    for _ in range(2):
        await eventually(asked_again)
        failures = await failed(gate)
        assert not await up(gate)
        assert Counter(await statuses(gate, 8)) == {503: 8}
    server.client.config_set("maxmemory", 0)
    await eventually(lambda: up(gate))
    assert Counter(await statuses(gate, 8)) == {200: 8}


async def test_a_limit_of_the_route_file_has_its_own_way_without_the_store(
    start: Start, server: RedisServer, tmp_path: Path, upstream: Any
) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        f"upstreams:\n  upstream: {{url: 'http://127.0.0.1:{upstream.port}'}}\n"
        "limits:\n  strict: {key: network, rate: 1000/d, store_away: closed}\n"
        "  mild: {key: network, rate: 1000/d}\n"
        "routes:\n"
        "  - {name: strict, match: {path: /strict}, auth: public, limits: [strict]}\n"
        "  - {name: mild, match: {path: /}, auth: public, limits: [mild]}\n"
    )
    gate = await start(limits={"url": server.url, "timeout_seconds": 0.5}, routes=routes, preset="none")
    server.kill()
    await statuses(gate, 1)

    async def is_away() -> bool:
        return not await up(gate)

    await eventually(is_away)
    async with Client(gate.address) as client:
        assert (await client.exchange(GET)).status == 200
        assert (await client.exchange(GET.replace(b" / ", b" /strict "))).status == 503


@pytest.mark.parametrize("store", ["there", "away", "silent"])
async def test_a_user_refused_by_a_limit_of_their_own_uses_up_none_of_the_networks_limit(
    start: Start, server: RedisServer, tmp_path: Path, world: World, upstream: Any, store: str
) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        f"upstreams:\n  upstream: {{url: 'http://127.0.0.1:{upstream.port}'}}\n"
        "limits:\n  net: {key: network, rate: 20/d}\n  mine: {key: user, rate: 2/d}\n"
        "routes:\n  - {name: all, match: {path: /}, auth: required, limits: [net, mine]}\n"
    )
    if store == "away":
        server.kill()
    elif store == "silent":
        server.pause()
    seconds = 0.5 if store == "away" else 30
    limits = {"url": server.url, "timeout_seconds": seconds}
    gate = await start(world.url, limits=limits, routes=routes, preset="none")
    try:
        async with Client(gate.address) as client:
            agent, admin = bearer(world.token(world.agent)), bearer(world.token(world.admin))
            answers = Counter([(await client.exchange(get("/", agent))).status for _ in range(60)])
            assert answers == {200: 2, 429: 58}
            assert [(await client.exchange(get("/", admin))).status for _ in range(2)] == [200, 200]
    finally:
        if store == "silent":
            server.go_on()
