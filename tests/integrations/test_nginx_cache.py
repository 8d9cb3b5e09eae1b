"""nginx remembers decisions for a second: of nobody else, about nothing else, and no outage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integrations.proxies import ON, running
from tests.support.calls import ask, bearer, get, request
from tests.support.peers import Client

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


ROUNDS = 20


async def asked(gateway: Gateway) -> float:
    """Return the number of decisions that the gateway has made."""
    async with Client(gateway.admin_address) as admin:
        page = (await admin.exchange(get("/metrics"))).body.decode()
    lines = [line for line in page.splitlines() if line.startswith("gateway_decisions_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def test_a_decision_is_asked_for_once_a_second(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    gateway = await start(world.url, **ON)
    token = bearer(world.token(world.agent))
    async with running("nginx-cached", tmp_path, gateway.address[1], upstream.port) as address:
        before = await asked(gateway)
        async with Client(address) as client:
            for _ in range(ROUNDS):
                assert (await client.exchange(get("/api/x", token))).status == 200
                assert upstream.requests[-1].one("X-User-ID") == str(world.agent)
        # Were each slower than a second, this could not be seen.
        assert await asked(gateway) - before < ROUNDS


async def test_what_the_verdict_depends_on_is_in_the_key(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    gateway = await start(world.url, **ON)
    agent, both = bearer(world.token(world.agent)), bearer(world.token(world.both))
    async with (
        running("nginx-cached", tmp_path, gateway.address[1], upstream.port) as address,
        Client(address) as client,
    ):
        for _ in range(3):  # each is remembered while the others are asked
            for raw, status, user, organization in (
                (get("/api/x", agent), 200, world.agent, world.home),
                (get("/api/x", both), 200, world.both, world.home),
                (get("/api/x", both, f"X-Organization-ID: {world.other}"), 200, world.both, world.other),
                (get("/api/x", agent, f"X-Organization-ID: {world.other}"), 403, None, None),
                (get("/api/x", f"X-API-Key: {world.api_key}"), 200, world.admin, world.home),
                (get("/api/x", agent, "X-API-Key: nonsense"), 401, None, None),
                (get("/api/x"), 401, None, None),
                (get("/x"), 200, None, None),
                (request("DELETE", "/api/webhook"), 401, None, None),
                (request("GET", "/api/webhook"), 200, None, None),
            ):
                number = len(upstream.requests)
                assert (await client.exchange(raw)).status == status, raw
                assert len(upstream.requests) == number + (status == 200)
                if status == 200:
                    seen = upstream.requests[-1]
                    assert seen.one("X-User-ID") == (str(user) if user else None)
                    assert seen.one("X-Org-ID") == (str(organization) if organization else None)


async def test_no_path_reads_like_another_path_and_a_credential(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    """With a separator that a part may hold, one request could be told another's verdict."""
    gateway = await start(world.url, **ON)
    token = world.token(world.agent)
    async with (
        running("nginx-cached", tmp_path, gateway.address[1], upstream.port) as address,
        Client(address) as client,
    ):
        for separator in ("|", "\\n", "%0a", ":", ",", "\\"):
            own = get(f"/api/x{separator}", bearer(token))
            another = get("/api/x", f"X-API-Key: Bearer {token}", f"Cookie: {separator}")
            for _ in range(3):
                await client.exchange(own)
                number = len(upstream.requests)
                assert (await client.exchange(another)).status == 401
                assert len(upstream.requests) == number


async def test_an_outage_is_not_remembered(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    gateway = await start(**ON)
    async with running("nginx-cached", tmp_path, gateway.address[1], upstream.port) as address:
        before = await asked(gateway)
        for _ in range(3):
            answer = await ask_at(address, get("/api/x", f"X-API-Key: {world.api_key}"))
            assert answer == 503
        assert await asked(gateway) - before == 3


async def ask_at(address: tuple[str, int], raw: bytes) -> int:
    async with Client(address) as client:
        return (await client.exchange(raw)).status


async def test_nobody_asks_the_gateway_itself_by_way_of_nginx(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    gateway = await start(world.url, **ON)
    question = get(
        "/decisions/nginx",
        "X-Original-Method: GET",
        "X-Original-URI: /api/x",
        bearer(world.token(world.root)),
    )
    assert (await ask(gateway, question)).status == 200  # who is trusted may
    async with (
        running("nginx-cached", tmp_path, gateway.address[1], upstream.port) as address,
        Client(address) as client,
    ):
        for target in ("/decisions/nginx", "/_decision", "/decisions/envoy/api/x"):
            answer = await client.exchange(question.replace(b"/decisions/nginx", target.encode()))
            assert answer.one("X-User-ID") is None
