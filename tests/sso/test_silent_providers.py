"""Providers that take a connection and do not answer: they delay nobody who could be served without them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.calls import ask, bearer, post
from tests.support.openid import SSO, Traveller, enable, landed, sent_back, vouch

if TYPE_CHECKING:
    from tests.support.openid import OpenId
    from tests.support.worlds import Start, World

DOCUMENT = "/.well-known/openid-configuration"
LONGEST = 10
"""Seconds that a request to a provider may take at most, by the bound of its setting."""


def still_waits(idp: OpenId) -> bool:
    """Return whether the gateway still waits for an answer that the provider holds back."""
    return any(one.transport is not None and not one.transport.is_closing() for one in idp.held)


async def test_an_older_document_leads_everybody_to_the_provider_while_no_newer_one_comes(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    gate = await start(world.url, **idp.settings(timeout_seconds=LONGEST, cache_seconds=0.01))
    landed(await Traveller(gate).sign_in(idp))
    idp.silent = (DOCUMENT,)
    travellers = [Traveller(gate) for _ in range(8)]
    await asyncio.gather(*(one.begin() for one in travellers))
    landed(await travellers[0].sign_in(idp))
    assert still_waits(idp)


async def test_all_who_need_the_first_document_share_one_request_for_it(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    gate = await start(world.url, **idp.settings(timeout_seconds=0.5))
    idp.silent = (DOCUMENT,)
    answers = await asyncio.gather(*(Traveller(gate).fetch(f"{SSO}/custom/init") for _ in range(8)))
    assert {sent_back(answer) for answer in answers} == {"Failed to authenticate with provider"}
    assert idp.paths() == [DOCUMENT]
    idp.silent = ()
    await Traveller(gate).begin()  # a later one asks again


async def test_signing_out_does_not_wait_for_the_provider(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    settings = idp.settings(timeout_seconds=LONGEST)
    tokens = landed(await Traveller(await start(world.url, **settings)).sign_in(idp))
    idp.silent = (DOCUMENT,)
    other = await start(world.url, **settings)  # which has no document of the provider's yet
    answer = await ask(other, post("/api/auth/logout", {}, bearer(tokens["access_token"])))
    assert still_waits(idp)
    assert answer.json()["data"] == {"status": "logged_out"}
