"""/api/api-keys, answered by the gateway."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.support.accounts import KEYS, key_works
from tests.support.calls import ask, bearer, get, granted, is_refusal, post, put, request
from tests.support.processes import eventually

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World


async def create(gate: Gateway, world: World, name: str = "new", **more: object) -> dict[str, Any]:
    return await granted(gate, post(KEYS, {"name": name, **more}, bearer(world.token(world.admin))))


async def test_a_key_is_shown_once_and_works_until_it_is_deleted(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    admin = bearer(world.token(world.admin))
    made = await create(gate, world)
    key = made["key"]
    assert len(key) == 36
    assert key[4:20].startswith(made["key_prefix"])
    assert await key_works(gate, key)
    assert upstream.requests[-1].one("X-Auth-Key-ID") == made["id"]
    assert upstream.requests[-1].one("X-User-ID") == str(world.admin)
    one = f"{KEYS}/{made['id']}"
    for raw in (get(KEYS, admin), get(one, admin), put(one, {"is_active": True}, admin)):
        answer = await ask(gate, raw)
        assert answer.status == 200
        assert key.encode() not in answer.body
        assert b"key_hash" not in answer.body
    shown = await granted(gate, get(one, admin))
    assert {name: shown[name] for name in ("id", "name", "is_active", "expires_at")} == {
        "id": made["id"],
        "name": "new",
        "is_active": True,
        "expires_at": None,
    }
    assert await granted(gate, request("DELETE", one, admin)) == {"message": "API key deleted successfully"}

    async def gone() -> bool:
        return not await key_works(gate, key)

    await eventually(gone)
    for raw in (get(one, admin), put(one, {"is_active": True}, admin), request("DELETE", one, admin)):
        is_refusal(await ask(gate, raw), 404, "API key not found")
    assert len(await world.sql("SELECT FROM api_keys WHERE deleted_at IS NOT NULL")) == 1


async def test_a_key_is_switched_off_and_on(gate: Gateway, world: World) -> None:
    admin = bearer(world.token(world.admin))
    made = await create(gate, world)
    for is_active in (False, True):
        shown = await granted(gate, put(f"{KEYS}/{made['id']}", {"is_active": is_active}, admin))
        assert (shown["id"], shown["is_active"]) == (made["id"], is_active)

        async def so(is_active: bool = is_active) -> bool:
            return await key_works(gate, made["key"]) is is_active

        await eventually(so)


async def test_keys_are_listed_by_pages_newest_first_and_searched_as_text(
    gate: Gateway, world: World
) -> None:
    admin = bearer(world.token(world.admin))
    await world.sql(
        "INSERT INTO api_keys (organization_id, user_id, name, key_prefix, key_hash, created_at) "
        "SELECT $1, $2, 'key ' || n, 'x', 'x', now() + n * interval '1 second' FROM generate_series(1, 120) n",
        world.home,
        world.admin,
    )
    await world.sql("UPDATE api_keys SET key_prefix = '5eA5cHed' WHERE name = 'key 9'")
    await world.sql("UPDATE api_keys SET name = '100%_Sure\\' WHERE name = 'key 7'")

    async def listed(query: str) -> dict[str, Any]:
        return await granted(gate, get(f"{KEYS}?{query}", admin))

    first = await listed("limit=50")
    assert (first["total"], first["page"], first["limit"], len(first["api_keys"])) == (121, 1, 50, 50)
    assert [one["name"] for one in first["api_keys"][:2]] == ["key 120", "key 119"]
    third = await listed("page=3&limit=50")
    assert len(third["api_keys"]) == 21
    beyond = await listed("page=9&limit=50")
    assert (beyond["api_keys"], beyond["total"]) == ([], 121)
    assert (await listed("limit=100"))["limit"] == 100
    assert (await listed(f"page={10**6 + 1}"))["api_keys"] == []
    for nonsense in (
        "page=0&limit=0",
        "limit=101",
        "limit=100000",
        "page=-1&limit=-1",
        "page=x&limit=%00",
        "page=&limit=1e3",
        f"page={10**30}",
    ):
        answer = await listed(nonsense)
        assert (answer["page"], answer["limit"]) == (1, 50)
    for search, total in (
        ("KEY%2012", 2),
        ("100%25", 1),
        ("%25_s", 1),
        ("_", 1),
        ("%5C", 1),
        ("%00", 0),
        ("%25", 1),
        ("5eA5cHed", 1),
        ("EA5C", 1),
        ("5eA5cHed0", 0),
    ):
        assert (await listed(f"search={search}"))["total"] == total, search
        assert (await listed(f"search={search}&page=2"))["total"] == total, search


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Name is required"),
        ({"name": ""}, "Name is required"),
        ({"name": " "}, "Name is not acceptable"),
        ({"name": "a\nb"}, "Name is not acceptable"),
        ({"name": "x" * 256}, "Name is not acceptable"),
        ({"name": 7}, "Name must be a string"),
        *(
            ({"name": "x", "expires_at": wrong}, "Invalid expires_at format. Use RFC3339 format")
            for wrong in (
                "tomorrow",
                "2030-01-01T00:00:00",
                "2030-01-01",
                "2030-01-01 00:00:00Z",
                "2030-01-01t00:00:00z",
                "2030-02-30T00:00:00Z",
                "20300101T000000Z",
                "1900000000",
                " 2030-01-01T00:00:00Z",
                1900000000,
                1.5,
                True,
                ["2030-01-01T00:00:00Z"],
            )
        ),
        (
            {"name": "x", "expires_at": "2020-01-01T00:00:00Z"},
            "expires_at must be in the future, and before the year 9999",
        ),
        (
            {"name": "x", "expires_at": "9999-12-31T23:59:59-12:00"},
            "expires_at must be in the future, and before the year 9999",
        ),
        ([], "Invalid request body"),
    ],
)
async def test_what_cannot_be_a_key_is_refused(
    gate: Gateway, world: World, body: object, message: str
) -> None:
    is_refusal(await ask(gate, post(KEYS, body, bearer(world.token(world.admin)))), 400, message)
    assert len(await world.sql("SELECT FROM api_keys")) == 1


async def test_a_key_ends_when_it_was_said_to(gate: Gateway, world: World) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=4)
    made = await create(gate, world, expires_at=soon.isoformat())
    assert datetime.fromisoformat(made["expires_at"]) == soon.replace(microsecond=0)
    assert await key_works(gate, made["key"])

    async def ended() -> bool:
        return not await key_works(gate, made["key"])

    await eventually(ended)
    assert datetime.now(UTC) > soon - timedelta(seconds=2), "two clocks are compared"


async def test_each_method_needs_its_permission(gate: Gateway, world: World) -> None:
    one = f"{KEYS}/{world.api_key_id}"
    agent = bearer(world.token(world.agent))
    calls: dict[str, list[bytes]] = {
        "api_keys:read": [get(KEYS, agent), get(one, agent), request("HEAD", KEYS, agent)],
        "api_keys:write": [post(KEYS, {"name": "x"}, agent), put(one, {"is_active": False}, agent)],
        "api_keys:delete": [request("DELETE", one, agent)],
    }
    for permission, raws in calls.items():
        for raw in raws[:2]:
            is_refusal(await ask(gate, raw), 403, f"Missing permission {permission}")
    for raw in (get(KEYS), get(one), post(KEYS, {"name": "x"}), request("DELETE", one)):
        is_refusal(await ask(gate, raw), 401, "Missing authorization")
    is_refusal(await ask(gate, request("PATCH", one, agent)), 405)
    assert (await world.sql("SELECT is_active FROM api_keys"))[0]["is_active"]
    assert len(await world.sql("SELECT FROM api_keys")) == 1


async def test_another_organizations_keys_do_not_exist(gate: Gateway, world: World) -> None:
    await world.accounts.administration.add_member(world.admin, world.other, "admin")
    there = bearer(world.token(world.admin, world.other))
    assert (await granted(gate, get(KEYS, there)))["total"] == 0
    for wrong in (world.api_key_id, uuid4()):
        one = f"{KEYS}/{wrong}"
        for raw in (get(one, there), put(one, {"is_active": False}, there), request("DELETE", one, there)):
            is_refusal(await ask(gate, raw), 404, "API key not found")
    assert await key_works(gate, world.api_key)
    made = await granted(gate, post(KEYS, {"name": "there"}, there))
    assert made["organization_id"] == str(world.other)


async def test_what_is_no_uuid_is_no_id(gate: Gateway, world: World) -> None:
    admin = bearer(world.token(world.admin))
    for wrong in ("nonsense", "7", str(uuid4())[:-1]):
        one = f"{KEYS}/{wrong}"
        for raw in (get(one, admin), put(one, {"is_active": False}, admin), request("DELETE", one, admin)):
            is_refusal(await ask(gate, raw), 400, "Invalid API key ID")


async def test_switching_nothing_leaves_a_key_as_it_is(gate: Gateway, world: World) -> None:
    admin = bearer(world.token(world.admin))
    one = f"{KEYS}/{world.api_key_id}"
    for content in ({}, {"is_active": None}, {"name": "x"}):
        assert (await granted(gate, put(one, content, admin)))["is_active"] is True
    is_refusal(await ask(gate, put(f"{KEYS}/{uuid4()}", {}, admin)), 404, "API key not found")


async def test_moments_of_keys_are_written_as_whatomate_writes_them(gate: Gateway, world: World) -> None:
    made = await create(gate, world, expires_at="2999-01-01T01:30:00.123456789+01:00")
    assert made["expires_at"] == "2999-01-01T00:30:00Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["created_at"])
    assert (await create(gate, world, expires_at=""))["expires_at"] is None


async def test_the_organization_asked_for_is_the_one_acted_in(gate: Gateway, world: World) -> None:
    await world.accounts.administration.add_member(world.admin, world.other, "admin")
    asked = (bearer(world.token(world.admin)), f"X-Organization-ID: {world.other}")
    assert (await granted(gate, get(KEYS, *asked)))["total"] == 0
    assert (await granted(gate, post(KEYS, {"name": "x"}, *asked)))["organization_id"] == str(world.other)


async def test_a_spelling_that_only_resembles_the_path_is_not_answered_by_us(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    admin = bearer(world.token(world.admin))
    is_refusal(await ask(gate, get("/API/api-keys", admin)), 404)
    is_refusal(await ask(gate, get(f"/api/API-keys/{world.api_key_id}", admin)), 404)
    assert upstream.seen == b""


async def test_a_setting_leaves_the_keys_to_the_upstream(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, keys={"hosted": False})
    answers: list[Message] = [
        await ask(gate, raw)
        for raw in (
            get(KEYS, bearer(world.token(world.agent))),
            get(f"{KEYS}/{uuid4()}", bearer(world.token(world.agent))),
        )
    ]
    assert [answer.status for answer in answers] == [200, 200]
    assert len(upstream.requests) == 2
