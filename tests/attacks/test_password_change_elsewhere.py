"""A password that somebody else than the gateway changed: whoever knew the old one is out, by whichever token."""

from __future__ import annotations

import asyncio
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

from authcore.principal import AuthMethod, Principal
from authcore.revocation import RevocationReason
from tests.support.calls import ask, bearer, claims_of, get, granted, is_refusal, post, request
from tests.support.databases import execute
from tests.support.domain import hashed
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.worlds import Start, World

    Pair = dict[str, Any]

WRITE_HASH = "UPDATE users SET password_hash = $2, updated_at = now() WHERE id = $1"
EVERY_COLUMN = (
    "UPDATE users SET email = email, password_hash = password_hash, full_name = full_name, settings = settings, "
    "is_active = is_active, role_id = role_id, updated_at = now() WHERE id = $1"
)
"""As Whatomate saves a row whose settings were changed: all columns, the hash among them."""
NEVER = {"cache_seconds": 3600, "refused_seconds": 3600}
"""What is noticed is not noticed by time."""


async def sign_in(gate: Gateway, name: str = "agent", password: str = PASSWORD) -> Pair:
    body = {"email": f"{name}@example.com", "password": password}
    return await granted(gate, post("/api/auth/login", body))


def refresh(pair: Pair) -> bytes:
    return post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]})


async def status(gate: Gateway, pair: Pair) -> int:
    return (await ask(gate, get("/api/contacts", bearer(pair["access_token"])))).status


async def is_over(gate: Gateway, pair: Pair) -> None:
    async with asyncio.timeout(20):
        while await status(gate, pair) == 200:
            await asyncio.sleep(0.01)
    is_refusal(
        await ask(gate, get("/api/contacts", bearer(pair["access_token"]))), 401, "Invalid or expired token"
    )
    answer = await ask(gate, refresh(pair))
    is_refusal(answer, 401)
    assert "revoked" in str(answer.json()["message"])


async def test_every_session_that_began_under_the_old_password_is_over_at_every_gateway(
    world: World, start: Start
) -> None:
    gates = [await start(world.url, identity=NEVER) for _ in range(2)]
    pairs = [await sign_in(gate) for gate in gates]
    raced = await granted(gates[0], refresh(pairs[0]))
    theirs = await sign_in(gates[0], "both")
    for pair in (*pairs, raced, theirs):
        for gate in gates:
            assert await status(gate, pair) == 200
    await world.sql(WRITE_HASH, world.agent, hashed("a new one entirely"))
    for gate in gates:
        for pair in (*pairs, raced):
            await is_over(gate, pair)
        assert await status(gate, theirs) == 200
    body = {"organization_id": str(world.home)}
    is_refusal(await ask(gates[0], post("/api/auth/switch-org", body, bearer(raced["access_token"]))), 401)
    new = await sign_in(gates[0], password="a new one entirely")
    assert await status(gates[1], new) == 200
    listed = await granted(gates[1], get("/api/auth/sessions", bearer(new["access_token"])))
    assert len(listed["sessions"]) == 1


async def test_without_triggers_it_is_noticed_within_the_cache_time(world: World, start: Start) -> None:
    await world.sql("DROP FUNCTION gateway_changed_users() CASCADE")
    gate = await start(world.url, identity={"cache_seconds": 1})
    pair = await sign_in(gate)
    assert await status(gate, pair) == 200
    await world.sql(WRITE_HASH, world.agent, hashed("a new one entirely"))
    await is_over(gate, pair)


async def test_a_row_that_is_saved_whole_with_the_hash_it_had_ends_nothing(
    world: World, start: Start
) -> None:
    gate = await start(world.url)
    pair = await sign_in(gate)
    for _ in range(3):
        await world.sql(EVERY_COLUMN, world.agent)
    await world.sql("UPDATE users SET full_name = 'Another' WHERE id = $1", world.agent)  # this one is told
    assert await status(gate, pair) == 200
    await granted(gate, refresh(pair))


async def test_an_api_key_is_no_session_and_goes_on(world: World, start: Start) -> None:
    gate = await start(world.url)
    await world.sql(WRITE_HASH, world.admin, hashed("a new one entirely"))
    answer = await ask(gate, get("/api/contacts", f"X-API-Key: {world.api_key}"))
    assert answer.status == 200


async def test_the_session_that_changes_it_here_goes_on_and_falls_with_the_next_change(
    world: World, start: Start
) -> None:
    gate, replica = await start(world.url, identity=NEVER), await start(world.url, identity=NEVER)
    mine, other = await sign_in(gate), await sign_in(gate)
    assert await status(replica, mine) == await status(replica, other) == 200
    raw = request(
        "PUT",
        "/api/auth/password",
        bearer(mine["access_token"]),
        "Content-Type: application/json",
        body=b'{"current_password": "%s", "new_password": "a new one entirely"}' % PASSWORD.encode(),
    )
    await granted(gate, raw)
    for one in (gate, replica):
        await is_over(one, other)
        assert await status(one, mine) == 200
    mine = await granted(gate, refresh(mine))
    await world.sql(WRITE_HASH, world.agent, hashed("and another"))
    for one in (gate, replica):
        await is_over(one, mine)


