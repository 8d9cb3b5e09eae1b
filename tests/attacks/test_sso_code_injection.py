"""Attack: a stolen authorization code is put into the attacker's own sign-in (RFC 9700 section 4.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tests.support.openid import Traveller, enable, hosting, landed, sent_back, vouch

if TYPE_CHECKING:
    from tests.support.openid import OpenId
    from tests.support.worlds import Start, World


async def test_a_stolen_code_is_no_good_in_another_sign_in(world: World, start: Start, idp: OpenId) -> None:
    gate = await hosting(world, start, idp)
    victim, attacker = Traveller(gate), Traveller(gate)
    stolen = parse_qs(urlsplit(idp.authorize(await victim.begin())).query)["code"][0]
    answer = await attacker.come_back(idp.authorize(await attacker.begin(), code=stolen))
    assert sent_back(answer) == "Failed to authenticate with provider"  # its verifier is the victim's
    assert await world.sql("SELECT FROM gateway_sessions") == []


async def test_a_code_that_the_provider_refuses_is_not_sent_again(
    world: World, start: Start, idp: OpenId
) -> None:
    idp.document = {"token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"]}
    traveller = Traveller(await hosting(world, start, idp))
    answer = await traveller.come_back(idp.authorize(await traveller.begin(), code="another"))
    assert sent_back(answer) == "Failed to authenticate with provider"
    assert idp.paths().count("/token") == 1


async def test_a_provider_without_pkce_is_held_by_the_nonce(world: World, start: Start, idp: OpenId) -> None:
    gate = await hosting(world, start, idp)
    victim, attacker = Traveller(gate), Traveller(gate)
    back = idp.authorize(await victim.begin())
    stolen = parse_qs(urlsplit(back).query)["code"][0]
    mine = await attacker.begin()
    injected = idp.authorize(mine, code=stolen)
    # It does not look at it.
    idp.codes[stolen].challenge = parse_qs(urlsplit(mine).query)["code_challenge"][0]
    assert sent_back(await attacker.come_back(injected)) == "Failed to get user information"


async def test_the_verifier_is_in_no_redirect_and_differs_each_time(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    urls = [await traveller.begin() for _ in range(3)]
    for url in urls:
        landed(await traveller.come_back(idp.authorize(url)))
    verifiers = [sent["code_verifier"] for path, sent in idp.seen if path == "/token"]
    assert len(set(verifiers)) == 3
    assert all(verifier not in url for verifier in verifiers for url in urls)
    values = [parse_qs(urlsplit(url).query) for url in urls]
    for name in ("state", "nonce", "code_challenge"):
        assert len({value[name][0] for value in values}) == 3, name


async def test_an_access_token_that_was_exchanged_is_noticed(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    idp.id_token = {"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"}
    assert sent_back(await traveller.sign_in(idp)) == "Failed to get user information"
