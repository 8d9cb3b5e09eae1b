"""Rate and concurrency limits over real sockets: what the client is answered, and what the upstream sees.

Rates are per day: nothing drains while a test runs.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.admin import readings
from tests.support.calls import ask, bearer, get, is_refusal, post, request
from tests.support.peers import PATIENCE, Client, Message, read_head

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World

    Routed = Callable[..., Awaitable[Gateway]]


@pytest.fixture
def routed(start: Start, tmp_path: Path) -> Routed:
    """Start a gateway with limits and routes."""

    async def begin(
        named: dict[str, Any],
        *routes: dict[str, Any],
        url: str | None = None,
        more: Any = None,
        **groups: Any,
    ) -> Gateway:
        path = tmp_path / "routes.yaml"
        path.write_text(json.dumps({"limits": named, "routes": routes} | (more or {})), encoding="utf-8")
        return await start(*(() if url is None else (url,)), routes=path, **groups)

    return begin


def route(name: str, path: str, *limits: str, auth: str = "public", **more: Any) -> dict[str, Any]:
    return {"name": name, "auth": auth, "match": {"path": path}, "limits": list(limits), **more}


def is_limited(answer: Message, reason: str = "the limit") -> None:
    is_refusal(answer, 429)
    assert reason in answer.json()["message"]
    assert int(answer.one("Retry-After") or 0) >= 1


async def test_a_limit_by_network_refuses_before_the_credential_is_read(
    routed: Routed, upstream: Upstream
) -> None:
    gate = await routed(
        {"net": {"key": "network", "rate": "2/d"}}, route("all", "/*", "net", auth="required")
    )
    for _ in range(2):
        is_refusal(await ask(gate, get("/x")), 401)
    is_limited(await ask(gate, get("/x", "Authorization: Bearer rubbish")))
    assert upstream.seen == b""


async def test_a_limit_by_user_counts_one_user_over_connections_and_credentials_and_nobody_else(
    world: World, routed: Routed, upstream: Upstream
) -> None:
    gate = await routed(
        {"each": {"key": "user", "rate": "2/d"}}, route("all", "/*", "each", auth="required"), url=world.url
    )
    agent, admin = bearer(world.token(world.agent)), bearer(world.token(world.admin))
    assert (await ask(gate, get("/1", agent))).status == 200
    assert (await ask(gate, get("/2", bearer(world.token(world.agent, email="x@example.com"))))).status == 200
    is_limited(await ask(gate, get("/3", agent)))
    for _ in range(2):
        assert (await ask(gate, get("/4", admin))).status == 200
    assert len(upstream.requests) == 4


async def test_what_is_refused_for_another_reason_takes_nothing_of_a_users_limit(
    world: World, routed: Routed
) -> None:
    gate = await routed(
        {"each": {"key": "user", "rate": "1/d"}},
        route("need", "/need", "each", auth="required", require=["users:write"]),
        route("all", "/*", "each", auth="required"),
        url=world.url,
    )
    agent = bearer(world.token(world.agent))
    for _ in range(3):
        is_refusal(await ask(gate, get("/need", agent)), 403)
    assert (await ask(gate, get("/x", agent))).status == 200
    is_limited(await ask(gate, get("/x", agent)))


async def test_keys_and_organizations_are_counted_by_themselves(world: World, routed: Routed) -> None:
    gate = await routed(
        {"key": {"key": "api_key", "rate": "1/d"}, "org": {"key": "organization", "rate": "2/d"}},
        route("keys", "/keys", "key", auth="required"),
        route("orgs", "/orgs", "org", auth="required"),
        url=world.url,
    )
    with_key, agent = f"X-API-Key: {world.api_key}", bearer(world.token(world.agent))
    assert (await ask(gate, get("/keys", with_key))).status == 200
    is_limited(await ask(gate, get("/keys", with_key)))
    for _ in range(3):  # a token is no API key, so nothing counts it
        answer = await ask(gate, get("/keys", agent))
        assert (answer.status, answer.one("RateLimit")) == (200, None)
    assert (await ask(gate, get("/orgs", agent))).status == 200
    assert (await ask(gate, get("/orgs", bearer(world.token(world.admin))))).status == 200
    is_limited(await ask(gate, get("/orgs", agent)))
    elsewhere = bearer(world.token(world.both, world.other))
    assert (await ask(gate, get("/orgs", elsewhere))).status == 200


async def test_a_request_passes_only_if_all_limits_grant_it_and_takes_of_none_if_one_refuses(
    world: World, routed: Routed
) -> None:
    gate = await routed(
        {
            "net": {"key": "network", "rate": "3/d"},
            "each": {"key": "user", "rate": "1/d"},
            "sum": {"key": "all", "rate": "10/d"},
        },
        route("all", "/*", "net", "each", "sum", auth="required"),
        url=world.url,
    )
    agent, admin = bearer(world.token(world.agent)), bearer(world.token(world.admin))
    assert (await ask(gate, get("/", agent))).status == 200
    for _ in range(5):
        is_limited(await ask(gate, get("/", agent)), "the limit each")
    answer = await ask(gate, get("/", admin))
    assert answer.status == 200
    assert (
        answer.one(
            "RateLimit",
        )
        is not None
    )
    left = {item.split(";")[0]: item.split(";")[1] for item in (answer.one("RateLimit") or "").split(", ")}
    assert left == {'"net"': "r=1", '"each"': "r=0", '"sum"': "r=8"}


async def test_several_windows_are_on_at_once_and_the_fields_name_each(routed: Routed) -> None:
    gate = await routed(
        {"net": {"key": "network", "rate": ["3/d", "2/h burst 2"]}}, route("all", "/*", "net")
    )
    answer = await ask(gate, get("/"))
    assert answer.one("RateLimit-Policy") == '"net-3600s";q=2;w=3600, "net-86400s";q=3;w=86400'
    assert (answer.one("RateLimit") or "").startswith('"net-3600s";r=1;t=')
    assert (await ask(gate, get("/"))).status == 200
    is_limited(await ask(gate, get("/")))


async def test_the_items_of_windows_of_any_length_have_names_of_their_own(routed: Routed) -> None:
    rates = ["9/31d", "8/s", "7/s burst 20", "6/1000s", "5/1001s", "4/31d burst 7"]
    gate = await routed({"net": {"key": "network", "rate": rates}}, route("all", "/*", "net"))
    answer = await ask(gate, get("/"))
    items = [item.split(";") for item in (answer.one("RateLimit") or "").split(", ")]
    months = ["net-2678400s", "net-2678400s-2"]
    assert [item[0] for item in items] == [
        f'"{name}"' for name in ("net-1s", "net-1s-2", "net-1000s", "net-1001s", *months)
    ]
    assert [item[1] for item in items] == ["r=7", "r=19", "r=5", "r=4", "r=8", "r=6"]


async def test_a_dear_route_takes_its_cost_of_the_same_limit(routed: Routed) -> None:
    gate = await routed(
        {"net": {"key": "network", "rate": "10/d"}},
        route("dear", "/dear", "net", cost=4),
        route("cheap", "/*", "net"),
    )
    for left in (6, 2):
        assert (await ask(gate, get("/dear"))).all("RateLimit")[0].startswith(f'"net";r={left};')
    is_limited(await ask(gate, get("/dear")))
    assert (await ask(gate, get("/cheap"))).status == 200


async def test_the_route_may_be_part_of_the_key(routed: Routed) -> None:
    gate = await routed(
        {"each": {"key": ["network", "route"], "rate": "1/d"}},
        route("a", "/a/*", "each"),
        route("b", "/b/*", "each"),
    )
    for path in ("/a", "/b"):
        assert (await ask(gate, get(f"{path}/1"))).status == 200
        is_limited(await ask(gate, get(f"{path}/2")))


async def test_the_limits_of_the_settings_are_for_all_but_public_routes(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, limits={"network": "1/d"})
    for _ in range(3):
        answer = await ask(gate, get("/health"))
        assert (answer.status, answer.one("RateLimit")) == (200, None)
    assert (await ask(gate, get("/api/x", bearer(world.token(world.agent))))).status == 200
    is_limited(await ask(gate, get("/api/x")))
    is_limited(await ask(gate, post("/api/auth/login", {"email": "a@b.c", "password": "x"})))
    assert (await ask(gate, post("/api/auth/logout", {}))).status == 200
    assert (await ask(gate, get("/.well-known/jwks.json"))).status in (200, 404)


async def test_nobody_who_signs_in_counts_as_the_one_user_of_their_network(
    world: World, start: Start
) -> None:
    gate = await start(
        world.url, limits={"user": "1/d", "organization": "1/d", "api_key": "1/d", "public": True}
    )
    for _ in range(3):
        assert (await ask(gate, post("/api/auth/login", {"email": "a@b.c", "password": "x"}))).status == 401
        assert (await ask(gate, get("/health"))).status == 200


async def test_public_routes_are_limited_if_the_settings_say_so(start: Start) -> None:
    gate = await start(limits={"network": "1/d", "public": True})
    assert (await ask(gate, get("/health"))).status == 200
    is_limited(await ask(gate, get("/health")))


async def test_a_route_names_limits_of_the_settings_or_none(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    entries = [
        route("named", "/named", "network"),
        route("none", "/none"),
        route("rest", "/*"),
    ]
    del entries[-1]["limits"]
    path.write_text(json.dumps({"routes": entries, "hosted_limits": []}), encoding="utf-8")
    gate = await start(routes=path, limits={"network": "1/d"})
    assert (await ask(gate, get("/named"))).status == 200
    is_limited(await ask(gate, get("/named")))
    for target in ("/none", "/rest"):
        assert (await ask(gate, get(target))).status == 200
    assert (await ask(gate, post("/api/auth/login", {}))).status != 429


async def test_a_limit_in_shadow_is_counted_and_recorded_and_refuses_nothing(
    routed: Routed, upstream: Upstream
) -> None:
    gate = await routed({"net": {"key": "network", "rate": "1/d", "shadow": True}}, route("all", "/*", "net"))
    for _ in range(3):
        answer = await ask(gate, get("/"))
        assert (answer.status, answer.one("RateLimit")) == (200, None)
    found = await readings(gate)
    assert found['gateway_limit_requests_total{limit="net",outcome="admitted"}'] == 1
    assert found['gateway_limit_requests_total{limit="net",outcome="shadow"}'] == 2
    assert found['gateway_limit_requests_total{limit="net",outcome="refused"}'] == 0
    assert found['gateway_shadow_denials_total{reason="rate_limited",route="all"}'] == 2


async def test_limits_are_in_shadow_on_a_route_in_shadow(routed: Routed) -> None:
    gate = await routed(
        {"net": {"key": "network", "rate": "1/d"}}, route("all", "/*", "net", auth="required", shadow=True)
    )
    for _ in range(2):
        assert (await ask(gate, get("/"))).status == 200


async def test_refusals_are_counted_by_limit_and_by_reason(routed: Routed) -> None:
    gate = await routed({"net": {"key": "network", "rate": "1/d"}}, route("all", "/*", "net"))
    assert (await ask(gate, get("/"))).status == 200
    is_limited(await ask(gate, get("/")))
    found = await readings(gate)
    assert found['gateway_limit_requests_total{limit="net",outcome="refused"}'] == 1
    assert found['gateway_limit_keys{limit="net"}'] == 1
    assert found['gateway_faults_total{reason="rate_limited"}'] == 1
    assert found['gateway_drops_total{reason="rate_limited",status="429"}'] == 1


async def test_requests_at_work_at_once_are_bounded_and_counted_out_however_they_end(
    routed: Routed, upstream: Upstream
) -> None:
    came, go = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            came.release()
            await go.acquire()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    upstream.script = slow
    gate = await routed({"few": {"key": "network", "concurrency": 2}}, route("all", "/*", "few"))
    async with asyncio.timeout(PATIENCE), Client(gate.address) as one, Client(gate.address) as two:
        await one.send(get("/1"))
        await two.send(get("/2"))
        await came.acquire()
        await came.acquire()
        is_limited(await ask(gate, get("/3")), "at once")
        go.release()
        go.release()
        for client in (one, two):
            answer = await client.response()
            assert answer.status == 200
            assert answer.one("RateLimit-Policy") == '"few-at-once";q=2;qu="concurrent-requests"'
        async with Client(gate.address) as three:  # a client that goes away is counted out as well
            await three.send(get("/4"))
            await came.acquire()
        while any(bucket.active for bucket in gate.routing.limits.registry.now["few"].buckets.every()):
            await asyncio.sleep(0.01)
        await two.send(get("/5"))
        await one.send(get("/6"))
        await came.acquire()
        await came.acquire()
        for _ in range(3):
            go.release()
        assert {(await one.response()).status, (await two.response()).status} == {200}


@pytest.mark.parametrize("long", ["count", "release"])
async def test_a_websocket_is_at_work_until_it_ends_unless_it_is_released(
    long: str, routed: Routed, upstream: Upstream
) -> None:
    async def switching(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await reader.read()

    upstream.script = switching
    gate = await routed(
        {"few": {"key": "network", "concurrency": 1, "long": long}}, route("all", "/*", "few")
    )
    upgrade = get(
        "/ws",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    async with asyncio.timeout(PATIENCE), Client(gate.address) as one:
        await one.send(upgrade)
        assert (await one.response(interim=True)).status == 101
        async with Client(gate.address) as two:
            await two.send(upgrade)
            assert (await two.response(interim=True)).status == (429 if long == "count" else 101)
    async with asyncio.timeout(PATIENCE):
        while True:  # until the tunnel has ended on the gateway's side
            async with Client(gate.address) as three:
                await three.send(upgrade)
                if (await three.response(interim=True)).status == 101:
                    return
            await asyncio.sleep(0.02)


async def test_a_reload_keeps_what_was_counted_as_units(
    routed: Routed, upstream: Upstream, tmp_path: Path
) -> None:
    routes = (route("all", "/*", "net"),)
    gate = await routed({"net": {"key": "network", "rate": "4/d"}}, *routes)
    for _ in range(3):
        assert (await ask(gate, get("/"))).status == 200
    for rate, left in (("4/d", 1), ("8/d", 5), ("2/d burst 4", 1)):
        path = tmp_path / "routes.yaml"
        path.write_text(
            json.dumps({"limits": {"net": {"key": "network", "rate": rate}}, "routes": routes}),
            encoding="utf-8",
        )
        assert await gate.routing.reload("test")
        bucket = next(iter(gate.routing.limits.registry.now["net"].buckets.every()))
        now = asyncio.get_running_loop().time()
        assert gate.routing.limits.registry.now["net"].left(bucket, 0, now)[0] == left
    assert (await ask(gate, get("/"))).status == 200
    is_limited(await ask(gate, get("/")))
    found = await readings(gate)
    assert found['gateway_limit_requests_total{limit="net",outcome="admitted"}'] == 4


async def test_each_replica_grants_its_share(routed: Routed) -> None:
    gate = await routed(
        {"net": {"key": "network", "rate": "6/d"}}, route("all", "/*", "net"), limits={"replicas": 3}
    )
    for _ in range(2):
        answer = await ask(gate, get("/"))
        assert (answer.status, answer.one("RateLimit-Policy")) == (200, '"net";q=2;w=86400')
    is_limited(await ask(gate, get("/")))


async def test_the_fields_of_the_upstream_stay_beside_ours(routed: Routed, upstream: Upstream) -> None:
    async def limited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b'HTTP/1.1 200 OK\r\nRateLimit: "theirs";r=7\r\nContent-Length: 0\r\n\r\n')

    upstream.script = limited
    gate = await routed({"net": {"key": "network", "rate": "5/d"}}, route("all", "/*", "net"))
    fields = [value.decode() for name, value in (await ask(gate, get("/"))).lines if name == b"RateLimit"]
    assert fields[0] == '"theirs";r=7'
    assert fields[1].startswith('"net";r=4;t=')


async def test_the_fields_can_be_left_out(routed: Routed) -> None:
    gate = await routed(
        {"net": {"key": "network", "rate": "1/d"}}, route("all", "/*", "net"), limits={"headers": "none"}
    )
    assert (await ask(gate, get("/"))).one("RateLimit") is None
    answer = await ask(gate, get("/"))
    is_limited(answer)
    assert answer.one("RateLimit") is None


async def test_a_refusal_by_the_upstream_or_for_the_caller_has_the_fields_too(
    world: World, routed: Routed, upstream: Upstream
) -> None:
    gate = await routed(
        {"net": {"key": "network", "rate": "5/d"}}, route("all", "/*", "net", auth="required"), url=world.url
    )
    answer = await ask(gate, get("/"))
    is_refusal(answer, 401)
    assert (answer.one("RateLimit") or "").startswith('"net";r=4;')


@pytest.mark.parametrize("endpoint", ["forward", "envoy/x", "nginx"])
async def test_decisions_for_other_proxies_obey_limits(endpoint: str, routed: Routed) -> None:
    gate = await routed(
        {"net": {"key": "network", "rate": "1/d"}, "few": {"key": "network", "concurrency": 1}},
        route("all", "/*", "net", "few"),
        decision={"path": "/decisions"},
        trusted_proxies="127.0.0.1/32",
    )
    lines = {
        "forward": ("X-Forwarded-Method: GET", "X-Forwarded-Uri: /x", "X-Forwarded-Host: e"),
        "nginx": ("X-Original-Method: GET", "X-Original-URI: /x"),
    }.get(endpoint, ())
    asked = request("GET", f"/decisions/{endpoint}", "X-Forwarded-For: 192.0.2.9", *lines)
    assert (await ask(gate, asked)).status == 200
    answer = await ask(gate, asked)
    assert answer.status == (403 if endpoint == "nginx" else 429)
    assert endpoint == "nginx" or answer.one("Retry-After")
    other = request("GET", f"/decisions/{endpoint}", "X-Forwarded-For: 192.0.2.10", *lines)
    assert (await ask(gate, other)).status == 200
