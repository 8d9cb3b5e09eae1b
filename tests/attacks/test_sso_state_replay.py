"""Attack: a state, a nonce or a callback's URL is used a second time, on the same gateway or on another replica."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.openid import Traveller, enable, hosting, landed, sent_back, vouch

if TYPE_CHECKING:
    from tests.support.openid import OpenId
    from tests.support.worlds import Start, World

STALE = "Invalid or expired state"


async def test_a_callback_is_good_once_on_whichever_gateway(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    first, second = [await start(world.url, **idp.settings()) for _ in range(2)]
    traveller = Traveller(first)
    back = idp.authorize(await traveller.begin())
    landed(await traveller.come_back(back))
    asked = len(idp.seen)
    for gate in (first, second):
        assert sent_back(await Traveller(gate, dict(traveller.cookies)).come_back(back)) == STALE
    assert len(idp.seen) == asked  # the code was not even tried
    assert len(await world.sql("SELECT FROM gateway_sessions")) == 1


async def test_a_used_state_is_not_forgotten_while_it_would_be_good(
    world: World, start: Start, idp: OpenId
) -> None:
    traveller = Traveller(await hosting(world, start, idp))
    back = idp.authorize(await traveller.begin())
    landed(await traveller.come_back(back))
    (soon,) = await world.sql("SELECT now() + interval '9 minutes' AS at")
    await world.store.purge_tickets(soon["at"])
    assert sent_back(await traveller.come_back(back)) == STALE


async def test_of_many_callbacks_at_the_same_time_one_begins_a_session(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    gates = [await start(world.url, **idp.settings()) for _ in range(2)]
    traveller = Traveller(gates[0])
    back = idp.authorize(await traveller.begin())
    many = [Traveller(gate, dict(traveller.cookies)) for gate in gates * 3]
    answers = await asyncio.gather(*(one.come_back(back) for one in many))
    places = sorted((answer.one("Location") or "").partition("?")[0].partition("#")[0] for answer in answers)
    assert places == ["/auth/sso/callback", *["/login"] * 5]
    assert len(await world.sql("SELECT FROM gateway_sessions")) == 1


async def test_a_state_that_met_an_error_is_used_up(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    url = await traveller.begin()
    await traveller.come_back(idp.authorize(url, code=None, error="access_denied"))
    assert sent_back(await traveller.come_back(idp.authorize(url))) == STALE


async def test_an_id_token_of_another_sign_in_is_refused(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    tokens: list[str] = []

    def first(claims: dict[str, object]) -> str:
        tokens.append(idp.signed(claims))
        return tokens[0]

    idp.token = first
    landed(await traveller.sign_in(idp))
    assert sent_back(await traveller.sign_in(idp)) == "Failed to get user information"
    assert len(tokens) == 2
    for nonce in (None, "", 7, ["x"]):
        idp.token, idp.id_token = None, {"nonce": nonce}
        assert sent_back(await traveller.sign_in(idp)) == "Failed to get user information"
