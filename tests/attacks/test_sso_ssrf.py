"""Attack: the row of a custom provider leads the gateway inside, or to a host that is none of the provider's."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from tests.support.openid import SSO, Traveller, enable, sent_back

if TYPE_CHECKING:
    from tests.support.openid import OpenId
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


async def test_a_row_that_leads_inside_is_not_followed(
    world: World, start: Start, idp: OpenId, upstream: Upstream
) -> None:
    inside = f"http://127.0.0.1:{upstream.port}"
    await enable(
        world,
        "custom",
        auth_url=f"{idp.url}/authorize",
        token_url=f"{inside}/token",
        user_info_url=f"{inside}/userinfo",
    )
    settings = idp.settings(custom_issuer=None, private_networks="10.0.0.0/8")
    gate = await start(world.url, **settings)
    traveller = Traveller(gate)
    back = idp.authorize(await traveller.begin())
    assert sent_back(await traveller.come_back(back)) == "Failed to authenticate with provider"
    assert upstream.raw == []


URLS = (
    "http://metadata.internal/token",
    "http://169.254.169.254/latest/meta-data",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "https://user:password@127.0.0.1/",
    "https:///token",
    "https://127.0.0.1 /token",
    "https://127.0.0.1\\@evil.test/",
    "https://127.0.0.1/#x",
    "javascript:alert(1)",
    "//evil.test/token",
    "",
    "https://[::1/",
)
COLUMNS = ("auth_url", "token_url", "user_info_url")


async def test_a_row_with_a_url_of_another_kind_is_no_provider(
    world: World, start: Start, idp: OpenId
) -> None:
    traveller = Traveller(await start(world.url, **idp.settings(custom_issuer=None)))
    for url, column in product(URLS, COLUMNS):
        await enable(world, "custom", **{**dict.fromkeys(COLUMNS, f"{idp.url}/x"), column: url})
        words = sent_back(await traveller.fetch(f"{SSO}/custom/init"))
        assert words == "SSO provider not configured or disabled", (column, url)
    assert idp.seen == []
