"""Single sign-on in a browser, at a strict provider of others: from the login page to a proxied request, and out."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.openid import LOOPBACK, enable, vouch
from tests.support.providers import npm_provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.app import Gateway
    from tests.browser.driving import Browser
    from tests.support.providers import Foreign
    from tests.support.worlds import Start, World

SECONDS = 60
LOGIN = """<!doctype html><title>Sign in</title><p id=error></p><nav></nav><script>
document.querySelector("#error").textContent = new URLSearchParams(location.search).get("sso_error") ?? "";
fetch("/api/auth/sso/providers").then(answer => answer.json()).then(({data}) => data.forEach(({provider, name}) => {
    const link = Object.assign(document.createElement("a"), {id: provider, textContent: name});
    link.href = `/api/auth/sso/${provider}/init`;
    document.querySelector("nav").append(link);
}));
</script>"""


@asynccontextmanager
async def client() -> AsyncIterator[str]:
    """A client like Whatomate's, which has a login page and a landing page, before an API; its URL."""

    async def answer(request: web.Request) -> web.Response:
        if request.path.startswith("/api/"):
            return web.json_response({"headers": dict(request.headers)})
        page = LOGIN if request.path == "/login" else f"<!doctype html><title>{request.path}</title>"
        return web.Response(text=page, content_type="text/html")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Person:
    """User in front of a browser."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    async def see(self, selector: str) -> Any:
        """Wait for an element, and return it."""
        wait = WebDriverWait(self.browser.driver, SECONDS)
        return await asyncio.to_thread(
            wait.until, lambda driver: driver.find_element(By.CSS_SELECTOR, selector)
        )

    async def press(self, selector: str) -> None:
        await asyncio.to_thread((await self.see(selector)).click)

    async def enter(self, selector: str, text: str) -> None:
        await asyncio.to_thread((await self.see(selector)).send_keys, text)

    async def arrive(self, title: str) -> None:
        """Wait for a page."""
        wait = WebDriverWait(self.browser.driver, SECONDS)
        await asyncio.to_thread(wait.until, lambda driver: driver.title == title)

    async def sign_in(self, home: str) -> None:
        """Go from the login page to the provider, sign in there, and consent."""
        await self.browser.open(f"{home}/login")
        await self.press("#custom")
        await self.enter("input[name=login]", "alice")
        await self.enter("input[name=password]", "anything")
        await self.press("button[type=submit]")
        await self.press("form[action$=confirm] button, form button[autofocus][type=submit]")
        await self.arrive("/auth/sso/callback")


async def hosting(
    world: World, start: Start, provider: Foreign, upstream: str, algorithm: str = "RS256"
) -> Gateway:
    await enable(world, "custom")
    await vouch(world, "agent")
    gate = await start(
        world.url,
        sso="hosted",
        provider={"custom_issuer": provider.url, "private_networks": LOOPBACK, "timeout_seconds": 10},
        cookies=True,
        cookie={"secure": False},
        upstream={"url": upstream},
    )
    await provider.know(f"http://localhost:{gate.address[1]}", algorithm)
    return gate


async def test_a_user_signs_in_at_the_provider_calls_and_signs_out_there_too(
    world: World, start: Start, browser: Browser
) -> None:
    async with npm_provider("oidc-provider") as provider, client() as upstream:
        gate = await hosting(world, start, provider, upstream)
        home, person = f"http://localhost:{gate.address[1]}", Person(browser)
        await person.sign_in(home)
        answer = await browser.fetch("GET", "/api/contacts")
        assert answer["status"] == 200
        assert answer["body"]["headers"]["X-User-ID"] == str(world.agent)
        assert answer["body"]["headers"]["X-Auth-Method"] == "cookie"
        assert await browser.run("return location.hash;") == ""

        answer = await browser.fetch("POST", "/api/auth/logout", {}, csrf="yes")
        assert (await browser.fetch("GET", "/api/contacts"))["status"] == 401
        await browser.open(answer["body"]["data"]["sso_logout_url"])
        await person.press("button[name=logout]")
        await person.arrive("Sign in")
        assert await browser.run("return location.pathname;") == "/login"


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA", "Ed25519"])
async def test_signing_out_at_the_provider_ends_the_session_here(
    world: World, start: Start, browser: Browser, algorithm: str
) -> None:
    async with npm_provider("oidc-provider") as provider, client() as upstream:
        gate = await hosting(world, start, provider, upstream, algorithm)
        home, person = f"http://localhost:{gate.address[1]}", Person(browser)
        await person.sign_in(home)
        assert (await browser.fetch("GET", "/api/contacts"))["status"] == 200
        await browser.open(f"{provider.url}/session/end")
        await person.press("button[name=logout]")
        async with asyncio.timeout(SECONDS):
            while await world.sql("SELECT FROM gateway_sessions WHERE revoked_at IS NULL"):
                await asyncio.sleep(0.05)
        await browser.open(f"{home}/")
        assert (await browser.fetch("GET", "/api/contacts"))["status"] == 401


async def test_a_user_who_may_not_is_told_so_at_the_login_page(
    world: World, start: Start, browser: Browser
) -> None:
    async with npm_provider("oidc-provider") as provider, client() as upstream:
        gate = await hosting(world, start, provider, upstream)
        await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
        person = Person(browser)
        await browser.open(f"http://localhost:{gate.address[1]}/login")
        await person.press("#custom")
        await person.enter("input[name=login]", "alice")
        await person.enter("input[name=password]", "anything")
        await person.press("button[type=submit]")
        await person.press("form[action$=confirm] button, form button[autofocus][type=submit]")
        await person.arrive("Sign in")
        assert (
            await browser.run("return document.querySelector('#error').textContent;") == "Account is disabled"
        )
        assert "whm_access" not in await browser.cookies()
