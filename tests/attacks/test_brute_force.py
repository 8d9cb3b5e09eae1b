"""Guessing a password: on another path, from a made-up address, under another spelling, all at once.

Each attack has as many tries as plain guessing has, and after them is told to wait, without its guess being looked at.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest

from tests.support.calls import ask, bearer, is_refusal, post
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.app import Gateway
    from tests.support.peers import Message
    from tests.support.worlds import Start, World


LOGIN, REGISTER = "/api/auth/login", "/api/auth/register"
FREE = 3
STRICT: dict[str, Any] = {
    "free_failures": FREE,
    "address_free_failures": 1000,
    "delay_seconds": 600,
    "delay_max_seconds": 600,
}
TRUSTING = {"trusted_proxies": ["127.0.0.1/32"]}


def guess(email: str, password: str = "a guess", *lines: str) -> bytes:
    return post(LOGIN, {"email": email, "password": password}, *lines)


def joining(world: World, email: str, password: str) -> bytes:
    fields = {"email": email, "full_name": "A", "organization_id": str(world.other)}
    return post(REGISTER, {**fields, "password": password})


async def statuses(gateway: Gateway, requests: Sequence[bytes]) -> list[int]:
    return [(await ask(gateway, raw)).status for raw in requests]


def is_told_to_wait(answer: Message) -> None:
    is_refusal(answer, 429)
    assert "try again in 10 minutes" in str(answer.json()["message"])
    assert 1 <= int(answer.one("Retry-After") or "0") <= 600


async def test_guesses_are_told_to_wait_and_are_not_looked_at(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = await start(world.url, signin=STRICT)
    real, looked_at = bcrypt.checkpw, []

    def counting(password: bytes, hashed: bytes) -> bool:
        looked_at.append(password)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    assert await statuses(gate, [guess("agent@example.com")] * 5) == [401, 401, 401, 429, 429]
    # The right one, and still not looked at.
    is_told_to_wait(await ask(gate, guess("agent@example.com", PASSWORD)))
    assert len(looked_at) == FREE


async def test_every_path_that_takes_a_password_counts_into_one(world: World, start: Start) -> None:
    gate = await start(world.url, signin=STRICT)
    requests = [
        guess("admin@example.com"),
        joining(world, "admin@example.com", "a guess"),
        guess("admin@example.com"),
        joining(world, "admin@example.com", PASSWORD),
        guess("admin@example.com", PASSWORD),
    ]
    assert await statuses(gate, requests) == [401, 409, 401, 429, 429]
    rows = await world.sql("SELECT FROM user_organizations WHERE organization_id = $1", world.other)
    assert len(rows) == 1  # the fixture's own


async def test_an_address_that_a_client_makes_up_is_nobodys(world: World, start: Start) -> None:
    gate = await start(world.url, signin={**STRICT, "free_failures": 1000, "address_free_failures": FREE})
    spoofed = [
        guess(
            f"user{number}@example.com",
            "x",
            f"X-Forwarded-For: 10.0.0.{number}",
            f"X-Real-IP: 10.1.0.{number}",
        )
        for number in range(FREE + 1)
    ]
    assert await statuses(gate, spoofed) == [401] * FREE + [429]


async def test_a_trusted_proxy_says_who_counts(world: World, start: Start) -> None:
    gate = await start(
        world.url, signin={**STRICT, "free_failures": 1000, "address_free_failures": FREE}, **TRUSTING
    )

    def from_(address: str, number: int) -> bytes:
        return guess(f"user{number}@example.com", "x", f"X-Forwarded-For: 6.6.6.{number}, {address}")

    assert await statuses(gate, [from_("192.0.2.1", number) for number in range(FREE + 1)]) == [
        401
    ] * FREE + [429]
    assert (await ask(gate, from_("192.0.2.2", 9))).status == 401


async def test_the_addresses_of_one_network_are_one(world: World, start: Start) -> None:
    gate = await start(
        world.url, signin={**STRICT, "free_failures": 1000, "address_free_failures": FREE}, **TRUSTING
    )
    moving = [
        guess(f"user{number}@example.com", "x", f"X-Forwarded-For: 2001:db8:7:7:{number:x}::{number:x}")
        for number in range(1, FREE + 2)
    ]
    assert await statuses(gate, moving) == [401] * FREE + [429]
    assert (await ask(gate, guess("user@example.com", "x", "X-Forwarded-For: 2001:db8:7:8::1"))).status == 401


async def test_every_spelling_that_finds_the_account_is_one_email(world: World, start: Start) -> None:
    await world.sql("UPDATE users SET email = 'Zoë.Ångström@example.com' WHERE id = $1", world.agent)
    gate = await start(world.url, signin=STRICT)
    found = [
        "Zoë.Ångström@example.com",
        "ZOË.ÅNGSTRÖM@EXAMPLE.COM",
        "  zoë.ångström@example.com\t",
        "zoë.Ångström@Example.Com",
        "zoë.ångström@example.com\u00a0",
    ]
    assert await statuses(gate, [guess(email) for email in found]) == [401] * FREE + [429] * 2
    for email in found:
        assert (await ask(gate, guess(email, PASSWORD))).status == 429


@pytest.mark.parametrize(
    "email",
    ["zoe\u0308@example.com", "\uff41gent@example.com", "agent@example.com\0", "agent@exam\u0131ple.com"],
)
async def test_a_spelling_with_a_counter_of_its_own_finds_no_account(
    world: World, start: Start, email: str
) -> None:
    await world.sql("UPDATE users SET email = 'zoë@example.com' WHERE id = $1", world.both)
    gate = await start(world.url, signin=STRICT)
    assert (await ask(gate, guess(email, PASSWORD))).status == 401


async def test_guesses_at_once_on_two_replicas_get_no_more_tries(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = [await start(world.url, signin=STRICT) for _ in range(2)]
    real, looked_at = bcrypt.checkpw, []

    def counting(password: bytes, hashed: bytes) -> bool:
        looked_at.append(password)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    answers = await asyncio.gather(
        *(ask(gates[number % 2], guess("agent@example.com", f"guess {number}")) for number in range(50))
    )
    assert sorted(answer.status for answer in answers) == [401] * FREE + [429] * 47
    assert len(looked_at) == FREE


async def test_a_restart_gives_nothing_back(world: World, start: Start) -> None:
    first = await start(world.url, signin=STRICT)
    assert await statuses(first, [guess("agent@example.com")] * FREE) == [401] * FREE
    await first.stop()
    second = await start(world.url, signin=STRICT)
    assert (await ask(second, guess("agent@example.com"))).status == 429


async def test_a_token_of_the_account_buys_no_guess_at_login(world: World, start: Start) -> None:
    gate = await start(world.url, signin=STRICT)
    token = bearer(world.token(world.agent))
    requests = [guess("agent@example.com", "a guess", token)] * (FREE + 1)
    assert await statuses(gate, requests) == [401] * FREE + [429]


async def test_an_account_of_ones_own_pays_for_no_guesses(world: World, start: Start) -> None:
    gate = await start(world.url, signin=STRICT)
    victim, own = guess("agent@example.com"), guess("both@example.com", PASSWORD)
    requests = [victim, own] * 4
    assert await statuses(gate, requests) == [401, 200, 401, 200, 401, 200, 429, 200]


async def test_where_counters_cannot_be_reached_nobody_is_let_in(world: World, start: Start) -> None:
    gate = await start(world.url, signin=STRICT)
    await world.sql("ALTER TABLE gateway_sign_in_failures RENAME TO gateway_away")
    answer = await ask(gate, guess("agent@example.com", PASSWORD))
    is_refusal(answer, 503)
