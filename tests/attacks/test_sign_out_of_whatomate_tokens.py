"""A token of Whatomate's in the hands of a thief, after its user has signed out everywhere or changed the password."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from authcore.credentials import PasswordLogin
from authcore.errors import NotAMember, TokenRevoked
from tests.support.accounts import KEYS, sign_in
from tests.support.calls import ask, bearer, get, granted, is_refusal, post, put, whatomate_token
from tests.support.processes import eventually
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from uuid import UUID

    from gateway.app import Gateway
    from tests.support.issuers import Provider
    from tests.support.worlds import Start, World

CONTACTS = "/api/contacts"


def stolen(world: World, user: UUID) -> str:
    return bearer(whatomate_token(user, world.home, iat=int(time.time()) - 5))


async def end_by_sign_out(gate: Gateway, pair: dict[str, Any]) -> None:
    await granted(gate, post("/api/auth/logout-all", {}, bearer(pair["access_token"])))


async def end_by_password(gate: Gateway, pair: dict[str, Any]) -> None:
    passwords = {"current_password": PASSWORD, "new_password": "another correct horse"}
    await granted(gate, put("/api/auth/password", passwords, bearer(pair["access_token"])))


@pytest.mark.parametrize("end", [end_by_sign_out, end_by_password])
async def test_a_token_without_a_session_ends_with_all_sessions_of_its_user(
    world: World, start: Start, end: Any
) -> None:
    gate, other = await start(world.url), await start(world.url)
    line, neighbour = stolen(world, world.admin), stolen(world, world.agent)
    for one in (gate, other):
        for each in (line, neighbour):
            assert (await ask(one, get(CONTACTS, each))).status == 200
    await end(gate, await sign_in(gate, "admin"))
    is_refusal(await ask(gate, get(CONTACTS, line)), 401, "Invalid or expired token")

    async def is_refused_elsewhere() -> bool:
        return (await ask(other, get(CONTACTS, line))).status == 401

    await eventually(is_refused_elsewhere)
    for target in (KEYS, "/api/auth/invitations"):
        is_refusal(await ask(other, post(target, {"name": "x"}, line)), 401)
    is_refusal(await ask(other, get("/api/auth/ws-token", line)), 401)
    assert (await ask(other, get(CONTACTS, neighbour))).status == 200
    later = bearer(whatomate_token(world.admin, world.home, iat=int(time.time()) + 1))
    assert (await ask(other, get(CONTACTS, later))).status == 200


async def test_a_sign_out_ends_no_token_of_a_foreign_issuer(
    world: World, start: Start, provider: Provider
) -> None:
    gate = await start(world.url, issuer=provider.settings())
    line = bearer(provider.token(email="admin@example.com"))
    assert (await ask(gate, get(CONTACTS, line))).status == 200
    await end_by_sign_out(gate, await sign_in(gate, "admin"))
    assert (await ask(gate, get(CONTACTS, line))).status == 200


async def waits_for_the_table(world: World) -> bool:
    return bool(await world.sql("SELECT FROM pg_locks WHERE NOT granted AND relation = 'api_keys'::regclass"))


@pytest.mark.parametrize("by", ["a session", "a token without a session"])
@pytest.mark.parametrize("end", ["signed out", "switched off", "removed"])
async def test_a_key_is_made_only_if_its_maker_may_make_it_when_it_is_written(
    world: World, by: str, end: str
) -> None:
    """bcrypt takes a while, and the store judges what asked for the key in the statement that writes it."""
    now = time.time()
    administration = world.accounts.administration
    signed_in = await world.accounts.login(PasswordLogin("admin@example.com", PASSWORD), now)
    session = signed_in.tokens.session_id
    grounds = {"session_id": session} if by == "a session" else {"founded_at": now - 5}
    await administration.create_api_key(world.admin, world.home, "before", **grounds)
    blocked = await asyncpg.connect(world.url)
    try:
        async with blocked.transaction():
            await blocked.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
            made = asyncio.ensure_future(
                administration.create_api_key(world.admin, world.home, "late", **grounds)
            )
            await eventually(lambda: waits_for_the_table(world))
            match end:
                case "signed out":
                    await world.sessions.close_others(world.admin, None, now)
                case "switched off":
                    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.admin)
                case _:
                    await world.sql(
                        "UPDATE user_organizations SET deleted_at = now() WHERE user_id = $1", world.admin
                    )
    finally:
        await blocked.close()
    with pytest.raises((TokenRevoked, NotAMember)):
        await made
    (row,) = await world.sql("SELECT count(*) AS number FROM api_keys WHERE name = 'late'")
    assert row["number"] == 0


async def test_a_password_is_not_changed_for_a_session_that_is_over(world: World) -> None:
    now = time.time()
    signed_in = await world.accounts.login(PasswordLogin("admin@example.com", PASSWORD), now)
    session = signed_in.tokens.session_id
    await world.sessions.close_others(world.admin, None, now)
    for grounds in ({"session_id": session}, {"founded_at": now - 5}):
        with pytest.raises(TokenRevoked):
            await world.accounts.change_password(
                user_id=world.admin, current=PASSWORD, new="another correct horse", now=now + 1, **grounds
            )
    await world.accounts.login(PasswordLogin("admin@example.com", PASSWORD), now + 2)
