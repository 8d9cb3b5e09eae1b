"""The contract of /api/auth: switching organizations, logging out."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from tests.support.accounts import sign_in
from tests.support.calls import (
    ask,
    bearer,
    claims_of,
    get,
    granted,
    is_refusal,
    post,
    request,
    whatomate_token,
)

if TYPE_CHECKING:
    from uuid import UUID

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import World


LOGOUT, SWITCH = "/api/auth/logout", "/api/auth/switch-org"


def refresh(token: object) -> bytes:
    return post("/api/auth/refresh", {"refresh_token": token})


def switch(token: str, organization: UUID) -> bytes:
    return post(SWITCH, {"organization_id": str(organization)}, bearer(token))


# -- switch-org -------------------------------------------------------------------------------------------------


async def test_switching_gives_tokens_and_role_of_the_other_organization(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    content = await granted(gate, switch(world.token(world.both), world.other))
    assert set(content) == {"user", "access_token", "refresh_token", "expires_in"}
    assert content["user"]["id"] == str(world.both)
    assert content["user"]["organization_id"] == str(world.other)
    assert content["user"]["role"]["name"] == "manager"
    assert {"resource": "contacts", "action": "read"} in content["user"]["role"]["permissions"]
    for name in ("access_token", "refresh_token"):
        claims = claims_of(content[name])
        assert claims["organization_id"] == str(world.other)
        assert claims["role_id"] == content["user"]["role_id"]
    assert upstream.seen == b""
    await ask(gate, get("/api/contacts", bearer(content["access_token"])))
    assert upstream.requests[0].one("X-Org-ID") == str(world.other)
    assert upstream.requests[0].one("X-User-Role") == "manager"


async def test_switching_asks_for_membership_but_not_of_super_admins(gate: Gateway, world: World) -> None:
    is_refusal(
        await ask(gate, switch(world.token(world.agent), world.other)),
        403,
        "You are not a member of this organization",
    )
    content = await granted(gate, switch(world.token(world.root), world.other))
    assert content["user"]["organization_id"] == str(world.other)
    is_refusal(await ask(gate, switch(world.token(world.agent), uuid4())), 404, "Organization not found")
    await world.sql("UPDATE organizations SET deleted_at = now() WHERE id = $1", world.other)
    for user in (world.both, world.root):
        is_refusal(await ask(gate, switch(world.token(user), world.other)), 404, "Organization not found")


async def test_switching_needs_an_access_token(gate: Gateway, world: World, upstream: Upstream) -> None:
    content = {"organization_id": str(world.other)}
    is_refusal(await ask(gate, post(SWITCH, content)), 401, "Missing authorization")
    theirs = whatomate_token(world.both, world.home, jti=str(uuid4()))
    is_refusal(await ask(gate, switch(theirs, world.other)), 401, "Invalid or expired token")
    is_refusal(await ask(gate, post(SWITCH, content, f"X-API-Key: {world.api_key}")), 403)
    assert upstream.seen == b""


async def test_an_injected_header_of_the_clients_own_switches_nobody(gate: Gateway, world: World) -> None:
    raw = post(
        SWITCH,
        {"organization_id": str(world.other)},
        bearer(world.token(world.agent)),
        f"X-User-ID: {world.both}",
        f"X_User_ID: {world.both}",
    )
    is_refusal(await ask(gate, raw), 403, "You are not a member of this organization")


# -- logout -----------------------------------------------------------------------------------------------------


async def test_logging_out_ends_the_session(gate: Gateway, upstream: Upstream) -> None:
    before = await sign_in(gate)
    latest = await granted(gate, refresh(before["refresh_token"]))
    assert await granted(gate, post(LOGOUT, {"refresh_token": latest["refresh_token"]})) == {
        "status": "logged_out"
    }
    answer = await ask(gate, refresh(latest["refresh_token"]))
    is_refusal(answer, 401)
    assert "revoked" in str(answer.json()["message"])
    assert upstream.seen == b""


async def test_a_used_token_logs_its_session_out_too(gate: Gateway) -> None:
    before = await sign_in(gate)
    latest = await granted(gate, refresh(before["refresh_token"]))
    await granted(gate, post(LOGOUT, {"refresh_token": before["refresh_token"]}))
    is_refusal(await ask(gate, refresh(latest["refresh_token"])), 401)


async def test_whatomates_token_can_be_logged_out(gate: Gateway, world: World) -> None:
    theirs = whatomate_token(world.agent, world.home, seconds=86_400, jti=str(uuid4()))
    await granted(gate, post(LOGOUT, {"refresh_token": theirs}))
    answer = await ask(gate, refresh(theirs))
    is_refusal(answer, 401)
    assert "revoked" in str(answer.json()["message"])


async def test_logging_out_says_yes_to_whatever_it_is_given(gate: Gateway, world: World) -> None:
    token = (await sign_in(gate))["refresh_token"]
    for raw in (
        request("POST", LOGOUT),
        request("POST", LOGOUT, body=b""),
        request("POST", LOGOUT, body=b"\xff\xfe{"),
        request("POST", LOGOUT, "Content-Type: text/plain", body=b"bye"),
        request("POST", LOGOUT, "Content-Encoding: gzip", body=b"not compressed by anything"),
        post(LOGOUT, []),
        post(LOGOUT, {}),
        post(LOGOUT, {"refresh_token": None}),
        post(LOGOUT, {"refresh_token": 7}),
        post(LOGOUT, {"refresh_token": "garbage"}),
        post(LOGOUT, {"refresh_token": "é\0.x.y"}),
        post(LOGOUT, {"refresh_token": world.token(world.agent)}),
        post(LOGOUT, {"refresh_token": whatomate_token(world.agent, world.home, seconds=-5, jti="x")}),
        post(LOGOUT, {}, "Authorization: nonsense"),
        post(LOGOUT, {}, "X-API-Key: nonsense"),
    ):
        assert await granted(gate, raw) == {"status": "logged_out"}, raw
    await granted(gate, refresh(token))