@pytest.mark.parametrize("empty", ["", None])
async def test_a_user_without_a_password_has_sessions_until_they_get_one(
    world: World, start: Start, empty: str | None
) -> None:
    gate = await start(world.url)
    pair = await sign_in(gate)
    await world.sql("ALTER TABLE users ALTER COLUMN password_hash DROP NOT NULL")
    await world.sql(WRITE_HASH, world.agent, empty)
    await is_over(gate, pair)  # they had one
    subject = await world.store.subject(world.agent, world.home)
    assert subject is not None
    opened = await world.sessions.open(subject, claims_of(pair["access_token"])["iat"])
    pair = {"access_token": opened.access_token, "refresh_token": opened.refresh_token}
    await world.sql(WRITE_HASH, world.agent, None if empty == "" else "")  # none and none are one
    assert await status(gate, pair) == 200
    pair = await granted(gate, refresh(pair))
    await world.sql(WRITE_HASH, world.agent, hashed("their first"))
    await is_over(gate, pair)


async def test_a_user_who_is_deleted_and_made_anew_has_none_of_their_old_sessions(
    world: World, start: Start
) -> None:
    gate = await start(world.url)
    pair = await sign_in(gate)
    await world.sql("UPDATE users SET deleted_at = now() WHERE id = $1", world.agent)
    await world.sql(
        "UPDATE users SET deleted_at = NULL, password_hash = $2 WHERE id = $1", world.agent, hashed("new one")
    )
    await is_over(gate, pair)


async def test_a_socket_of_such_a_session_falls(world: World, start: Start) -> None:
    gate = await start(world.url)
    session = claims_of((await sign_in(gate))["refresh_token"])["sid"]
    (row,) = await world.sql("SELECT id FROM gateway_sessions WHERE id = $1::text::uuid", session)
    holder = Principal(
        method=AuthMethod.JWT,
        user_id=world.agent,
        organization_id=world.home,
        email="agent@example.com",
        name="",
        role_id=None,
        role="",
        permissions=frozenset(),
        is_super_admin=False,
        session_id=row["id"],
    )
    at = (await world.sql("SELECT now() AS now"))[0]["now"]
    assert await world.store.standings([holder], at) == ({}, {})
    await world.sql(WRITE_HASH, world.agent, hashed("a new one entirely"))
    assert await world.store.standings([holder], at) == ({0: RevocationReason.SESSION}, {})


# -- sessions from before this was noted ----------------------------------------------------------------------------

FORGOTTEN = "UPDATE gateway_sessions SET password_fingerprint = NULL"


async def fingerprints(world: World) -> list[bytes | None]:
    return [row["password_fingerprint"] for row in await world.sql("SELECT * FROM gateway_sessions")]


async def test_the_upgrade_signs_nobody_out_and_covers_them_from_then_on(world: World, start: Start) -> None:
    gate = await start(world.url)
    pair = await sign_in(gate)
    await world.sql("ALTER TABLE gateway_sessions DROP COLUMN password_fingerprint")
    folder = resources.files("authcore.store") / "migrations"
    await execute(world.url, (folder / "0009_gateway_session_passwords.sql").read_text())
    gate = await start(world.url)
    pair = await granted(gate, refresh(pair))
    assert await status(gate, pair) == 200
    await world.sql(WRITE_HASH, world.agent, hashed("a new one entirely"))
    await is_over(gate, pair)


@pytest.mark.parametrize("by", ["refresh", "chore"])
async def test_a_session_that_a_gateway_of_before_began_is_covered_soon(
    world: World, start: Start, by: str
) -> None:
    gate = await start(world.url)
    pair = await sign_in(gate)
    await world.sql(FORGOTTEN)
    assert await status(gate, pair) == 200
    if by == "refresh":
        pair = await granted(gate, refresh(pair))
    else:
        assert await world.sessions.note_passwords() == 1
        assert await world.sessions.note_passwords() == 0
    assert None not in await fingerprints(world)
    await world.sql(WRITE_HASH, world.agent, hashed("a new one entirely"))
    await is_over(gate, pair)


async def test_a_fingerprint_tells_neither_password_nor_hash(world: World, start: Start) -> None:
    gate = await start(world.url)
    await sign_in(gate)
    (row,) = await world.sql("SELECT password_hash FROM users WHERE id = $1", world.agent)
    (kept,) = await fingerprints(world)
    assert kept is not None
    assert len(kept) == 32
    assert row["password_hash"].encode() not in kept


async def test_what_was_issued_under_the_old_password_is_refused_however_it_is_refreshed(
    world: World, start: Start
) -> None:
    """The retry of a lost answer, and the race, of a session that is over."""
    gate = await start(world.url)
    pair = await sign_in(gate)
    await granted(gate, refresh(pair))
    await world.sql(WRITE_HASH, world.agent, hashed("a new one entirely"))
    for later in (0, 60):
        await world.sql(
            "UPDATE gateway_refresh_tokens SET used_at = used_at - make_interval(secs => $1)", later
        )
        is_refusal(await ask(gate, refresh(pair)), 401)
