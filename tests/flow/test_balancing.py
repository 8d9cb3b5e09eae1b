"""Balancing by request: which endpoint got which request, as the endpoints themselves saw it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.admin import metrics
from tests.support.calls import ask, bearer, get, post
from tests.support.flaky import BUSY, Flaky
from tests.support.peers import PATIENCE, Client, Upstream, read_head
from tests.support.sockets import ASK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.worlds import Start, World

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def fleet() -> AsyncIterator[list[Upstream]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Upstream()) for _ in range(3)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "routes.yaml"


def written(fleet: list[Upstream], places: dict[int, dict[str, Any]] | None = None, **policy: Any) -> str:
    """A route file with one upstream at the whole fleet; `places` has the weight and so on of some of it."""
    endpoints = [
        {"url": f"http://127.0.0.1:{one.port}", **(places or {}).get(place, {})}
        for place, one in enumerate(fleet)
    ]
    route = {"name": "all", "match": {"path": "/*"}, "auth": "optional", "upstream": "hub"}
    return json.dumps({"upstreams": {"hub": {"endpoints": endpoints, **policy}}, "routes": [route]})


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not what():
            await asyncio.sleep(0.01)


def answered(fleet: list[Upstream]) -> list[int]:
    return [len(one.requests) for one in fleet]


async def report(gateway: Gateway) -> dict[str, Any]:
    async with Client(gateway.admin_address) as admin:
        shown: dict[str, Any] = json.loads((await admin.exchange(get("/status.json"))).body)
    hub: dict[str, Any] = shown["upstreams"]["hub"]
    return hub


async def test_requests_of_one_client_go_to_every_endpoint_in_turn(
    start: Start, fleet: list[Upstream], file: Path
) -> None:
    file.write_text(written(fleet, balance="round_robin"))
    gateway = await start(routes=file)
    async with Client(gateway.address) as client:
        for _ in range(30):
            assert (await client.exchange(get("/"))).status == 200
    assert answered(fleet) == [10, 10, 10]
    assert [len(one.raw) for one in fleet] == [1, 1, 1], "over one connection each"


async def test_turns_are_as_the_weights_are(start: Start, fleet: list[Upstream], file: Path) -> None:
    file.write_text(written(fleet, {0: {"weight": 3}, 1: {"weight": 0}}, balance="round_robin"))
    gateway = await start(routes=file)
    async with Client(gateway.address) as client:
        for _ in range(20):
            assert (await client.exchange(get("/"))).status == 200
    assert answered(fleet) == [15, 0, 5]


async def test_an_endpoint_that_is_slow_gets_fewer_requests(
    start: Start, fleet: list[Upstream], file: Path
) -> None:
    release, begun = asyncio.Event(), 0

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal begun
        while True:
            await read_head(reader)
            begun += 1
            await asyncio.wait_for(release.wait(), PATIENCE)
            writer.write(OK)

    fleet[0].script = slowly
    del fleet[2]
    file.write_text(written(fleet))
    gateway = await start(routes=file)
    stuck = []
    while not begun:  # of two, the first request may go to either
        stuck.append(asyncio.create_task(ask(gateway, get("/"))))
        await asyncio.wait(stuck, timeout=0.05)
    for _ in range(40):  # one after the other: the other endpoint has none at work each time
        assert (await ask(gateway, get("/"))).status == 200
    assert begun == 1
    release.set()
    assert {answer.status for answer in await asyncio.gather(*stuck)} == {200}


@pytest.mark.parametrize("by", ["header:X-Room", "cookie:room", "address"])
async def test_a_key_stays_with_its_endpoint(
    start: Start, fleet: list[Upstream], file: Path, by: str
) -> None:
    file.write_text(written(fleet, hash_by=by))
    gateway = await start(routes=file, trusted_proxies="127.0.0.1")
    placed: dict[str, set[int]] = {}
    for room in [f"10.0.0.{number}" for number in range(12)] * 2:
        before = answered(fleet)
        lines = (f"X-Room: {room}", f"Cookie: a=b; room={room}", f"X-Forwarded-For: {room}")
        assert (await ask(gateway, get("/", *lines))).status == 200
        placed.setdefault(room, set()).add(
            [a > b for a, b in zip(answered(fleet), before, strict=True)].index(True)
        )
    assert all(len(places) == 1 for places in placed.values())
    assert len(set.union(*placed.values())) > 1


async def test_a_users_requests_stay_with_an_endpoint_and_anonymous_ones_are_shared(
    world: World, start: Start, fleet: list[Upstream], file: Path
) -> None:
    file.write_text(written(fleet, hash_by="user"))
    gateway = await start(world.url, routes=file)
    for user in (world.agent, world.admin):
        before = answered(fleet)
        for _ in range(8):
            assert (await ask(gateway, get("/", bearer(world.token(user))))).status == 200
        assert sorted(a - b for a, b in zip(answered(fleet), before, strict=True)) == [0, 0, 8]
    before = answered(fleet)
    for _ in range(40):
        assert (await ask(gateway, get("/"))).status == 200
    assert all(a > b for a, b in zip(answered(fleet), before, strict=True))


async def test_a_websocket_of_a_room_goes_where_the_room_is(
    start: Start, fleet: list[Upstream], file: Path
) -> None:
    opened: Counter[tuple[int, str]] = Counter()

    def hub(place: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await read_head(reader)
            room = dict(head.lines)[b"X-Room"].decode()
            opened[place, room] += 1
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            )
            await reader.read()

        return serve

    for place, one in enumerate(fleet):
        one.script = hub(place)
    file.write_text(written(fleet, hash_by="header:X-Room"))
    gateway = await start(routes=file)
    async with AsyncExitStack() as stack:
        for room in [f"room-{number}" for number in range(6)] * 3:
            client = await stack.enter_async_context(Client(gateway.address))
            await client.send(ASK.replace(b"\r\n\r\n", b"\r\nX-Room: %b\r\n\r\n" % room.encode()))
            assert (await read_head(client.reader)).status == 101
        assert len(opened) == 6, "each room is at one endpoint"
        assert set(opened.values()) == {3}
        shown = (await report(gateway))["addresses"]
        assert sum(one["active"] for one in shown.values()) == 18
    async with asyncio.timeout(PATIENCE):
        while any(one["active"] for one in (await report(gateway))["addresses"].values()):
            await asyncio.sleep(0.02)


async def test_an_endpoint_that_is_away_costs_no_request_and_is_left_alone(
    start: Start, fleet: list[Upstream], file: Path
) -> None:
    file.write_text(written(fleet, balance="round_robin"))
    await fleet[1].__aexit__(None, None, None)
    gateway = await start(routes=file)
    for _ in range(20):
        assert (await ask(gateway, get("/"))).status == 200
    assert min(answered(fleet)) == 0
    assert min(answered(fleet)[::2]) >= 4


async def test_a_full_pool_is_shared_by_the_endpoints(
    start: Start, fleet: list[Upstream], file: Path
) -> None:
    file.write_text(written(fleet, balance="round_robin", connections=2, pending=100))
    gateway = await start(routes=file)
    for _ in range(3):
        answers = await asyncio.gather(*(ask(gateway, get("/")) for _ in range(24)))
        assert {answer.status for answer in answers} == {200}
    shown = await report(gateway)
    assert shown["open"] <= 2
    assert {one["active"] for one in shown["addresses"].values()} == {0}
    assert min(answered(fleet)) > 0


async def test_a_reload_leaves_connections_counts_and_the_requests_at_work(
    start: Start, fleet: list[Upstream], file: Path
) -> None:
    go_on = asyncio.Event()

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await asyncio.wait_for(go_on.wait(), PATIENCE)
        writer.write(OK)
        await reader.read()

    fleet[0].script = slowly
    file.write_text(written(fleet[:2], {1: {"weight": 0}}))
    gateway = await start(routes=file)
    slow = asyncio.create_task(ask(gateway, get("/")))
    address = f"127.0.0.1:{fleet[0].port}"
    async with asyncio.timeout(PATIENCE):
        while not fleet[0].seen:  # it is there, and no longer on its way
            await asyncio.sleep(0.01)
    file.write_text(written(fleet, {0: {"weight": 0}}, balance="round_robin", connections=7))
    assert await gateway.routing.reload("test")
    shown = await report(gateway)
    assert shown["max"] == 7
    assert {
        name: (one["active"], one["open"], one["weight"]) for name, one in shown["addresses"].items()
    } == {
        address: (1, 1, 0),
        f"127.0.0.1:{fleet[1].port}": (0, 0, 1),
        f"127.0.0.1:{fleet[2].port}": (0, 0, 1),
    }
    for _ in range(4):
        assert (await ask(gateway, get("/"))).status == 200
    assert answered(fleet) == [0, 2, 2]
    go_on.set()
    assert (await slow).status == 200
    file.write_text(written(fleet[1:]))
    assert await gateway.routing.reload("test")
    await until(lambda: fleet[0].connections == 0)
    assert len(fleet[1].raw) == len(fleet[2].raw) == 1, "those that stay keep their connections"


async def test_endpoints_in_the_gateways_zone_come_first(
    start: Start, fleet: list[Upstream], file: Path
) -> None:
    file.write_text(written(fleet, {0: {"zone": "a"}, 1: {"zone": "b"}, 2: {"zone": "b"}}))
    gateway = await start(routes=file, upstream={"zone": "a"})
    for _ in range(10):
        assert (await ask(gateway, get("/"))).status == 200
    assert answered(fleet) == [10, 0, 0]


async def test_another_priority_waits_until_it_is_needed(
    start: Start, fleet: list[Upstream], file: Path
) -> None:
    file.write_text(written(fleet[:2], {1: {"priority": 1}}))
    gateway = await start(routes=file)
    for _ in range(5):
        assert (await ask(gateway, get("/"))).status == 200
    assert answered(fleet) == [5, 0, 0]
    await fleet[0].__aexit__(None, None, None)
    for _ in range(5):
        assert (await ask(gateway, get("/"))).status == 200
    assert answered(fleet) == [5, 5, 0]


async def test_explain_and_metrics_have_the_endpoints(
    start: Start, fleet: list[Upstream], file: Path
) -> None:
    file.write_text(written(fleet, {2: {"zone": "a"}}, hash_by="header:X-Room", zone="a"))
    gateway = await start(routes=file)
    document = {"method": "GET", "path": "/", "headers": [["X-Room", "blue"]]}
    async with Client(gateway.admin_address) as admin:
        explained = (await admin.exchange(post("/explain", document))).json()["upstream"]["balance"]
    assert explained == {
        "method": "least_requests",
        "zone": "a",
        "zone_spill_over": 100,
        "hash_by": "header:x-room",
        "endpoint": f"127.0.0.1:{fleet[2].port}",
    }
    for _ in range(3):
        assert (await ask(gateway, get("/", "X-Room: blue"))).status == 200
    assert answered(fleet) == [0, 0, 3], "as explained"
    samples = await metrics(gateway)
    requests = {
        sample.labels["endpoint"]: sample.value
        for sample in samples["gateway_upstream_endpoint_requests"]
        if sample.labels["upstream"] == "hub"
    }
    assert requests == {f"127.0.0.1:{one.port}": number for one, number in zip(fleet, (0, 0, 3), strict=True)}
    assert {sample.value for sample in samples["gateway_upstream_endpoint_active"]} == {0}


async def test_metrics_name_a_bounded_number_of_endpoints(
    start: Start, fleet: list[Upstream], file: Path
) -> None:
    many = [{"url": f"http://127.0.{number}.1:{fleet[0].port}"} for number in range(1, 200)]
    route = {"name": "all", "match": {"path": "/*"}, "auth": "public", "upstream": "hub"}
    file.write_text(json.dumps({"upstreams": {"hub": {"endpoints": many}}, "routes": [route]}))
    gateway = await start(routes=file)
    for family in ("gateway_upstream_endpoint_requests", "gateway_upstream_endpoint_active"):
        names = [
            sample.labels["endpoint"]
            for sample in (await metrics(gateway))[family]
            if sample.labels["upstream"] == "hub"
        ]
        assert len(names) == 33
        assert "other" in names


async def test_a_route_has_a_key_of_its_own(start: Start, fleet: list[Upstream], file: Path) -> None:
    document = json.loads(written(fleet, balance="round_robin"))
    document["routes"].append(
        {
            "name": "rooms",
            "match": {"path": "/rooms"},
            "auth": "public",
            "upstream": "hub",
            "hash_by": "address",
        }
    )
    file.write_text(json.dumps(document))
    gateway = await start(routes=file)
    for _ in range(6):
        assert (await ask(gateway, get("/rooms"))).status == 200
    assert sorted(answered(fleet)) == [0, 0, 6]
    for _ in range(6):
        assert (await ask(gateway, get("/"))).status == 200
    assert sorted(answered(fleet)) == [2, 2, 8]


async def test_a_second_attempt_goes_to_another_endpoint(
    start: Start, fleet: list[Upstream], file: Path
) -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.transport.abort()

    fleet[0].script = fleet[1].script = resets
    retry = {"when": ["reset"], "attempts": 3}
    file.write_text(written(fleet, hash_by="header:X-Room", retry=retry))
    gateway = await start(routes=file)
    for number in range(12):
        assert (await ask(gateway, get("/", f"X-Room: {number}"))).status == 200
    assert answered(fleet) == [0, 0, 12]


async def test_requests_with_a_body_go_to_every_endpoint_in_turn(
    start: Start, fleet: list[Upstream], file: Path
) -> None:
    file.write_text(written(fleet, balance="round_robin"))
    gateway = await start(routes=file)
    async with Client(gateway.address) as client:
        for _ in range(12):
            assert (await client.exchange(post("/", {"a": "b"}))).status == 200
    assert answered(fleet) == [4, 4, 4]
    assert {message.body for one in fleet for message in one.requests} == {b'{"a": "b"}'}


@pytest.mark.parametrize("others", ["away", "busy"])
async def test_an_endpoint_of_weight_0_gets_no_requests_whatever_becomes_of_the_others(
    start: Start, fleet: list[Upstream], file: Path, others: str
) -> None:
    out_of_service = fleet[0]
    for one in fleet[1:]:
        one.script = Flaky(BUSY)
        if others == "away":
            await one.__aexit__(None, None, None)
    retry = {"when": ["503", "connect-failure"], "attempts": 5, "backoff_seconds": 0.001}
    file.write_text(written(fleet, {0: {"weight": 0}}, retry=retry))
    gateway = await start(routes=file)
    for _ in range(4):
        assert (await ask(gateway, get("/"))).status == (502 if others == "away" else 503)
    assert out_of_service.raw == []


async def test_an_endpoint_that_is_taken_out_of_service_loses_its_unused_connections(
    start: Start, fleet: list[Upstream], file: Path
) -> None:
    file.write_text(written(fleet[:2], {1: {"weight": 0}}))
    gateway = await start(routes=file)
    assert (await ask(gateway, get("/"))).status == 200
    assert fleet[0].connections == 1
    file.write_text(written(fleet[:2], {0: {"weight": 0}}))
    assert await gateway.routing.reload("test")
    await until(lambda: fleet[0].connections == 0)


@pytest.mark.parametrize("far", [{"priority": 1}, {"zone": "far"}])
async def test_an_endpoint_that_replaces_one_that_refuses_is_of_its_priority_and_zone(
    start: Start, fleet: list[Upstream], file: Path, far: dict[str, object]
) -> None:
    near = {"zone": "near"}
    await fleet[0].__aexit__(None, None, None)
    file.write_text(
        written(fleet, {0: near, 1: near, 2: {**near, **far}}, zone="near", ejection={"connect_failures": 0})
    )
    gateway = await start(routes=file)
    for _ in range(20):
        assert (await ask(gateway, get("/"))).status == 200
    assert fleet[2].raw == []
