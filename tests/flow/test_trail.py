"""The audit trail of a whole gateway: who signed in and changed what, from where, and what was refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from authcore.trail import ChainPosition
from gateway.endpoints.hosted import ENDPOINTS
from tests.support.admin import readings
from tests.support.calls import ask, bearer, get, granted, post, put, request
from tests.support.databases import execute
from tests.support.processes import eventually
from tests.support.trails import events, recorded, records, verified
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from authcore.trail import AuditRecord
    from gateway.app import Gateway
    from tests.support.worlds import Start, World

AGENT = "agent@example.com"
FROM = ("User-Agent: Curl of the test", "X-Request-ID: of-the-client")


async def signed_in(gate: Gateway, email: str = AGENT) -> dict[str, Any]:
    return await granted(gate, post("/api/auth/login", {"email": email, "password": PASSWORD}, *FROM))


async def one(world: World, event: str) -> AuditRecord:
    found = await recorded(world.store, event)
    assert len(found) == 1, found
    return found[0]


def test_every_endpoint_that_changes_something_has_an_event() -> None:
    """A GET changes nothing, but for the way back from a provider, which begins a session."""
    without = {(one.method, one.path) for one in ENDPOINTS if one.event is None and one.method != "GET"}
    assert without == set()
    by_route = {(one.method, one.route_name): one.event for one in ENDPOINTS if one.event is not None}
    assert all(
        by_route[one.method, one.route_name] == one.event for one in ENDPOINTS if one.event is not None
    )


async def test_a_sign_in_has_the_user_the_session_and_where_it_came_from(world: World, start: Start) -> None:
    gate = await start(world.url, trusted_proxies=("127.0.0.1/32",))
    raw = post(
        "/api/auth/login", {"email": AGENT, "password": PASSWORD}, *FROM, "X-Forwarded-For: 203.0.113.9"
    )
    answer = await granted(gate, raw)
    found = await one(world, "sign_in")
    session = (await granted(gate, get("/api/auth/whoami", bearer(answer["access_token"]))))["session_id"]
    assert (found.outcome, found.reason) == ("success", None)
    assert (found.user_id, found.email, found.organization_id) == (world.agent, AGENT, world.home)
    assert str(found.session_id) == session
    assert (found.address, found.user_agent, found.request_id) == (
        "203.0.113.9",
        "Curl of the test",
        "of-the-client",
    )
    assert (found.api_key_id, found.operator) == (None, None)


async def test_a_refused_sign_in_has_the_reason_and_the_e_mail_that_was_tried(
    world: World, gate: Gateway
) -> None:
    for email, password in (
        (AGENT, "wrong"),
        ("nobody@example.com", "wrong"),
        ("hunter2-typed-here", "wrong"),
    ):
        assert (
            await ask(gate, post("/api/auth/login", {"email": email, "password": password}))
        ).status == 401
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    assert (await ask(gate, post("/api/auth/login", {"email": AGENT, "password": PASSWORD}))).status == 401
    found = await recorded(world.store, "sign_in", 4)
    assert {one.outcome for one in found} == {"refused"}
    assert [one.email for one in found] == [AGENT, "nobody@example.com", None, AGENT]
    assert [one.facts["error"] for one in found] == ["LoginRejected"] * 3 + ["UserDisabled"]
    assert found[0].reason == found[1].reason
    assert found[3].reason == "disabled"
    assert {one.user_id for one in found} == {None}, "nobody is proved"


async def test_what_a_user_does_to_sessions_is_recorded(world: World, gate: Gateway) -> None:
    both = "both@example.com"
    first, second = await signed_in(gate, both), await signed_in(gate, both)
    token = bearer(first["access_token"])
    await granted(gate, post("/api/auth/switch-org", {"organization_id": str(world.other)}, token))
    switched = await one(world, "switch_organization")
    assert (switched.organization_id, switched.target) == (world.other, str(world.other))
    assert switched.facts == {"from": str(world.home)}
    await granted(gate, post("/api/auth/switch-org", {"organization_id": str(world.home)}, token))
    await granted(gate, post("/api/auth/logout", {"refresh_token": second["refresh_token"]}))
    left = await one(world, "logout")
    assert (left.user_id, left.organization_id) == (world.both, world.home)
    for nothing in ({}, {"refresh_token": second["refresh_token"]}, {"refresh_token": "rubbish"}):
        await granted(gate, post("/api/auth/logout", nothing))
    await granted(gate, request("POST", "/api/auth/logout-all", token))
    ended = await one(world, "end_sessions")
    assert (ended.user_id, ended.facts) == (world.both, {"sessions": 1})
    assert len(await records(world.store, event="logout")) == 1, "what ends no session is no logout"
    assert len(await records(world.store, event="switch_organization")) == 1, "who stays switches nothing"


async def test_a_logout_is_recorded_for_each_session_that_it_ends(world: World, gate: Gateway) -> None:
    mine, theirs = await signed_in(gate), await signed_in(gate, "both@example.com")
    body, line = {"refresh_token": mine["refresh_token"]}, bearer(theirs["access_token"])
    await granted(gate, post("/api/auth/logout", body, line))
    found = await recorded(world.store, "logout", 2)
    assert {record.user_id for record in found} == {world.agent, world.both}
    assert len({record.session_id for record in found}) == 2
    assert [record.facts for record in found] == [{}, {}], "the record of one user names nothing of another"


async def test_a_refresh_is_recorded_only_when_its_token_was_used_before(world: World, start: Start) -> None:
    gate = await start(world.url, token={"reuse": "strict", "grace_seconds": 0})
    pair = await signed_in(gate)
    body = {"refresh_token": pair["refresh_token"]}
    await granted(gate, post("/api/auth/refresh", body))
    assert (await ask(gate, post("/api/auth/refresh", body))).status == 401
    found = await one(world, "refresh_reuse")
    assert (found.user_id, found.outcome, found.reason) == (world.agent, "refused", "reused")
    assert found.organization_id == world.home
    assert found.session_id is not None
    assert (await ask(gate, post("/api/auth/refresh", body))).status == 401
    assert (await ask(gate, post("/api/auth/refresh", {"refresh_token": "x"}))).status == 401
    await signed_in(gate)
    await recorded(world.store, "sign_in", 2)
    assert len(await records(world.store, event="refresh_reuse")) == 1


async def test_changes_of_keys_invitations_and_passwords_name_what_was_changed(
    world: World, gate: Gateway
) -> None:
    admin = bearer(world.token(world.admin))
    key = await granted(gate, post("/api/api-keys", {"name": "ci"}, admin))
    await granted(gate, put(f"/api/api-keys/{key['id']}", {"is_active": False}, admin))
    await granted(gate, request("DELETE", f"/api/api-keys/{key['id']}", admin))
    assert (await ask(gate, request("DELETE", f"/api/api-keys/{key['id']}", admin))).status == 404
    invited = await granted(gate, post("/api/auth/invitations", {"email": "new@example.com"}, admin))
    await granted(gate, request("DELETE", f"/api/auth/invitations/{invited['id']}", admin))
    body = {"current_password": PASSWORD, "new_password": "another good password"}
    await granted(gate, put("/api/auth/password", body, bearer((await signed_in(gate))["access_token"])))
    await recorded(world.store, "change_password")
    found = await records(world.store)
    assert events(found) == [
        ("create_api_key", "success"),
        ("switch_api_key", "success"),
        ("delete_api_key", "success"),
        ("delete_api_key", "refused"),
        ("create_invitation", "success"),
        ("revoke_invitation", "success"),
        ("sign_in", "success"),
        ("change_password", "success"),
    ]
    assert [one.target for one in found[:4]] == [key["id"]] * 4
    assert [one.target for one in found[4:6]] == [invited["id"]] * 2
    assert {one.user_id for one in found[:6]} == {world.admin}
    assert found[1].facts == {"is_active": False}


async def test_a_registration_is_recorded_with_the_new_user(world: World, gate: Gateway) -> None:
    body = {
        "email": "new@example.com",
        "password": PASSWORD,
        "full_name": "New",
        "organization_id": str(world.home),
    }
    answer = await granted(gate, post("/api/auth/register", body))
    assert (await ask(gate, post("/api/auth/register", {**body, "password": "wrong password"}))).status == 409
    found = await recorded(world.store, "register", 2)
    assert (str(found[0].user_id), found[0].organization_id) == (answer["user"]["id"], world.home)
    assert (found[1].outcome, found[1].email, found[1].user_id) == ("refused", "new@example.com", None)


async def test_a_change_by_an_api_key_names_the_key(world: World, gate: Gateway) -> None:
    line = f"X-API-Key: {world.api_key}"
    await granted(gate, put(f"/api/api-keys/{world.api_key_id}", {"is_active": False}, line))
    found = await one(world, "switch_api_key")
    assert (found.user_id, found.api_key_id) == (world.admin, world.api_key_id)


async def test_of_refusals_before_the_endpoint_those_of_proven_callers_to_change_something_are_recorded(
    world: World, gate: Gateway
) -> None:
    agent = bearer(world.token(world.agent))
    for raw, status in (
        (post("/api/api-keys", {"name": "x"}, agent, *FROM), 403),
        (get("/api/api-keys", agent), 403),
        (get("/api/contacts", bearer("rubbish")), 401),
        (post("/api/api-keys", {"name": "x"}), 401),
        (post("/api/api-keys", {"name": "x"}, bearer("rubbish")), 401),
        (post("/api/auth/login", {"email": 7}), 400),
    ):
        assert (await ask(gate, raw)).status == status
    await signed_in(gate)
    await recorded(world.store, "sign_in")
    found = await records(world.store)
    assert events(found) == [("create_api_key", "refused"), ("sign_in", "success")]
    assert (found[0].user_id, found[0].reason) == (world.agent, "forbidden")
    assert found[0].user_agent == "Curl of the test"
    assert found[0].facts == {"path": "/api/api-keys"}


async def test_refusals_are_bounded_by_the_minute_and_successes_are_not(world: World, start: Start) -> None:
    gate = await start(
        world.url, audit={"refusals": 8}, signin={"free_failures": 1000, "address_free_failures": 1000}
    )
    for _ in range(6):
        assert (await ask(gate, post("/api/auth/login", {"email": AGENT, "password": "wrong"}))).status == 401
    for _ in range(3):
        await signed_in(gate)
    await recorded(world.store, "sign_in", 5)
    assert (await readings(gate))["gateway_audit_omitted_total"] == 4
    await gate.stop()
    found = await records(world.store)
    assert events(found) == [("sign_in", "refused")] * 2 + [("sign_in", "success")] * 3 + [
        ("refusals_omitted", "refused")
    ]
    assert found[-1].facts == {"omitted": 4}, "a quarter of the allowance is one network's"


async def test_with_the_trail_off_nothing_is_written(world: World, start: Start) -> None:
    gate = await start(world.url, audit={"table": False, "log": False})
    await signed_in(gate)
    await gate.stop()
    assert await records(world.store) == []


async def test_while_the_database_is_away_records_wait_and_what_finds_no_room_is_counted(
    world: World, start: Start, postgres_url: str
) -> None:
    gate = await start(world.url, audit={"buffer": 100, "refusals": 1000})
    name = urlsplit(world.url).path.lstrip("/")
    await signed_in(gate)
    await recorded(world.store, "sign_in")
    await execute(
        postgres_url,
        f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",  # noqa: S608 -- the test's
    )
    for _ in range(120):
        assert (
            await ask(gate, post("/api/auth/login", {"email": AGENT, "password": PASSWORD}))
        ).status == 503
    state = await readings(gate)
    assert state["gateway_audit_waiting"] == 100
    assert state["gateway_audit_lost_total"] == 20
    await execute(postgres_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    async def are_written() -> bool:
        return (await readings(gate))["gateway_audit_written_total"] >= 102

    await eventually(are_written)
    found = await records(world.store)
    assert events(found) == [
        ("sign_in", "success"),
        *[("sign_in", "failed")] * 100,
        ("records_lost", "failed"),
    ]
    assert [one.at for one in found] == sorted(one.at for one in found)
    assert (found[-1].facts["lost"], found[-1].reason) == (20, "buffer_full")
    assert await verified(world.store) == (102, "")


async def test_what_waits_at_the_end_is_written(world: World, start: Start) -> None:
    gate = await start(world.url)
    await signed_in(gate)
    await gate.stop()
    assert events(await records(world.store)) == [("sign_in", "success")]


async def test_two_gateways_write_one_chain(world: World, start: Start) -> None:
    gates = [await start(world.url) for _ in range(2)]
    for turn in range(10):
        await signed_in(gates[turn % 2])
    await recorded(world.store, "sign_in", 10)
    assert await verified(world.store) == (10, "")


SECRETS = (
    "hunter2-is-my-password",
    "whm_0123456789abcdef0123456789abcdef",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln",
)


@pytest.mark.parametrize("secret", SECRETS)
async def test_no_secret_of_a_client_is_in_the_trail(world: World, gate: Gateway, secret: str) -> None:
    admin = bearer(world.token(world.admin))
    lines = (f"User-Agent: {secret if secret != SECRETS[0] else 'x'}", f"Cookie: whm_access={secret}")
    for raw in (
        post("/api/auth/login", {"email": AGENT, "password": secret}, *lines),
        post("/api/auth/login", {"email": secret, "password": secret}, *lines),
        post("/api/auth/refresh", {"refresh_token": secret}, *lines),
        post("/api/auth/logout", {"refresh_token": secret}, f"Authorization: Bearer {secret}", *lines),
        put("/api/auth/password", {"current_password": secret, "new_password": secret}, admin, *lines),
        post(
            "/api/auth/register",
            {
                "email": AGENT,
                "password": secret,
                "full_name": "x",
                "invitation": secret,
                "organization_id": str(world.home),
            },
            *lines,
        ),
        post("/api/api-keys", {"name": "n" if secret == SECRETS[0] else secret}, admin, *lines),
    ):
        await ask(gate, raw)
    pair = await signed_in(gate)
    await recorded(world.store, "sign_in", 3)
    key = await granted(gate, post("/api/api-keys", {"name": "x"}, admin))
    await recorded(world.store, "create_api_key", 2)
    rows = await world.sql("SELECT to_jsonb(a)::text AS row FROM gateway_audit a")
    text = json.dumps([row["row"] for row in rows])
    for planted in (secret, PASSWORD, pair["access_token"], pair["refresh_token"], key["key"]):
        assert planted not in text


# -- GET /api/auth/audit -------------------------------------------------------------------------------------------

AUDIT = "/api/auth/audit"


async def listed(gate: Gateway, line: str, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await granted(gate, get(f"{AUDIT}{query}", line)))["records"]
    return found


async def test_an_administrator_reads_their_own_organization_and_a_super_admin_all(
    world: World, gate: Gateway
) -> None:
    await signed_in(gate)
    both = await signed_in(gate, "both@example.com")
    there = bearer(both["access_token"])
    await granted(gate, post("/api/auth/switch-org", {"organization_id": str(world.other)}, there))
    await ask(gate, post("/api/auth/login", {"email": "nobody@example.com", "password": "x"}))
    admin, root = bearer(world.token(world.admin)), bearer(world.token(world.root, is_super_admin=True))
    own = await listed(gate, admin)
    assert [(one["event"], one["email"]) for one in own] == [
        ("sign_in", "both@example.com"),
        ("sign_in", AGENT),
    ]
    assert {one["organization_id"] for one in own} == {str(world.home)}
    assert len(await listed(gate, root)) == 4
    assert [one["event"] for one in await listed(gate, root, f"?organization={world.other}")] == [
        "switch_organization"
    ]
    assert [one["reason"] for one in await listed(gate, root, "?outcome=refused")] == ["unknown"]
    (switch,) = await listed(gate, root, "?event=switch_organization")
    assert switch["details"] == {"from": str(world.home)}
    _, key = await world.accounts.administration.create_api_key(world.root, world.home, "of a super admin")
    for line in (admin, f"X-API-Key: {world.api_key}", f"X-API-Key: {key}"):
        assert (await ask(gate, get(f"{AUDIT}?organization={world.other}", line))).status == 403
    assert await listed(gate, f"X-API-Key: {key}") == own
    assert (await listed(gate, f"X-API-Key: {world.api_key}")) == own
    for line, status in ((bearer(world.token(world.agent)), 403), ("X-Nothing: here", 401)):
        assert (await ask(gate, get(AUDIT, line))).status == status


async def test_the_trail_of_one_organization_names_no_other(world: World, gate: Gateway) -> None:
    """An organization's id is all that registering there asks for."""
    both = bearer((await signed_in(gate, "both@example.com"))["access_token"])
    await granted(gate, post("/api/auth/switch-org", {"organization_id": str(world.other)}, both))
    agent = bearer((await signed_in(gate))["access_token"])
    refused = await ask(gate, post("/api/auth/switch-org", {"organization_id": str(world.other)}, agent))
    assert refused.status == 403
    await recorded(world.store, "switch_organization", 2)
    for mine, theirs in ((world.home, world.other), (world.other, world.home)):
        _, key = await world.accounts.administration.create_api_key(world.root, mine, "a reader")
        found = await listed(gate, f"X-API-Key: {key}", "?event=switch_organization")
        assert [one["organization_id"] for one in found] == [str(mine)]
        assert str(theirs) not in repr(found)
        assert str(mine) in (found[0]["target"], found[0]["details"].get("from"))


