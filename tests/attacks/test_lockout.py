"""Failing on purpose so that somebody else cannot sign in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.accounts import HOME, login_from
from tests.support.calls import ask, bearer, get, granted, post
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.worlds import Start, World


STRICT: dict[str, Any] = {
    "signin": {
        "free_failures": 3,
        "address_free_failures": 30,
        "delay_seconds": 600,
        "delay_max_seconds": 600,
    },
    "trusted_proxies": ["127.0.0.1/32"],
}


async def besiege(gate: Gateway, email: str = "agent@example.com") -> None:
    """Fail from everywhere, until nobody who is not known gets in."""
    for number in range(12):
        await ask(gate, login_from(f"198.51.100.{number}", "a guess", email))
    assert (await ask(gate, login_from("203.0.113.9", PASSWORD, email))).status == 429


async def test_where_a_user_signed_in_before_they_still_can(world: World, start: Start) -> None:
    gate = await start(world.url, **STRICT)
    await granted(gate, login_from(HOME))
    await besiege(gate)
    await granted(gate, login_from(HOME))
    await besiege(gate)  # and that has not opened the door to others
    await granted(gate, login_from(HOME))


async def test_being_known_is_of_one_account_only(world: World, start: Start) -> None:
    gate = await start(world.url, **STRICT)
    await granted(gate, login_from(HOME, PASSWORD, "both@example.com"))
    await besiege(gate)
    assert (await ask(gate, login_from(HOME))).status == 429


async def test_a_guesser_at_the_users_own_address_has_no_more_tries(world: World, start: Start) -> None:
    gate = await start(world.url, **STRICT)
    await granted(gate, login_from(HOME))
    statuses = [(await ask(gate, login_from(HOME, f"guess {number}"))).status for number in range(6)]
    assert statuses == [401, 401, 401, 429, 429, 429]
    await granted(gate, login_from("192.0.2.77"))  # and shuts the user out nowhere else


async def test_a_session_goes_on(world: World, start: Start) -> None:
    gate = await start(world.url, **STRICT)
    pair = await granted(gate, login_from("192.0.2.50"))
    await world.sql("DELETE FROM gateway_sign_in_addresses")
    await besiege(gate)
    assert (await ask(gate, get("/api/contacts", bearer(pair["access_token"])))).status == 200
    await granted(gate, post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]}))


async def test_where_a_session_lives_its_user_can_sign_in(world: World, start: Start) -> None:
    """Begun at home and refreshed on the way: the phone that holds it can sign in anew where it is now."""
    gate = await start(world.url, **STRICT)
    pair = await granted(gate, login_from(HOME))
    refresh = {"refresh_token": pair["refresh_token"]}
    pair = await granted(gate, post("/api/auth/refresh", refresh, "X-Forwarded-For: 192.0.2.99"))
    await world.sql("DELETE FROM gateway_sign_in_addresses")
    await besiege(gate)
    assert (await ask(gate, login_from("192.0.2.99", PASSWORD, "both@example.com"))).status == 200
    await granted(gate, login_from("192.0.2.99"))
    await granted(gate, post("/api/auth/logout-all", {}, bearer(pair["access_token"])))
    await world.sql("DELETE FROM gateway_sign_in_addresses")
    assert (await ask(gate, login_from("192.0.2.99"))).status == 429


@pytest.mark.parametrize(
    "end",
    [
        "UPDATE gateway_sessions SET expires_at = now() - interval '1 second'",
        "UPDATE gateway_sessions SET revoked_at = now()",
        "UPDATE gateway_sessions SET password_fingerprint = sha256('another')",
    ],
)
async def test_where_a_session_has_ended_its_user_is_a_stranger(world: World, start: Start, end: str) -> None:
    gate = await start(world.url, **STRICT)
    await granted(gate, login_from(HOME))
    await world.sql("DELETE FROM gateway_sign_in_addresses")
    await besiege(gate)
    await world.sql(end)
    assert (await ask(gate, login_from(HOME))).status == 429


async def test_one_client_that_fails_again_and_again_does_not_shut_out_its_neighbours(
    world: World, start: Start
) -> None:
    """A program with an old password retries for ever; the office behind the same address goes on working."""
    gate = await start(world.url, **STRICT)
    statuses = {(await ask(gate, login_from(HOME, "of last year"))).status for _ in range(60)}
    assert statuses == {401, 429}
    await granted(gate, login_from(HOME, PASSWORD, "both@example.com"))


async def test_the_wait_ends(world: World, start: Start) -> None:
    gate = await start(world.url, **STRICT)
    await besiege(gate)
    # As if the longest wait had passed.
    await world.sql("UPDATE gateway_sign_in_failures SET open_at = open_at - interval '601 seconds'")
    await granted(gate, login_from("203.0.113.9"))


async def test_a_sign_in_that_is_named_like_a_key_shuts_no_key_out(world: World, start: Start) -> None:
    gate = await start(world.url, **STRICT)
    await world.sql("DELETE FROM gateway_api_key_digests")  # bcrypt has to prove the key again
    for number in range(12):
        for name in (f"key {world.api_key[4:20]} {HOME}", f"{world.api_key[4:20]} {HOME}"):
            await ask(gate, login_from(f"198.51.100.{number}", "a guess", name))
    answer = await ask(gate, get("/api/contacts", f"X-API-Key: {world.api_key}", f"X-Forwarded-For: {HOME}"))
    assert answer.status == 200
