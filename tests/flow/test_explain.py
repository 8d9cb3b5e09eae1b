"""POST /explain on the admin listener: what would become of a request, by the pipeline's own phases."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.calls import ask, bearer, get, granted, is_refusal, post, request
from tests.support.peers import Client

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World


ROUTES = """
routes:
  - {name: users, auth: required, require: ["users:read", "users:write"], match: {path: "/api/users/*"}}
  - {name: chats, auth: required, any: ["users:read", "roles:read"], match: {path: /api/chats}}
  - {name: moved, auth: required, strip_prefix: /moved, credential: strip, match: {path: "/moved/*"}}
  - {name: tried, auth: required, require: ["users:read"], shadow: true, match: {path: /tried}}
  - {name: open, auth: public, match: {path: /open}}
  - {name: either, auth: optional, match: {path: /either}}
"""


@pytest.fixture
def routed(start: Start, tmp_path: Path) -> Start:
    async def begin(*urls: str, **groups: Any) -> Gateway:
        path = tmp_path / "routes.yaml"
        path.write_text(ROUTES, encoding="utf-8")
        return await start(*urls, routes=path, **groups)

    return begin


async def asked(gateway: Gateway, **document: Any) -> Message:
    async with Client(gateway.admin_address) as admin:
        return await admin.exchange(post("/explain", {"method": "GET", **document}))


async def explained(gateway: Gateway, **document: Any) -> dict[str, Any]:
    answer = await asked(gateway, **document)
    assert answer.status == 200, answer.body
    return answer.json()


async def test_what_is_missing_is_named(world: World, routed: Start, upstream: Upstream) -> None:
    gate = await routed(world.url)
    told = await explained(gate, path="/api/users/1", **{"as": "agent@example.com"})
    assert told["verdict"] == {
        "allowed": False,
        "status": 403,
        "reason": "forbidden",
        "message": "Missing permission users:read, users:write",
        "missing": ["users:read", "users:write"],
    }
    assert told["route"]["name"] == "users"
    assert told["credential"] == "jwt"
    assert told["principal"]["user_id"] == str(world.agent)
    assert told["principal"]["role"] == "agent"
    assert "upstream" not in told
    told = await explained(gate, path="/api/chats", **{"as": str(world.agent)})
    assert told["verdict"]["missing_any_of"] == ["roles:read", "users:read"]
    assert upstream.seen == b""


async def test_what_the_upstream_would_get_is_what_it_gets(
    world: World, routed: Start, upstream: Upstream
) -> None:
    gate = await routed(world.url)
    headers = {
        "Accept": "text/plain",
        "X-User-ID": "evil",
        "Cookie": "theme=dark",
        "X-Organization-ID": str(world.other),
    }
    told = await explained(
        gate, path="/moved/a?b=c", host="gateway.test", headers=headers, **{"as": "both@example.com"}
    )
    assert told["verdict"] == {"allowed": True}
    lines = tuple(f"{name}: {value}" for name, value in headers.items())
    await ask(gate, get("/moved/a?b=c", *lines, bearer(world.token(world.both))))
    (seen,) = upstream.requests
    ours = {name.lower(): value for name, value in told["upstream"]["headers"]}
    theirs = {name.decode().lower(): value.decode() for name, value in seen.lines}
    for of_the_moment in ("x-request-id", "x-forwarded-for", "x-real-ip", "connection", "traceparent"):
        ours.pop(of_the_moment, None)
        theirs.pop(of_the_moment, None)
    assert ours.pop("cookie") == "(redacted)"
    assert theirs.pop("cookie") == "theme=dark"
    assert ours == theirs
    assert told["upstream"]["target"] == seen.start.split(b" ")[1].decode() == "/a?b=c"
    assert told["upstream"]["removed"] == ["Authorization"]
    assert told["upstream"]["addresses"] == [f"127.0.0.1:{upstream.port}"]


async def test_no_credential_is_told(world: World, start: Start) -> None:
    gate = await start(world.url)
    token = world.token(world.agent)
    for document in (
        {"headers": {"Authorization": f"Bearer {token}"}},
        {"headers": {"X-API-Key": world.api_key}},
        {"headers": [["Cookie", f"secret={world.api_key}"], ["X-API-Key", world.api_key]]},
        {"as": "agent@example.com"},
    ):
        answer = await asked(gate, path="/api/x", **document)
        told = answer.json()
        assert told["verdict"] == {"allowed": True}
        assert token.encode() not in answer.body
        assert world.api_key.encode() not in answer.body
        assert b"eyJ" not in answer.body
        assert b"(redacted)" in answer.body


async def test_a_person_is_named_by_address_id_or_name_at_organization(world: World, start: Start) -> None:
    gate = await start(world.url)
    for who, user in (
        ("agent@example.com", world.agent),
        ("AGENT@example.com", world.agent),
        (str(world.agent), world.agent),
        ("agent@home", world.agent),
        ("Agent@HOME", world.agent),
        ("both@other", world.both),
    ):
        told = await explained(gate, path="/api/x", **{"as": who})
        assert told["principal"]["user_id"] == str(user)
        assert told["principal"]["organization_id"] == str(world.other if who == "both@other" else world.home)
    told = await explained(gate, path="/api/x", organization=str(world.other), **{"as": "both@home"})
    assert told["principal"]["role"] == "manager"
    for who in ("nobody@example.com", "agent@other", "agent", "", "@", "%@home", "\x00@home"):
        is_refusal_of(await asked(gate, path="/api/x", **{"as": who}), 404)


def is_refusal_of(answer: Message, status: int) -> None:
    assert answer.status == status, answer.body
    assert answer.json()["status"] == "error"


async def test_a_user_who_may_not_sign_in_may_not_be_asked_for(world: World, start: Start) -> None:
    gate = await start(world.url)
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    told = await explained(gate, path="/api/x", **{"as": "agent@example.com"})
    assert (told["verdict"]["status"], told["verdict"]["reason"]) == (401, "disabled")
    told = await explained(gate, path="/api/x", organization=str(world.other), **{"as": "admin@example.com"})
    assert told["verdict"]["status"] == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/open", 200),
        ("/either", 200),
        ("/api/users/1", 401),
        ("/nowhere", 404),
        ("/api/../open", 400),
        ("/api/auth/login", 405),
    ],
)
async def test_an_anonymous_caller_may_be_asked_for(
    world: World, routed: Start, path: str, status: int
) -> None:
    gate = await routed(world.url)
    told = await explained(gate, path=path)
    assert told["verdict"].get("status", 200) == status
    assert (await ask(gate, get(path))).status == status


async def test_a_shadow_says_what_it_would_have_said(world: World, routed: Start) -> None:
    gate = await routed(world.url)
    told = await explained(gate, path="/tried", **{"as": "agent@home"})
    assert told["verdict"]["allowed"] is True
    assert told["verdict"]["shadow"]["status"] == 403
    assert told["verdict"]["shadow"]["missing"] == ["users:read"]
    assert told["route"]["shadow"] is True


async def test_an_outage_is_told_as_one(start: Start) -> None:
    gate = await start()
    key = {"X-API-Key": "whm_0123456789abcdef0123456789abcdef"}
    told = await explained(gate, path="/api/x", headers=key)
    assert (told["verdict"]["status"], told["verdict"]["reason"]) == (503, "store_down")
    is_refusal_of(await asked(gate, path="/api/x", **{"as": "agent@example.com"}), 503)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"path": "users"},
        {"path": "/a b"},
        {"path": "/x", "method": "get it"},
        {"path": "/x", "host": "a/b"},
        {"path": "/x", "headers": {"A B": "c"}},
        {"path": "/x", "headers": {"A": "b\r\nX-User-ID: c"}},
        {"path": "/x", "headers": {"Host": "b"}},
        {"path": "/x", "organization": "00000000-0000-0000-0000-000000000000"},
        {"path": "/x", "as": "agent@home", "headers": {"Authorization": "Bearer x"}},
        {"path": "/x", "who": "agent@home"},
    ],
)
async def test_what_asks_nothing_is_told_why(world: World, start: Start, document: dict[str, Any]) -> None:
    gate = await start(world.url)
    answer = await asked(gate, **document)
    assert answer.status in {200, 400}
    if answer.status == 200:
        assert answer.json()["verdict"]["status"] == 400  # a document within
    else:
        is_refusal_of(answer, 400)


async def test_outsiders_cannot_ask(world: World, start: Start, upstream: Upstream) -> None:
    """Not on the public listener, nor by a page in an operator's browser, which can send no such type unasked."""
    gate = await start(world.url)
    document = {"method": "GET", "path": "/api/x", "as": "agent@example.com"}
    await ask(gate, post("/explain", document))
    assert len(upstream.requests) == 1  # a path like any other
    body = json.dumps(document).encode()
    async with Client(gate.admin_address) as admin:
        for line in (
            "Content-Type: text/plain",
            "Content-Type: application/x-www-form-urlencoded",
            "X-Nothing: x",
        ):
            assert (await admin.exchange(request("POST", "/explain", line, body=body))).status == 415
        assert (await admin.exchange(get("/explain"))).status == 405


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [("GET", UPGRADE, 200), ("GET", {}, 401), ("POST", UPGRADE, 400), ("TRACE", {}, 501)],
)
async def test_a_head_is_explained_as_its_framing_is_read(
    world: World, start: Start, method: str, headers: dict[str, str], status: int
) -> None:
    gate = await start(world.url)
    told = await explained(gate, method=method, path="/ws", headers=headers)
    assert told["verdict"].get("status", 200) == status
    lines = [f"{name}: {value}" for name, value in headers.items()]
    answer = await ask(gate, request(method, "/ws", *lines))
    assert answer.status == status
    if status != 200:
        assert told["verdict"]["message"] == answer.json()["message"]


