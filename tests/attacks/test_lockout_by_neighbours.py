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


SLOW_SECONDS = 0.15


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
    # Nobody else is let in by that.
    assert (await ask(gate, login_from(HOME, email="both@example.com"))).status == 429


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


class Slow:
    """bcrypt that takes its time, while that is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = SLOW_SECONDS
        self._check = bcrypt.checkpw
        monkeypatch.setattr(bcrypt, "checkpw", self.check)

    def check(self, password: bytes, hashed: bytes) -> bool:
        Event().wait(self.seconds)
        return self._check(password, hashed)


async def test_the_time_of_a_refusal_tells_nothing(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password is looked at for those who are known there, and for nobody else."""
    gate = await start(world.url, **STRICT)
    await granted(gate, login_from(HOME))
    Slow(monkeypatch)
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
        assert seconds >= SLOW_SECONDS, name


async def test_a_quick_proof_is_answered_no_sooner_than_a_refusal(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = await start(world.url, **STRICT)
    await granted(gate, login_from(HOME))
    slow = Slow(monkeypatch)
    await shut(gate)
    slow.seconds = 0
    status, seconds = await timed(gate, login_from(HOME, "a guess"))
    assert (status, seconds >= SLOW_SECONDS) == (429, True)


async def test_a_flood_makes_refusals_no_slower(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pace of refusals is learnt from the failure that waited for none of its own network."""
    gate = await start(world.url, **{**STRICT, "signin": {**STRICT["signin"], "address_free_failures": 100}})
    learnt: list[float] = []
    monkeypatch.setattr(refusal_pace.RefusalPace, "failed", lambda _, seconds: learnt.append(seconds))
    flood = [login_from(HOME, "a guess", f"nobody{number}@example.com") for number in range(8)]
    opened, real = Event(), bcrypt.checkpw

    def checking(password: bytes, hashed: bytes) -> bool:
        assert opened.wait(60)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checking)
    tasks = [asyncio.create_task(ask(gate, raw)) for raw in flood]
    async with asyncio.timeout(60):
        while gate.metrics.registry.get_sample_value("gateway_bcrypt_pending") != len(flood):
            await asyncio.sleep(0.01)
        opened.set()
        assert {answer.status for answer in await asyncio.gather(*tasks)} == {401}
    assert len(learnt) == 1


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
