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
SOON = 4
"""Seconds: longer than somebody waits for a newer document, shorter than a request to the provider may take."""


async def test_an_older_document_leads_everybody_to_the_provider_while_no_newer_one_comes(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    gate = await start(world.url, **idp.settings(timeout_seconds=10, cache_seconds=0.01))
    landed(await Traveller(gate).sign_in(idp))
    idp.silent = (DOCUMENT,)
    travellers = [Traveller(gate) for _ in range(8)]
    async with asyncio.timeout(SOON):
        await asyncio.gather(*(one.begin() for one in travellers))
    async with asyncio.timeout(SOON):
        landed(await travellers[0].sign_in(idp))


async def test_all_who_need_the_first_document_share_one_request_for_it(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    gate = await start(world.url, **idp.settings(timeout_seconds=0.5))
    idp.silent = (DOCUMENT,)
    async with asyncio.timeout(SOON):
        answers = await asyncio.gather(*(Traveller(gate).fetch(f"{SSO}/custom/init") for _ in range(8)))
    assert {sent_back(answer) for answer in answers} == {"Failed to authenticate with provider"}
    assert idp.paths() == [DOCUMENT]
    idp.silent = ()
    await Traveller(gate).begin()  # whoever comes later asks again


async def test_signing_out_does_not_wait_for_the_provider(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    settings = idp.settings(timeout_seconds=10)
    tokens = landed(await Traveller(await start(world.url, **settings)).sign_in(idp))
    idp.silent = (DOCUMENT,)
    other = await start(world.url, **settings)  # which has no document of the provider's yet
    async with asyncio.timeout(SOON):
        answer = await ask(other, post("/api/auth/logout", {}, bearer(tokens["access_token"])))
    assert answer.json()["data"] == {"status": "logged_out"}
