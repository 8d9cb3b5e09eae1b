"""A caller that wants more than its limits grant: as somebody else, by another way, or by making the gateway forget."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from config.route_plan import RoutesRefused
from tests.support.admin import readings
from tests.support.calls import ask, bearer, get, is_refusal, request
from tests.support.peers import PATIENCE, Client
from tests.support.sockets import Far, auth, closed_by, frame, opened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World

    Limited = Callable[..., Awaitable[Gateway]]

ONE_EACH = {"net": {"key": "network", "rate": "1/d"}}
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


@pytest.fixture
def limited(start: Start, tmp_path: Path) -> Limited:
    """Start a gateway with one route, which names every one of the limits."""

    async def begin(
        named: dict[str, Any], url: str | None = None, auth: str = "public", **groups: Any
    ) -> Gateway:
        path = tmp_path / "routes.yaml"
        entry = {"name": "all", "auth": auth, "match": {"path": "/*"}, "limits": list(named)}
        path.write_text(json.dumps({"limits": named, "routes": [entry]}), encoding="utf-8")
        return await start(*(() if url is None else (url,)), routes=path, **groups)

    return begin


async def test_no_header_of_a_stranger_makes_it_another_network(limited: Limited, upstream: Upstream) -> None:
    gate = await limited(ONE_EACH)
    assert (await ask(gate, get("/"))).status == 200
    for number in range(20):
        lines = [f"{name}: 192.0.2.{number}" for name in ("X-Forwarded-For", "X-Real-IP", "True-Client-IP")]
        answer = await ask(gate, get("/", *lines, f"Forwarded: for=192.0.2.{number}", f"Via: 1.1 p{number}"))
        is_refusal(answer, 429)
    assert len(upstream.requests) == 1


async def test_the_addresses_of_one_prefix_are_one_network(limited: Limited) -> None:
    gate = await limited(ONE_EACH, trusted_proxies="127.0.0.1/32")
    for number, status in ((1, 200), (2, 429), (0xFFFF, 429)):
        answer = await ask(gate, get("/", f"X-Forwarded-For: 2001:db8:0:7::{number:x}"))
        assert answer.status == status
    for other in ("2001:db8:0:8::1", "192.0.2.1"):
        assert (await ask(gate, get("/", f"X-Forwarded-For: {other}"))).status == 200
    assert (await ask(gate, get("/", "X-Forwarded-For: ::ffff:192.0.2.1"))).status == 429


async def test_a_flood_of_networks_flushes_nobodys_debt_and_takes_no_more_memory(limited: Limited) -> None:
    gate = await limited(ONE_EACH, trusted_proxies="127.0.0.1/32", limits={"keys": 1000})
    async with asyncio.timeout(PATIENCE), Client(gate.address) as client:
        statuses = []
        for number in range(1200):
            where = f"X-Forwarded-For: 198.18.{number // 256}.{number % 256}"
            statuses.append((await client.exchange(get("/", where))).status)
        assert statuses[:1000] == [200] * 1000
        first = await client.exchange(get("/", "X-Forwarded-For: 198.18.0.0"))
        is_refusal(first, 429)
    found = await readings(gate)
    assert found['gateway_limit_keys{limit="net"}'] == 1000
    assert found['gateway_limit_overflows_total{limit="net"}'] == 200


@pytest.mark.parametrize(
    "other",
    [
        request("HEAD", "/"),
        request("OPTIONS", "/"),
        request("OPTIONS", "/", "Origin: https://a.test", "Access-Control-Request-Method: GET"),
        request("PROPFIND", "/"),
        get("/%61?x=1"),
        get("/ws", *UPGRADE),
    ],
)
async def test_no_method_path_or_upgrade_goes_past_a_limit(
    other: bytes, limited: Limited, upstream: Upstream
) -> None:
    gate = await limited(ONE_EACH)
    assert (await ask(gate, get("/"))).status == 200
    async with asyncio.timeout(PATIENCE), Client(gate.address) as client:
        await client.send(other)
        assert (await client.response(head_only=True)).status == 429
    assert len(upstream.requests) == 1


async def test_a_user_is_one_caller_by_every_credential_and_in_every_organization(
    world: World, limited: Limited
) -> None:
    gate = await limited({"each": {"key": "user", "rate": "1/d"}}, world.url, "required")
    both = world.token(world.both)
    assert (await ask(gate, get("/", bearer(both)))).status == 200
    for lines in (
        [bearer(world.token(world.both, world.other))],
        [bearer(both), f"X-Organization-ID: {world.other}"],
        [bearer(world.token(world.both, email="another@example.com"))],
    ):
        is_refusal(await ask(gate, get("/", *lines)), 429)


async def test_nobody_is_still_a_caller_where_a_credential_is_optional(limited: Limited) -> None:
    gate = await limited({"each": {"key": ["user", "organization"], "rate": "1/d"}}, auth="optional")
    assert (await ask(gate, get("/"))).status == 200
    is_refusal(await ask(gate, get("/", "X-User-ID: 0", "User-Agent: other")), 429)


async def test_a_socket_that_is_opened_by_nobody_counts_once_its_user_is_known(
    world: World, start: Start, upstream: Upstream, far: Far
) -> None:
    gate = await start(world.url, limits={"user": "1/d"})
    first, second = await opened(gate), await opened(gate)
    message = frame(auth(world.token(world.agent)))
    await first.send(message)
    await far.has(message)
    await second.send(message)
    assert await closed_by(second) == (1013, "too many, try again later")
    is_refusal(await ask(gate, get("/api/x", bearer(world.token(world.agent)))), 429)
    assert upstream.seen.count(b"GET /ws") == 2
    for client in (first, second):
        client.writer.close()


async def test_requests_that_are_pipelined_are_each_counted(limited: Limited, upstream: Upstream) -> None:
    gate = await limited({"net": {"key": "network", "rate": "3/d"}})
    async with asyncio.timeout(PATIENCE), Client(gate.address) as client:
        await client.send(get("/") * 6)
        statuses = [(await client.response()).status for _ in range(6)]
    assert statuses == [200, 200, 200, 429, 429, 429]
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    "name", ['a"b', "a\r\nX-Evil: 1", "a;q=1", "a, b", "", "-a", "a b", "é", "a" * 64, "a\n"]
)
async def test_a_name_that_would_write_a_field_is_refused_as_the_file_is_read(
    name: str, limited: Limited
) -> None:
    with pytest.raises(RoutesRefused):
        await limited({name: {"key": "network", "rate": "1/d"}})


async def test_a_429_closes_no_kept_connection_and_reads_no_body_as_a_request(limited: Limited) -> None:
    gate = await limited(ONE_EACH)
    inner = get("/inner")
    async with asyncio.timeout(PATIENCE), Client(gate.address) as client:
        assert (await client.exchange(get("/"))).status == 200
        is_refusal(await client.exchange(request("POST", "/", body=inner)), 429)
        is_refusal(await client.exchange(get("/")), 429)
