"""A route in shadow decides, records what it would have refused, and forwards."""

from __future__ import annotations

import json
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.calls import ask, bearer, get, is_refusal, post, request
from tests.support.peers import Client

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World

    Routed = Start

ROUTES = """
routes:
  - {name: tried, auth: required, require: ["users:read"], shadow: true, match: {path: /tried/*}}
  - {name: held, auth: required, require: ["users:read"], match: {path: /held/*}}
  - {name: open, auth: public, match: {path: /open}}
"""
IDENTITY = (
    "X-User-ID",
    "X-Org-ID",
    "X-User-Permissions",
    "X-Auth-Method",
    "X-Auth-Key-ID",
    "X-User-Super-Admin",
)


@pytest.fixture
def routed(start: Start, tmp_path: Path) -> Routed:
    """Start a gateway with the routes above."""

    async def begin(*urls: str, **groups: Any) -> Gateway:
        path = tmp_path / "routes.yaml"
        path.write_text(dedent(ROUTES), encoding="utf-8")
        return await start(*urls, routes=path, **groups)

    return begin


def is_nobody(seen: Message) -> bool:
    return all(seen.one(name) is None for name in IDENTITY)


async def shadowed(gateway: Gateway) -> dict[str, float]:
    async with Client(gateway.admin_address) as admin:
        page = (await admin.exchange(get("/metrics"))).body.decode()
    lines = [line for line in page.splitlines() if line.startswith("gateway_shadow_denials_total{")]
    return {line.partition("{")[2].partition("}")[0]: float(line.rpartition(" ")[2]) for line in lines}


async def test_a_missing_permission_is_recorded_and_forwarded_with_the_proven_identity(
    world: World, routed: Routed, upstream: Upstream
) -> None:
    gate = await routed(world.url)
    token = bearer(world.token(world.agent))
    assert (await ask(gate, get("/tried/x", token))).status == 200
    seen = upstream.requests[-1]
    assert seen.one("X-User-ID") == str(world.agent)
    assert "users:read" not in (seen.one("X-User-Permissions") or "").split(",")
    assert await shadowed(gate) == {'reason="forbidden",route="tried"': 1.0}
    is_refusal(await ask(gate, get("/held/x", token)), 403)
    assert len(upstream.requests) == 1


async def test_in_shadow_a_caller_without_proof_is_forwarded_as_nobody(
    world: World, routed: Routed, upstream: Upstream
) -> None:
    gate = await routed(world.url)
    token = bearer(world.token(world.agent))
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.both)
    lies = tuple(f"{name}: evil" for name in IDENTITY)
    for lines, reason in (
        ((), "missing"),
        (("Authorization: Basic eDp5",), "malformed"),
        ((bearer("x.y.z"),), "malformed"),
        ((bearer(world.token(world.root, now=1000.0)),), "expired"),
        (("X-API-Key: whm_x",), "malformed"),
        (("X-API-Key: whm_0123456789abcdef0123456789abcdef",), "unknown"),
        ((bearer(world.token(world.both)),), "disabled"),
        ((token, bearer(world.token(world.root))), "malformed"),
        ((token, f"X-Organization-ID: {world.other}"), "forbidden"),
    ):
        before = await shadowed(gate)
        assert (await ask(gate, get("/tried/x", *lines, *lies))).status == 200
        assert is_nobody(upstream.requests[-1])
        label = f'reason="{reason}",route="tried"'
        assert (await shadowed(gate))[label] == before.get(label, 0) + 1
        is_refusal(
            await ask(gate, get("/held/x", *lines)),
            403 if reason == "forbidden" else 400 if len(lines) == 2 else 401,
        )
    assert b"evil" not in upstream.seen


async def test_in_shadow_a_permitted_caller_is_not_recorded(
    world: World, routed: Routed, upstream: Upstream
) -> None:
    gate = await routed(world.url)
    assert (await ask(gate, get("/tried/x", bearer(world.token(world.admin))))).status == 200
    assert upstream.requests[-1].one("X-User-ID") == str(world.admin)
    assert (await ask(gate, get("/open"))).status == 200
    assert await shadowed(gate) == {}


async def test_an_outage_is_recorded_and_forwarded_as_nobody(routed: Routed, upstream: Upstream) -> None:
    """A rule that is only being tried breaks nothing."""
    gate = await routed()
    line = "X-API-Key: whm_0123456789abcdef0123456789abcdef"
    assert (await ask(gate, get("/tried/x", line))).status == 200
    assert is_nobody(upstream.requests[-1])
    assert await shadowed(gate) == {'reason="store_down",route="tried"': 1.0}
    is_refusal(await ask(gate, get("/held/x", line)), 503)


async def test_what_is_no_verdict_on_the_caller_is_refused_in_shadow_too(
    world: World, routed: Routed, upstream: Upstream
) -> None:
    gate = await routed(world.url)
    token = bearer(world.token(world.agent))
    is_refusal(await ask(gate, get("/tried/../held/x", token)), 400)
    is_refusal(await ask(gate, get("/tried//x", token)), 400)
    is_refusal(await ask(gate, get("/nowhere", token)), 404)
    is_refusal(await ask(gate, get("/tried/x", token, "X-Organization-ID: nonsense")), 400)
    assert upstream.seen == b""


async def test_the_whole_gateway_can_be_in_shadow_but_for_what_it_hosts(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, shadow=True)
    for method in ("GET", "POST", "DELETE"):
        assert (await ask(gate, request(method, "/api/contacts"))).status == 200
        assert is_nobody(upstream.requests[-1])
    assert await shadowed(gate) == {'reason="missing",route="protected"': 3.0}
    number = len(upstream.requests)
    agent = bearer(world.token(world.agent))
    is_refusal(await ask(gate, get("/api/api-keys")), 401)
    is_refusal(await ask(gate, get("/api/api-keys", agent)), 403)
    is_refusal(await ask(gate, post("/api/api-keys", {"name": "x"}, agent)), 403)
    is_refusal(await ask(gate, post("/api/auth/switch-org", {"organization_id": str(world.other)})), 401)
    is_refusal(await ask(gate, get("/api/auth/sessions")), 401)
    assert len(upstream.requests) == number


async def test_the_access_log_says_what_would_have_been_refused(
    world: World, routed: Routed, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    gate = await routed(world.url, log={"access": True})
    await ask(gate, get("/tried/x", bearer(world.token(world.agent))))
    await gate.stop()
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines() if line.startswith(b"{")]
    (line,) = [line for line in lines if line.get("event") == "request"]
    assert (line["status"], line["shadow"]) == (200, "forbidden")
    assert line["shadow_detail"] == "Missing permission users:read"
    assert "reason" not in line


async def test_a_decision_in_shadow_lets_pass_and_is_recorded(world: World, routed: Routed) -> None:
    gate = await routed(world.url, decision={"path": "/decisions"}, trusted_proxies=["127.0.0.0/8"])
    for path, status in (("/tried/x", 200), ("/held/x", 401)):
        answer = await ask(gate, get("/decisions/nginx", "X-Original-Method: GET", f"X-Original-URI: {path}"))
        assert answer.status == status
        assert answer.one("X-User-ID") is None
    assert await shadowed(gate) == {'reason="missing",route="tried"': 1.0}
