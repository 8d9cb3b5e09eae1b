"""Failing behind an address that others share, so that they cannot sign in."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import TYPE_CHECKING, Any

import bcrypt

from authcore import refusal_pace
from tests.support.accounts import HOME, login_from
from tests.support.calls import ask, granted

if TYPE_CHECKING:
    import pytest

    from gateway.app import Gateway
    from tests.support.worlds import Start, World


STRICT: dict[str, Any] = {
    "signin": {
        "free_failures": 3,
        "address_free_failures": 5,
        "delay_seconds": 600,
        "delay_max_seconds": 600,
    },
    "trusted_proxies": ["127.0.0.1/32"],
}


async def shut(gate: Gateway) -> None:
    """Fail for many e-mails, until the address is refused."""
    for number in range(8):
        await ask(gate, login_from(HOME, "a guess", f"nobody{number}@example.com"))
    assert (await ask(gate, login_from(HOME, email="both@example.com"))).status == 429


async def test_a_user_who_signed_in_from_a_network_still_can(world: World, start: Start) -> None:
    gate = await start(world.url, **STRICT)
    await granted(gate, login_from(HOME))
    await shut(gate)
    for _ in range(12):
        await granted(gate, login_from(HOME))
        await ask(gate, login_from(HOME, "a guess", "nobody@example.com"))
    assert (
        await ask(gate, login_from(HOME, email="both@example.com"))
    ).status == 429  # nobody else is let in by that


async def test_a_wrong_password_there_is_answered_as_a_strangers(world: World, start: Start) -> None:
    gate = await start(world.url, **STRICT)
    await granted(gate, login_from(HOME))
    await shut(gate)
    known = await ask(gate, login_from(HOME, "a guess"))
    unknown = await ask(gate, login_from(HOME, "a guess", "nobody@example.com"))
    assert (known.status, known.json()["message"]) == (unknown.status, unknown.json()["message"])
    waits = [int(answer.one("Retry-After") or 0) for answer in (known, unknown)]
    assert abs(waits[0] - waits[1]) <= 2  # the clock goes on between the two


async def test_guesses_there_are_bounded_all_the_same(world: World, start: Start) -> None:
    gate = await start(world.url, **STRICT)
    await granted(gate, login_from(HOME))
    await shut(gate)
    for number in range(3):
        assert (await ask(gate, login_from(HOME, f"guess {number}"))).status == 429
    assert (await ask(gate, login_from(HOME))).status == 429


async def test_a_known_success_gives_no_guess_at_others_back(world: World, start: Start) -> None:
    gate = await start(world.url, **STRICT)
    await granted(gate, login_from(HOME))
    await shut(gate)
    before = await world.sql("SELECT subject, level FROM gateway_sign_in_failures ORDER BY subject")
    await granted(gate, login_from(HOME))
    after = await world.sql("SELECT subject, level FROM gateway_sign_in_failures ORDER BY subject")
    assert {row["subject"]: row["level"] for row in before if row["level"] > 0} == {
        row["subject"]: row["level"] for row in after if row["level"] > 0
    }


async def timed(gate: Gateway, raw: bytes) -> tuple[int, float]:
    """The status of an answer, and how many seconds it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer = await ask(gate, raw)
    return answer.status, loop.time() - began


async def test_the_time_of_a_refusal_tells_nothing(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password was looked at for those who are known there, and for nobody else."""
    monkeypatch.setattr(refusal_pace, "FIRST_SECONDS", 0.4)  # much longer than a proof takes here
    gate = await start(world.url, **STRICT)
    await granted(gate, login_from(HOME))
    await shut(gate)
    attempts = {
        "known, wrong": login_from(HOME, "a guess"),
        "a stranger's account, wrong": login_from(HOME, "a guess", "both@example.com"),
        "a stranger's account, right": login_from(HOME, email="both@example.com"),
        "no account": login_from(HOME, "a guess", "nobody@example.com"),
    }
    for name, raw in attempts.items():
        status, seconds = await timed(gate, raw)
        assert status == 429, name
        assert seconds >= 0.4, name


async def test_a_refusal_takes_as_long_as_the_longest_failure_of_late(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusal_pace, "FIRST_SECONDS", 0)
    gate = await start(world.url, **STRICT)
    await granted(gate, login_from(HOME))
    real, slow = bcrypt.checkpw, True

    def checking(password: bytes, hashed: bytes) -> bool:
        if slow:
            Event().wait(0.4)  # as a higher cost takes
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checking)
    assert (await timed(gate, login_from("192.0.2.9", "a guess")))[0] == 401
    slow = False
    await shut(gate)
    for raw in (login_from(HOME, "a guess"), login_from(HOME, "a guess", "nobody@example.com")):
        status, seconds = await timed(gate, raw)
        assert (status, seconds >= 0.4) == (429, True)


async def test_a_known_account_is_not_held_where_a_stranger_is_refused(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = await start(world.url, **{**STRICT, "signin": {**STRICT["signin"], "delay_seconds": 1}})
    await granted(gate, login_from(HOME))
    await world.sql(
        "INSERT INTO gateway_sign_in_failures (subject, level, seen_at, slot_at, open_at, expires_at) SELECT "
        "sha256(convert_to($1, 'UTF8')), 9, now(), now(), now() + '500s', now() + '500s' ON CONFLICT (subject) "
        "DO UPDATE SET level = 9, seen_at = now(), open_at = now() + '500s', expires_at = now() + '500s'",
        f"address {HOME}",
    )
    real, proofs = bcrypt.checkpw, []

    def counting(password: bytes, hashed: bytes) -> bool:
        proofs.append(password)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    for number in range(6):
        refused = await ask(gate, login_from(HOME, f"guess {number}"))
        assert refused.status == 429
        assert int(refused.one("Retry-After") or 0) > 400, number
    assert len(proofs) == 3, "what would be held is refused, unproved"
