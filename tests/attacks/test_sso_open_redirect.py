"""Attack: what a request says decides where the browser lands, or what the login page shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.calls import ask
from tests.support.openid import SSO, Traveller, enable, landed, sent_back, vouch

if TYPE_CHECKING:
    from tests.support.openid import OpenId
    from tests.support.worlds import Start, World

EVIL = (
    "redirect_uri=https://evil.test",
    "next=//evil.test",
    "return_to=https://evil.test",
    "RelayState=//evil.test",
)


async def test_no_parameter_decides_where_the_browser_lands(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    query = "&".join(EVIL)
    first = await traveller.fetch(f"{SSO}/custom/init?{query}")
    there = first.one("Location") or ""
    assert there.startswith(f"{idp.url}/authorize?")
    assert "evil.test" not in there
    landed(await traveller.come_back(f"{idp.authorize(there)}&{query}"))


async def test_an_error_of_the_callback_is_no_text_of_the_page(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    traveller = Traveller(await start(world.url, **idp.settings()))
    for error in ("access_denied", "<b>Call +1 900 555</b>", "x\r\nSet-Cookie: a=b", "\0"):
        back = idp.authorize(await traveller.begin(), code=None, error=error, error_description=error)
        assert sent_back(await traveller.come_back(back)) == "SSO failed: the provider did not sign you in"


async def test_a_host_of_the_clients_choice_is_named_to_no_provider_where_the_origin_is_set(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    gate = await start(world.url, **idp.settings(origin="http://127.0.0.1:8000"))
    for host in ("evil.test", "evil.test:8080", "127.0.0.1", "gateway.test@evil.test"):
        raw = f"GET {SSO}/custom/init HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: evil.test\r\n\r\n"
        answer = await ask(gate, raw.encode())
        assert "evil.test" not in (answer.one("Location") or ""), host


async def test_below_a_base_path_the_browser_lands_there(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    settings = idp.settings()
    gate = await start(world.url, **{**settings, "cookie": {"secure": False, "base_path": "/whatomate"}})
    traveller = Traveller(gate)
    url = await traveller.begin()
    assert "%2Fwhatomate%2Fapi%2Fauth%2Fsso%2Fcustom%2Fcallback" in url
    back = idp.authorize(url).replace("/whatomate/api", "/api")  # as the proxy in front does
    answer = await traveller.come_back(back)
    assert (answer.one("Location") or "").startswith("/whatomate/auth/sso/callback#")
    assert (await traveller.come_back(back)).one("Location") == (
        "/whatomate/login?sso_error=Invalid+or+expired+state"
    )
