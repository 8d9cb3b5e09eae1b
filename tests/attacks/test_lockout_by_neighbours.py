"""Failing behind an address that others share, so that they cannot sign in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.accounts import HOME, login_from
from tests.support.calls import ask, granted

if TYPE_CHECKING:
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