async def test_pages_follow_each_other_while_records_are_written(world: World, gate: Gateway) -> None:
    admin = bearer(world.token(world.admin))
    for _ in range(5):
        await signed_in(gate)
    seen: list[int] = []
    query = "?limit=2"
    while True:
        page = await granted(gate, get(f"{AUDIT}{query}", admin))
        seen += [one["seq"] for one in page["records"]]
        if page["next"] is None:
            break
        query = f"?limit=2&before={page['next']}"
        await signed_in(gate)
    assert seen == [5, 4, 3, 2, 1]


async def test_filters_leave_out_what_they_do_not_name(world: World, gate: Gateway) -> None:
    admin = bearer(world.token(world.admin))
    await signed_in(gate)
    key = await granted(gate, post("/api/api-keys", {"name": "ci"}, admin))
    (made,) = await listed(gate, admin, "?event=create_api_key")
    assert (made["target"], made["user_id"], made["details"]) == (key["id"], str(world.admin), {"name": "ci"})
    assert [one["event"] for one in await listed(gate, admin, f"?user={world.agent}")] == ["sign_in"]
    assert [one["event"] for one in await listed(gate, admin, "?email=AGENT@example.com")] == ["sign_in"]
    moment = made["at"]
    assert [one["event"] for one in await listed(gate, admin, f"?since={moment}")] == ["create_api_key"]
    assert [one["event"] for one in await listed(gate, admin, f"?until={moment}")] == ["sign_in"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "before=0",
        "before=-1",
        f"before={2**63}",
        "user=x",
        "since=2026-11-28",
        "since=yesterday",
        "outcome=maybe",
        "organization=1",
        f"event={'x' * 256}",
        "since=0001-01-01T00:00:00%2B23:59",
        "until=9999-12-31T23:59:59-23:59",
        "email=%00",
        "event=a%00b",
    ],
)
async def test_what_is_asked_for_wrongly_is_refused(world: World, gate: Gateway, query: str) -> None:
    answer = await ask(gate, get(f"{AUDIT}?{query}", bearer(world.token(world.admin))))
    assert answer.status == 400
    assert query.partition("=")[0] in answer.json()["message"]


