"""Attack: the attacker begins a sign-in and has the victim's browser finish it, or the reverse (login CSRF)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tests.support.calls import ask
from tests.support.openid import SSO, Traveller, enable, landed, sent_back, vouch

if TYPE_CHECKING:
    from tests.support.openid import OpenId
    from tests.support.worlds import Start, World

STALE = "Invalid or expired state"


async def test_a_callback_counts_only_in_the_browser_that_began(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    gate = await start(world.url, **idp.settings(), cookies=True)
    attacker, victim = Traveller(gate), Traveller(gate)
    await victim.begin()  # the victim's browser has a cookie of its own
    back = idp.authorize(await attacker.begin())
    for browser in (victim, Traveller(gate), Traveller(gate, {"whm_sso": "x" * 43})):
        asked = len(idp.seen)
        assert sent_back(await browser.come_back(back)) == STALE
        assert "whm_access" not in browser.cookies
        assert len(idp.seen) == asked
    landed(await attacker.come_back(back))  # what was refused elsewhere is not used up


async def test_a_forged_state_is_refused(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    traveller = Traveller(await start(world.url, **idp.settings()))
    for changed in ("", "x", "A" * 96, "A" * 95, "\N{LATIN SMALL LETTER E WITH ACUTE}" * 96, "..", "A" * 97):
        back = idp.authorize(await traveller.begin(), state=changed)
        words = sent_back(await traveller.come_back(back))
        assert words == (STALE if changed else "Invalid callback parameters"), changed
    assert "/token" not in idp.paths()


async def test_every_bit_of_a_state_matters(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    traveller = Traveller(await start(world.url, **idp.settings()))
    url = await traveller.begin()
    state = parse_qs(urlsplit(url).query)["state"][0]
    for place in range(0, len(state), 7):
        letter = "B" if state[place] == "A" else "A"
        bent = state[:place] + letter + state[place + 1 :]
        assert sent_back(await traveller.come_back(idp.authorize(url, state=bent))) == STALE
    assert "/token" not in idp.paths()


async def test_two_of_a_parameter_are_none(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    back = idp.authorize(await traveller.begin())
    for more in ("state=x", "code=x", "error=", "iss=x"):
        # An empty parameter is one, too.
        answer = await traveller.come_back(f"{back}&{more}&{more}")
        assert sent_back(answer) == "Invalid callback parameters"
    landed(await traveller.come_back(back))


async def test_a_callback_at_another_host_is_refused(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    back = urlsplit(idp.authorize(await traveller.begin()))
    pairs = "; ".join(f"{name}={value}" for name, value in traveller.cookies.items())

    raw = f"GET {SSO}/custom/callback?{back.query} HTTP/1.1\r\nHost: evil.test\r\nCookie: {pairs}\r\n\r\n"
    assert sent_back(await ask(traveller.gate, raw.encode())) == STALE