@pytest.mark.parametrize("path", ["/api/x", "/api/auth/login", "/nowhere"])
async def test_a_preflight_is_explained_as_it_is_answered(world: World, start: Start, path: str) -> None:
    gate = await start(world.url, cors={"origins": ["https://app.example"]})
    for origin, status in (("https://app.example", 204), ("https://evil.example", 403)):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        told = await explained(gate, method="OPTIONS", path=path, headers=headers)
        lines = [f"{name}: {value}" for name, value in headers.items()]
        answer = await ask(gate, request("OPTIONS", path, *lines))
        assert answer.status == status
        assert told["verdict"].get("status", 204) == status
        if status == 204:
            assert told["preflight"] is True
            assert "upstream" not in told
        else:
            assert told["verdict"]["message"] == answer.json()["message"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/x", {"Max-Forwards": "0"}),
        ("/nowhere", {"max-forwards": "00"}),
        ("*", {}),
        ("*", {"Max-Forwards": "1"}),
    ],
)
async def test_a_request_to_the_gateway_itself_is_explained_as_it_is_answered(
    world: World, start: Start, upstream: Upstream, path: str, headers: dict[str, str]
) -> None:
    gate = await start(world.url)
    told = await explained(gate, method="OPTIONS", path=path, headers=headers)
    assert told["verdict"] == {"allowed": True}
    assert told["answered_by_gateway"] is True
    assert "upstream" not in told
    lines = [f"{name}: {value}" for name, value in headers.items()]
    answer = await ask(gate, request("OPTIONS", path, *lines))
    assert (answer.status, answer.one("Allow") is not None) == (204, True)
    assert upstream.requests == []
    for method, more in (("GET", "0"), ("OPTIONS", "1")):
        passing = await explained(gate, method=method, path="/assets/x", headers={"Max-Forwards": more})
        assert "answered_by_gateway" not in passing
        assert ["max-forwards", "0"] in [
            [name.lower(), value] for name, value in passing["upstream"]["headers"]
        ]


