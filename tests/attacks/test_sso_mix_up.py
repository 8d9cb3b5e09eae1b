"""Attack: a provider of the attacker's gets the code of another one, or answers in its place (RFC 9700 section 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.support.openid import SSO, OpenId, Traveller, enable, landed, openid, sent_back, vouch

if TYPE_CHECKING:
    from tests.support.worlds import Start, World

STALE = "Invalid or expired state"
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"


async def test_a_code_of_one_provider_is_not_taken_to_another(
    world: World, start: Start, idp: OpenId
) -> None:
    for kind in ("custom", "google"):
        await enable(world, kind)
    await vouch(world, "agent")
    async with openid() as evil:
        gate = await start(world.url, **idp.settings(custom_issuer=evil.url))
        traveller = Traveller(gate)
        begun = await traveller.begin("custom")
        # The attacker's provider sends the browser on to the honest one, and its code to its own callback.
        query = urlsplit(idp.authorize(begun.replace(evil.url, idp.url))).query
        for kind, words in (("google", STALE), ("custom", STALE)):
            answer = await traveller.fetch(f"{SSO}/{kind}/callback?{query}")
            assert sent_back(answer) == words, kind
        assert "/token" not in (*evil.paths(), *idp.paths())


async def test_an_issuer_that_is_not_the_providers_stops_the_code(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    for named in (None, "https://evil.test", "", f"{idp.url}/", f"{idp.url}."):
        answer = await traveller.come_back(idp.authorize(await traveller.begin(), iss=named))
        assert sent_back(answer) == STALE, named
    assert "/token" not in idp.paths()


async def test_an_issuer_that_is_none_of_a_tenant_stops_the_code(
    world: World, start: Start, idp: OpenId
) -> None:
    """Microsoft's document of all tenants has a template in the place of the tenant."""
    await enable(world, "microsoft")
    await vouch(world, "agent")
    issuer = f"{idp.url}/{TENANT}/v2.0"
    idp.document = {"issuer": issuer.replace(TENANT, "{tenantid}")}
    idp.id_token = {"oid": "oid 1", "tid": TENANT, "iss": issuer, "xms_edov": True}
    traveller = Traveller(await start(world.url, **idp.settings()))
    others = (f"https://evil.test/{TENANT}/v2.0", f"{idp.url}/{TENANT}/v1.0", f"{issuer}.", idp.url, None)
    for named in others:
        answer = await traveller.come_back(idp.authorize(await traveller.begin("microsoft"), iss=named))
        assert sent_back(answer) == STALE, named
    assert "/token" not in idp.paths()
    landed(await traveller.come_back(idp.authorize(await traveller.begin("microsoft"), iss=issuer)))


async def test_a_row_that_was_replaced_meanwhile_gets_no_code(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    back = idp.authorize(await traveller.begin())
    await enable(world, "custom")  # a row of another id
    assert sent_back(await traveller.come_back(back)) == STALE
    back = idp.authorize(await traveller.begin())
    await world.sql("UPDATE sso_providers SET is_enabled = false")
    assert sent_back(await traveller.come_back(back)) == "SSO provider not configured or disabled"
    assert "/token" not in idp.paths()


FOR_OTHERS: tuple[dict[str, Any], ...] = (
    {"iss": "https://evil.test"},
    {"iss": None},
    {"aud": "another client"},
    {"aud": None},
    {"aud": ["another client"]},
    {"aud": ["whatomate-client", "another"]},
    {"aud": ["whatomate-client", "another"], "azp": "another"},
    {"azp": "another"},
    {"aud": [["whatomate-client"]]},
)


async def test_an_id_token_for_somebody_else_is_refused(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    for claims in FOR_OTHERS:
        idp.id_token = claims
        assert sent_back(await traveller.sign_in(idp)) == "Failed to get user information", claims
    idp.id_token = {"aud": ["whatomate-client", "another"], "azp": "whatomate-client"}
    landed(await traveller.sign_in(idp))
