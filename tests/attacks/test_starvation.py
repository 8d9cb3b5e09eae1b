"""Asking for work that costs, so that others have to wait for theirs."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import bcrypt

from tests.attacks.floods import FLOOD, FLOODING, registration
from tests.support.accounts import HOME, login_from
from tests.support.calls import ask, get, granted

if TYPE_CHECKING:
    import pytest

    from tests.support.worlds import Start, World


TRUSTING: dict[str, Any] = {"trusted_proxies": ["127.0.0.1/32"]}
STRICT: dict[str, Any] = {
    "signin": {
        "free_failures": 3,
        "address_free_failures": 5,
        "delay_seconds": 600,
        "delay_max_seconds": 600,
    },
    **TRUSTING,
}


async def test_another_network_signs_in_while_a_flood_of_one_is_at_work(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = await start(world.url, **TRUSTING)
    begun, gate_is_open, real = threading.Event(), threading.Event(), bcrypt.hashpw

    def slow(password: bytes, salt: bytes) -> bytes:
        if password == FLOODING.encode():
            begun.set()
            assert gate_is_open.wait(60)
        return real(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", slow)
    flood = [asyncio.create_task(ask(gate, registration(world, number))) for number in range(20)]
    try:
        async with asyncio.timeout(30):
            assert await asyncio.to_thread(begun.wait, 20)
            await granted(gate, login_from(HOME))
    finally:
        gate_is_open.set()
    async with asyncio.timeout(30):
        assert {answer.status for answer in await asyncio.gather(*flood)} == {200}


async def test_a_network_has_so_many_jobs_and_no_more(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = await start(world.url, password={"network_queue": 4}, **TRUSTING)
    gate_is_open, real = threading.Event(), bcrypt.hashpw

    def slow(password: bytes, salt: bytes) -> bytes:
        assert gate_is_open.wait(60)
        return real(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", slow)
    flood = [asyncio.create_task(ask(gate, registration(world, number))) for number in range(8)]
    try:
        async with asyncio.timeout(30):
            while sum(task.done() for task in flood) < 4:
                await asyncio.sleep(0.01)
    finally:
        gate_is_open.set()
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*flood)
    assert sorted(answer.status for answer in answers) == [200] * 4 + [429] * 4
    assert all(answer.one("Retry-After") for answer in answers if answer.status == 429)
    # What was not tried is not counted.
    assert max(row["level"] for row in await world.sql("SELECT level FROM gateway_sign_in_failures")) <= 4.1


async def test_registrations_count_with_the_address(world: World, start: Start) -> None:
    gate = await start(world.url, **STRICT)
    answers = [await ask(gate, registration(world, number)) for number in range(7)]
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 2
    assert 1 <= int(answers[-1].one("Retry-After") or 0) <= 600
    assert (await ask(gate, registration(world, 20, HOME))).status == 200
    # Where a user has registered they are known, and sign in whatever else was done from there.
    await granted(gate, login_from(FLOOD, FLOODING, "new0@example.com"))


async def test_invitations_that_are_no_good_count_too(world: World, start: Start) -> None:
    gate = await start(world.url, **STRICT)
    forged = [registration(world, number, invitation="no.invitation.atall") for number in range(5)]
    statuses = [(await ask(gate, raw)).status for raw in forged]
    assert statuses[:3] == [403] * 3
    assert 429 in statuses


async def test_failed_proofs_of_a_key_count_and_shut_nobody_else_out(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = await start(world.url, **STRICT)
    real, proofs = bcrypt.checkpw, []

    def counting(password: bytes, hashed: bytes) -> bool:
        proofs.append(password)
        return real(password, hashed)

    def using(key: str, address: str) -> bytes:
        return get("/api/contacts", f"X-API-Key: {key}", f"X-Forwarded-For: {address}")

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    guesses = [world.api_key[:20] + f"{number:016x}" for number in range(6)]
    answers = [await ask(gate, using(guess, FLOOD)) for guess in guesses]
    assert [answer.status for answer in answers] == [401] * 3 + [429] * 3
    assert answers[-1].one("Retry-After")
    assert len(proofs) == 3, "what is refused is not proved"
    assert (await ask(gate, using(world.api_key, HOME))).status == 200
    # Proved once, a key needs no proof any more, wherever it is used.
    assert (await ask(gate, using(world.api_key, FLOOD))).status == 200
    assert len(proofs) == 4