async def test_explaining_a_ticket_uses_nothing_up_and_shows_no_token(world: World, start: Start) -> None:
    gate = await start(world.url)
    ticket = (await granted(gate, get("/api/auth/ws-token", bearer(world.token(world.agent)))))["token"]
    lines = [f"{name}: {value}" for name, value in UPGRADE.items()]
    for status in (200, 401):
        for name in ("token", "%74oken"):
            answer = await asked(gate, path=f"/ws?a=b&{name}={ticket}&c=d", headers=UPGRADE)
            assert answer.json()["verdict"].get("status", 200) == status
            assert ticket.encode() not in answer.body
            assert answer.json()["request"]["target"] == f"/ws?a=b&{name}=(redacted)&c=d"
        assert (await ask(gate, get(f"/ws?token={ticket}", *lines))).status == status


async def test_an_organization_is_named_by_id_slug_or_name(world: World, start: Start) -> None:
    gate = await start(world.url)
    for name in (str(world.other), "other", "Other"):
        told = await explained(gate, path="/api/x", organization=name, **{"as": "both@home"})
        assert told["principal"]["organization_id"] == str(world.other)
    is_refusal_of(await asked(gate, path="/api/x", organization="nowhere", **{"as": "both@home"}), 404)


async def test_explaining_counts_nowhere(world: World, start: Start) -> None:
    gate = await start(world.url)
    for _ in range(3):
        await explained(gate, path="/api/x", **{"as": "agent@example.com"})
        await explained(gate, path="/api/x")
    async with Client(gate.admin_address) as admin:
        page = (await admin.exchange(get("/metrics"))).body.decode()
    assert not [line for line in page.splitlines() if line.startswith("gateway_authentications_total{")]
    is_refusal(await ask(gate, get("/api/x")), 401)


