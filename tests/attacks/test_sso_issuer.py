"""Attack: an issuer that looks like the one that is set: a slash more, another case, a host that begins like it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.openid import SSO, Traveller, enable, landed, sent_back, vouch

if TYPE_CHECKING:
    from tests.support.openid import OpenId
    from tests.support.worlds import Start, World

FAILED = "Failed to authenticate with provider"


NAMED: tuple[object, ...] = (
    *("{url}/", "{url}.evil.test", "https://evil.test", "", "{url}#", "{url}/x"),
    *(None, 7, [], ["{url}"], {}),
)


async def test_a_document_that_names_another_issuer_is_not_used(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    traveller = Traveller(await start(world.url, **idp.settings()))
    for named in NAMED:
        idp.document = {"issuer": named.format(url=idp.url) if isinstance(named, str) else named}
        assert sent_back(await traveller.fetch(f"{SSO}/custom/init")) == FAILED, named


async def test_an_issuer_with_a_slash_at_its_end_is_the_one_with_that_slash(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    idp.document = {"issuer": f"{idp.url}/"}
    idp.id_token = {"iss": f"{idp.url}/"}
    traveller = Traveller(await start(world.url, **idp.settings(custom_issuer=f"{idp.url}/")))
    url = await traveller.begin()
    assert idp.paths() == ["/.well-known/openid-configuration"]
    landed(await traveller.come_back(idp.authorize(url, iss=f"{idp.url}/")))
    idp.id_token = {"iss": idp.url}
    back = idp.authorize(await traveller.begin(), iss=f"{idp.url}/")
    assert sent_back(await traveller.come_back(back)) == "Failed to get user information"


LEADING_ELSEWHERE: tuple[tuple[str, object], ...] = (
    ("authorization_endpoint", "https://evil.test/authorize"),
    ("token_endpoint", "https://evil.test/token"),
    ("jwks_uri", "https://evil.test/jwks"),
    ("userinfo_endpoint", "http://10.0.0.1/userinfo"),
    ("end_session_endpoint", "javascript:alert(1)"),
    ("authorization_endpoint", "javascript:alert(1)"),
    ("authorization_endpoint", "http://login.evil.test/authorize"),
    ("authorization_endpoint", None),
    ("token_endpoint", 7),
    ("token_endpoint", "http://[::1/"),
    ("jwks_uri", None),
)


async def test_a_document_that_leads_elsewhere_is_not_used(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    traveller = Traveller(await start(world.url, **idp.settings()))
    for name, url in LEADING_ELSEWHERE:
        idp.document = {name: url}
        assert sent_back(await traveller.fetch(f"{SSO}/custom/init")) == FAILED, (name, url)
