"""Identity headers of an upstream: which it is sent, and what is logged where it refuses their head."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from authcore.identity_headers import FAMILIES, HEADERS
from gateway.proxy.headers import fold
from tests.support.calls import ask, bearer, get, post
from tests.support.peers import Upstream

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from tests.support.peers import Message
    from tests.support.worlds import Start, World


KEY = "a-secret-of-the-identities-and-of-nobody-else"
SIGNED: dict[str, Any] = {"signed": {"identity": "HS256", "key": KEY}}
USUAL = {"user_id", "user_email", "user_name", "user_role", "user_role_id", "user_permissions"} | {
    *("user_super_admin", "org_id", "auth_method"),
}
LIES = [f"{header.name}: evil" for header in HEADERS] + ["X_User_ID: evil", "X-User-Anything: evil"]


def keys(seen: Message) -> set[str]:
    """The identity headers of a request, by key; each once, and no other of their families."""
    by_name = {header.name.lower(): header.key for header in HEADERS}
    names = [name.decode().lower() for name, _ in seen.lines if fold(name).decode().startswith(FAMILIES)]
    assert len(set(names)) == len(names)
    return {by_name[name] for name in names}


@pytest.mark.parametrize(
    ("identity", "sent"),
    [
        (None, USUAL),
        ("all", USUAL),
        ("none", set()),
        ("user_id,org_id", {"user_id", "org_id"}),
        ("user_permissions", {"user_permissions"}),
        ("-user_permissions", USUAL - {"user_permissions"}),
        ("-user_permissions,-user_email", USUAL - {"user_permissions", "user_email"}),
    ],
)
async def test_an_upstream_is_sent_what_it_asks_for_and_nothing_of_the_clients(
    world: World, start: Start, upstream: Upstream, identity: str | None, sent: set[str]
) -> None:
    gate = await start(world.url, upstream={} if identity is None else {"identity": identity})
    token = bearer(world.token(world.agent))
    for raw in (get("/api/x", token), get("/api/x", *LIES, token), get("/api/x", token)):
        assert (await ask(gate, raw)).status == 200
        assert keys(upstream.requests[-1]) == sent
    assert (await ask(gate, get("/assets/app.js", *LIES))).status == 200
    assert keys(upstream.requests[-1]) == set()
    assert b"evil" not in upstream.seen


@pytest.mark.parametrize(
    ("identity", "signed"), [("all", True), ("identity", True), ("-identity", False), ("none", False)]
)
async def test_the_signed_identity_is_one_of_them(
    world: World, start: Start, upstream: Upstream, identity: str, signed: bool
) -> None:
    gate = await start(world.url, upstream={"identity": identity}, **SIGNED)
    await ask(gate, get("/api/x", bearer(world.token(world.agent))))
    assert ("identity" in keys(upstream.requests[-1])) is signed


async def test_whatomate_is_sent_all_but_the_permissions_and_other_services_everything(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(Upstream())
        third = await stack.enter_async_context(Upstream())
        routes = tmp_path / "routes.yaml"
        routes.write_text(
            dedent(f"""\
            upstreams:
              billing: {{url: "http://127.0.0.1:{other.port}"}}
              small: {{url: "http://127.0.0.1:{third.port}", identity: [user_id, org_id]}}
            routes:
              - {{name: billing, auth: required, match: {{path: /billing}}, upstream: billing}}
              - {{name: small, auth: required, match: {{path: /small}}, upstream: small}}
              - {{name: more, auth: required, match: {{path: /more}}, upstream: small, identity: all}}
              - {{name: bare, auth: required, match: {{path: /bare}}, upstream: billing, identity: none}}
              - {{name: own, auth: required, match: {{path: /own}}, identity: -user_email}}
            """)
        )
        token = bearer(world.token(world.agent))
        for groups, whatomate in (
            ({}, USUAL - {"user_permissions"}),
            ({"upstream": {"identity": "all"}}, USUAL),
            ({"upstream": {"identity": "none"}}, set()),
        ):
            gate = await start(world.url, preset="whatomate", routes=routes, **groups)
            for path, receiver, sent in (
                ("/api/me", upstream, whatomate),
                ("/billing", other, USUAL),
                ("/small", third, {"user_id", "org_id"}),
                ("/more", third, USUAL),
                ("/bare", other, set()),
                ("/own", upstream, USUAL - {"user_email"}),
                ("/api/me", upstream, whatomate),
            ):
                assert (await ask(gate, get(path, token, *LIES))).status == 200, path
                assert keys(receiver.requests[-1]) == sent, path
            assert b"evil" not in upstream.seen + other.seen + third.seen


async def test_the_gateways_own_endpoints_know_the_caller_all_the_same(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, upstream={"identity": "none"})
    assert (await ask(gate, get("/api/api-keys", bearer(world.token(world.admin))))).status == 200
    assert upstream.seen == b""


async def test_a_decision_holds_what_the_service_is_to_be_sent(world: World, start: Start) -> None:
    gate = await start(
        world.url,
        upstream={"identity": "user_id"},
        decision={"path": "/decisions"},
        trusted_proxies=["127.0.0.0/8"],
    )
    answer = await ask(gate, get("/decisions/envoy/api/x", bearer(world.token(world.agent))))
    assert answer.status == 200
    assert keys(answer) == {"user_id"}
    removed = (answer.one("X-Envoy-Auth-Headers-To-Remove") or "").split(",")
    assert set(removed) >= {
        header.name.lower() for header in HEADERS if header.sent and header.key != "user_id"
    }


# -- an upstream that refuses a head -------------------------------------------------------------------------------


def records_of(capfd: pytest.CaptureFixture[bytes]) -> list[dict[str, Any]]:
    lines = capfd.readouterr().out.splitlines()
    return [json.loads(line) for line in lines if line.startswith(b'{"') and b'"event":"request"' in line]


def reports_of(logged: list[Any]) -> list[Any]:
    return [one for one in logged if one["event"] == "upstream_refused_head"]


def refusing(status: int, close: bool, heads: list[bytes]) -> Any:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            end = b"Connection: close\r\n" if close else b""
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n%b\r\n" % (status, end))
            if close:
                writer.close()
                return

    return script


@pytest.mark.parametrize(
    ("status", "close", "padding", "counted"),
    [
        (431, True, 0, True),
        (431, False, 0, True),
        (400, True, 3600, True),
        (413, True, 3600, True),
        (400, False, 3600, False),
        (400, True, 0, False),
        (404, True, 3600, False),
    ],
)
async def test_a_refused_head_is_recorded_with_what_it_grew_by(
    world: World,
    start: Start,
    upstream: Upstream,
    capfdbinary: pytest.CaptureFixture[bytes],
    status: int,
    close: bool,
    padding: int,
    counted: bool,
) -> None:
    heads: list[bytes] = []
    upstream.script = refusing(status, close, heads)
    gate = await start(world.url, log={"access": True})
    raw = get("/api/x?page=2", bearer(world.token(world.agent)), f"X-Pad: {'x' * padding}")
    with capture_logs() as logged:
        for _ in range(3):
            assert (await ask(gate, raw)).status == status
    await gate.stop()
    records, reports = records_of(capfdbinary), reports_of(logged)
    assert len(records) == len(heads) == 3
    if not counted:
        assert reports == []
        assert all("head_bytes_in" not in record for record in records)
        return
    identity = sum(
        len(line) + 2
        for line in heads[0].split(b"\r\n")
        if fold(line.partition(b":")[0]).decode().startswith(FAMILIES)
    )
    for record in records:
        assert (record["head_bytes_in"], record["head_bytes_out"]) == (len(raw), len(heads[0]))
        assert record["identity_bytes"] == identity
    (report,) = reports  # once a minute
    assert (report["log_level"], report["upstream"], report["status"]) == ("warning", "upstream", status)
    assert (report["head_bytes_in"], report["head_bytes_out"]) == (len(raw), len(heads[0]))
    assert "GATEWAY_UPSTREAM_IDENTITY" in report["advice"]


async def test_what_a_body_adds_to_the_head_is_counted(
    world: World, start: Start, upstream: Upstream, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    heads: list[bytes] = []
    upstream.script = refusing(431, True, heads)
    gate = await start(world.url, log={"access": True})
    raw = post("/api/x", {"a": 1}, bearer(world.token(world.agent)))
    assert (await ask(gate, raw)).status == 431
    await gate.stop()
    (record,) = records_of(capfdbinary)
    assert record["head_bytes_in"] == raw.index(b"\r\n\r\n") + 4
    assert record["head_bytes_out"] == len(heads[0])


async def test_a_head_that_did_not_grow_is_nobodys_event(
    world: World, start: Start, upstream: Upstream, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    upstream.script = refusing(431, True, [])
    gate = await start(world.url, log={"access": True})
    removed = [f"X-User-Anything: {'x' * 900}"]
    with capture_logs() as logged:
        assert (await ask(gate, get("/assets/app.js", *removed))).status == 431
    await gate.stop()
    (record,) = records_of(capfdbinary)
    assert record["head_bytes_out"] < record["head_bytes_in"]
    assert reports_of(logged) == []