async def test_without_the_table_there_is_no_endpoint(world: World, start: Start) -> None:
    off = await start(world.url, audit={"table": False})
    assert AUDIT not in (await ask(off, get("/api/auth/openapi.json"))).body.decode()


# -- standard output -----------------------------------------------------------------------------------------------


async def test_each_record_is_an_event_of_its_own_with_the_fields_of_its_row(
    world: World, start: Start
) -> None:
    with capture_logs() as logged:
        gate = await start(world.url, audit={"table": False})
        await signed_in(gate)
        await ask(gate, post("/api/auth/login", {"email": AGENT, "password": "wrong"}))
        await gate.stop()
    done, refused = (one for one in logged if one["event"] == "audit_sign_in")
    assert (done["outcome"], done["user_id"], done["email"]) == ("success", world.agent, AGENT)
    assert (done["log_level"], done["user_agent"], "details" in done) == ("info", "Curl of the test", False)
    assert (refused["outcome"], refused["reason"], refused["details"]) == (
        "refused",
        "unknown",
        {"error": "LoginRejected"},
    )
    assert await records(world.store) == []


async def test_the_end_of_the_chain_is_logged_when_a_gateway_stops(world: World, start: Start) -> None:
    with capture_logs() as logged:
        gate = await start(world.url, audit={"log": False})
        await signed_in(gate)
        await gate.stop()
    (head,) = (one for one in logged if one["event"] == "audit_head")
    assert not [one for one in logged if one["event"] == "audit_sign_in"]
    noted = ChainPosition(head["seq"], bytes.fromhex(head["hash"]))
    assert await verified(world.store, noted) == (1, "")
    other = ChainPosition(1, bytes(32))
    assert "written anew" in (await verified(world.store, other))[1]
