"""``GET /api/auth/whoami`` shows each caller as upstreams see it, whatever the kind of credential."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import pytest

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
from tests.support.peers import Client
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.app import Gateway
    from tests.support.issuers import Provider
    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World

WHOAMI: Final = "/api/auth/whoami"
ON: Final[dict[str, Any]] = {
    "cookies": True,
    "cookie": {"secure": False},
    "jwt": {"leeway_seconds": 7},
    "database": {"connect_timeout_seconds": 10, "acquire_timeout_seconds": 10},
}
LIES: Final = (
    *(
        "X-User-ID: evil",
        "X_User_Email: evil",
        "X-Org-ID: evil",
        "X-User-Permissions: evil",
        "X-User-Role: evil",
    ),
    *(
        "X-Auth-Session-ID: evil",
        "X-Auth-Credential: evil",
        "X-Auth-Own-Key-ID: evil",
        "X-Auth-Expires-At: 1",
    ),
)
PROVED: Final[dict[str, tuple[Callable[[World], str], str, str]]] = {
    "our token": (lambda world: bearer(world.token(world.both)), "jwt", "both"),
    "Whatomate's token": (lambda world: bearer(whatomate_token(world.both, world.home)), "jwt", "both"),
    "a cookie": (lambda world: f"Cookie: whm_access={world.token(world.both)}", "cookie", "both"),
    "twins": (lambda world: f"Cookie: whm_access=x; whm_access={world.token(world.both)}", "cookie", "both"),
    "an API key": (lambda world: f"X-API-Key: {world.api_key}", "api_key", "admin"),
    "a super admin": (lambda world: bearer(world.token(world.root)), "jwt", "root"),
}
"""Caller -> the line that proves it, the kind of credential, and the user."""


def seen_by(upstream: Message) -> dict[str, Any]:
    """Return what an upstream learned of a caller, in the words of the answer."""
    session = upstream.one("X-Session")
    return {
        "user_id": upstream.one("X-User-ID"),
        "email": upstream.one("X-User-Email"),
        "name": upstream.one("X-User-Name"),
        "organization_id": upstream.one("X-Org-ID"),
        "role_id": upstream.one("X-User-Role-ID"),
        "role": upstream.one("X-User-Role"),
        "permissions": [one for one in (upstream.one("X-User-Permissions") or "").split(",") if one],
        "is_super_admin": upstream.one("X-User-Super-Admin") == "true",
        "session_id": session,
        "auth_method": upstream.one("X-Auth-Method"),
        "api_key_id": upstream.one("X-Auth-Key-ID"),
        "attributes": {},
    }


async def is_seen_alike(gate: Gateway, upstream: Upstream, line: str) -> dict[str, Any]:
    """Return a caller's whoami; assert that it is what the upstream receives."""
    assert (await ask(gate, get("/api/x", line, *LIES))).status == 200
    person = await granted(gate, get(WHOAMI, line, *LIES))
    own = {name: person[name] for name in ("credential", "expires_at")}
    assert person == {**seen_by(upstream.requests[-1]), **own}
    assert len(upstream.requests) == 1
    return person


@pytest.mark.parametrize("kind", PROVED)
async def test_every_caller_is_shown_as_the_upstream_sees_it(
    world: World, start: Start, upstream: Upstream, kind: str
) -> None:
    prove, credential, user = PROVED[kind]
    line = prove(world)
    gate = await start(world.url, **ON, header={"session_id": "X-Session"})
    person = await is_seen_alike(gate, upstream, line)
    assert person["credential"] == credential
    assert person["user_id"] == str(getattr(world, user))
    assert person["name"] == user.title()
    assert person["is_super_admin"] is (user == "root")
    assert (person["api_key_id"] is None) is (credential != "api_key")
    assert (person["expires_at"] is None) is (credential == "api_key")


async def test_the_caller_of_a_foreign_token_is_shown_with_the_kind_that_founds_nothing(
    world: World, start: Start, upstream: Upstream, provider: Provider
) -> None:
    line = bearer(provider.token())  # before the start: reading the key takes longer than a connection may
    gate = await start(world.url, **ON, issuer=provider.settings(), header={"session_id": "X-Session"})
    person = await is_seen_alike(gate, upstream, line)
    assert (person["credential"], person["auth_method"]) == ("foreign", "jwt")
    assert person["user_id"] == str(world.agent)
    assert person["session_id"] is None


async def test_another_organization_is_asked_for_as_of_upstreams(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url)
    there = f"X-Organization-ID: {world.other}"
    both = bearer(world.token(world.both))
    await ask(gate, get("/api/x", both, there))
    person = await granted(gate, get(WHOAMI, both, there))
    assert person["organization_id"] == str(world.other) == upstream.requests[-1].one("X-Org-ID")
    assert person["role"] == "manager" == upstream.requests[-1].one("X-User-Role")
    assert (await granted(gate, get(WHOAMI, both)))["organization_id"] == str(world.home)
    stranger = get(WHOAMI, bearer(world.token(world.agent)), there)
    is_refusal(await ask(gate, stranger), 403, "You are not a member of this organization")
    is_refusal(await ask(gate, get(WHOAMI, f"X-API-Key: {world.api_key}", there)), 403)
    is_refusal(await ask(gate, get(WHOAMI, both, "X-Organization-ID: x")), 400)


@pytest.mark.parametrize(
    "line",
    ["X-Nothing: here", "Authorization: Bearer x.y.z", "X-API-Key: whm_x", "Cookie: whm_access=x", *LIES],
)
async def test_nobody_is_shown_who_proves_nothing(world: World, start: Start, line: str) -> None:
    is_refusal(await ask(await start(world.url, **ON), get(WHOAMI, line)), 401)