async def test_the_command_line_can_ask_a_running_gateway(world: World, start: Start) -> None:
    token = "an-admin-token-of-the-tests"
    gate = await start(world.url, admin={"token": token})
    host, port = gate.admin_address
    command = (sys.executable, "-m", "gateway", "explain", "--gateway", f"http://{host}:{port}", "--as")
    for who, code, said, proof in (
        ("admin@home", 0, b"verdict     may pass", token),
        ("agent@home", 1, b"missing     all of api_keys:read", token),
        ("nobody@home", 3, b"Error: Nobody is called", token),
        ("admin@home", 3, b"Error: This needs the token of GATEWAY_ADMIN_TOKEN", ""),
    ):
        process = await asyncio.create_subprocess_exec(
            *command,
            who,
            "GET",
            "/api/api-keys",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "GATEWAY_ADMIN_TOKEN": proof},
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == code, out
        assert said in out


LIMITED = """
limits:
  net: {key: network, rate: 2/d}
  each: {key: user, rate: [9/d, 5/h], concurrency: 3, shadow: true}
routes:
  - {name: all, auth: required, match: {path: /*}, limits: [net, each], cost: 2}
"""


async def test_the_limits_that_would_be_met_are_shown_with_their_state_and_nothing_is_taken(
    world: World, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(LIMITED, encoding="utf-8")
    gate = await start(world.url, routes=path)
    net = {"name": "net", "key": ["network"], "cost": 2, "shadow": False, "grants": True, "left": {"net": 2}}
    each = {
        "name": "each",
        "key": ["user"],
        "cost": 2,
        "shadow": True,
        "grants": True,
        "left": {"each-3600s": 5, "each-86400s": 9},
        "at_work": 0,
        "at_once": 3,
    }
    agent = {"as": "agent@example.com", "client": "127.0.0.1"}
    for _ in range(3):
        assert (await explained(gate, path="/x", **agent))["limits"] == [net, each]
    assert (await explained(gate, path="/x"))["limits"] == [net]
    assert (await ask(gate, get("/x", bearer(world.token(world.agent))))).status == 200
    found = (await explained(gate, path="/x", **agent))["limits"]
    assert (found[0]["grants"], found[0]["left"]) == (False, {"net": 0})
    assert found[0]["retry_after_seconds"] > 80_000
    assert found[1]["left"] == {"each-3600s": 3, "each-86400s": 7}
    assert (await explained(gate, path="/x"))["limits"] == [net]  # another address is another network
    is_refusal(await ask(gate, get("/x")), 429)