async def test_a_user_who_was_switched_off_is_shown_nothing(world: World, start: Start) -> None:
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    answer = await ask(await start(world.url), get(WHOAMI, bearer(world.token(world.agent))))
    assert answer.status in {401, 403}
    assert b"agent@" not in answer.body


async def test_the_session_is_that_of_the_token(world: World, start: Start) -> None:
    gate = await start(world.url)
    body = {"email": "agent@example.com", "password": PASSWORD}
    token = (await granted(gate, post("/api/auth/login", body)))["access_token"]
    person = await granted(gate, get(WHOAMI, bearer(token)))
    assert UUID(person["session_id"]) == UUID(claims_of(token)["sid"])
    await granted(gate, request("POST", "/api/auth/logout-all", bearer(token)))
    is_refusal(await ask(gate, get(WHOAMI, bearer(token))), 401)


async def test_the_expiry_is_when_the_gateway_ceases_to_take_the_credential(
    world: World, start: Start
) -> None:
    gate = await start(world.url, **ON)

    async def expiry(line: str) -> float | None:
        expires_at = (await granted(gate, get(WHOAMI, line)))["expires_at"]
        return None if expires_at is None else datetime.fromisoformat(expires_at).timestamp()

    exp = int(time.time()) + 600
    assert await expiry(bearer(whatomate_token(world.agent, world.home, exp=exp))) == exp + 7
    by_key = f"X-API-Key: {world.api_key}"
    assert await expiry(by_key) is None
    new = await granted(
        gate,
        post(
            "/api/api-keys",
            {"name": "k", "expires_at": "2999-01-01T00:00:00Z"},
            bearer(world.token(world.admin)),
        ),
    )
    assert await expiry(f"X-API-Key: {new['key']}") == datetime(2999, 1, 1, tzinfo=UTC).timestamp()
    far = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    assert await expiry(bearer(whatomate_token(world.agent, world.home, exp=int(far)))) == far


async def test_renamed_and_withheld_headers_change_nothing_of_it(world: World, start: Start) -> None:
    token = bearer(world.token(world.agent))
    plain = await granted(await start(world.url), get(WHOAMI, token))
    names = {"user_email": "X-Mail", "user_permissions": "X-May", "org_id": "X-Tenant", "session_id": "X-Sid"}
    gate = await start(world.url, header=names, upstream={"identity": "none"})
    assert await granted(gate, get(WHOAMI, token, "X-Mail: evil", "X_May: evil")) == plain


async def test_a_signed_identity_is_for_upstreams_alone(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, signed={"identity": "HS256", "key": "k" * 32})
    token = bearer(world.token(world.agent))
    await ask(gate, get("/api/x", token))
    assert upstream.requests[-1].one("X-Identity")
    assert (await granted(gate, get(WHOAMI, token, "X-Identity: evil")))["attributes"] == {}


async def test_a_name_in_any_script_is_shown_whole(world: World, start: Start) -> None:
    await world.sql("UPDATE users SET full_name = $2 WHERE id = $1", world.agent, "Jürgen 😀 \u202eღ")
    person = await granted(await start(world.url), get(WHOAMI, bearer(world.token(world.agent))))
    assert person["name"] == "Jürgen 😀 \u202eღ"


async def test_permissions_of_any_number_close_no_endpoint_of_the_gateways(
    world: World, start: Start
) -> None:
    gate = await start(world.url)
    await world.sql(
        "INSERT INTO permissions (resource, action, description) "
        "SELECT 'made.' || repeat('x', 40) || n, 'read', '' FROM generate_series(1, 3000) n"
    )
    await world.sql(
        "INSERT INTO role_permissions (custom_role_id, permission_id) "
        "SELECT u.role_id, p.id FROM users u, permissions p WHERE u.id = $1 ON CONFLICT DO NOTHING",
        world.admin,
    )
    mine = bearer(world.token(world.admin))
    assert len((await granted(gate, get("/api/auth/whoami", mine)))["permissions"]) > 3000
    assert (await granted(gate, get("/api/auth/sessions", mine)))["sessions"] == []


async def test_a_user_without_a_role_has_none_and_no_permissions(world: World, start: Start) -> None:
    await world.sql("UPDATE users SET role_id = NULL WHERE id = $1", world.agent)
    await world.sql("UPDATE user_organizations SET role_id = NULL WHERE user_id = $1", world.agent)
    person = await granted(await start(world.url), get(WHOAMI, bearer(world.token(world.agent))))
    assert (person["role"], person["role_id"], person["permissions"]) == (None, None, [])


async def test_whoami_is_not_to_be_stored_and_head_answers_like_get(world: World, start: Start) -> None:
    gate, token = await start(world.url), bearer(world.token(world.agent))
    answer = await ask(gate, get(WHOAMI, token))
    assert answer.one("Cache-Control") == "no-store"
    async with Client(gate.address) as client:
        await client.send(request("HEAD", WHOAMI, token))
        head = await client.response(head_only=True)
    assert (head.status, head.one("Content-Length")) == (200, answer.one("Content-Length"))
    is_refusal(await ask(gate, request("POST", WHOAMI, token)), 405)


async def test_whoami_is_answered_from_the_cached_verdict_alone(world: World, start: Start) -> None:
    gate, token = await start(world.url), bearer(world.token(world.agent))
    first = await granted(gate, get(WHOAMI, token))
    await world.sql("ALTER TABLE users RENAME TO users_away")
    assert await granted(gate, get(WHOAMI, token)) == first
    is_refusal(await ask(gate, get(WHOAMI, bearer(world.token(uuid4())))), 503)
