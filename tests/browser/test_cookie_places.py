"""Cookies of our names in every place they were ever set at: how chromium stores them, and what it sends."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from aiohttp import web

from tests.support.calls import claims_of, whatomate_token
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser.driving import Browser
    from tests.support.worlds import Start, World


HOST = "chat.shop.localhost"
DOMAINS = (None, "shop.localhost", HOST)
LOGIN, LOGOUT, REFRESH = (f"/api/auth/{name}" for name in ("login", "logout", "refresh"))
CREDENTIALS = {"email": "agent@example.com", "password": PASSWORD}
PLACES = (
    ("whm_access", "/api"),
    ("whm_refresh", "/api/auth"),
    ("whm_refresh", "/api/auth/refresh"),
    ("whm_csrf", "/"),
)


def ours(domain: str | None) -> set[tuple[str, str, str]]:
    at = HOST if domain is None else f".{domain}"
    return {("whm_access", at, "/api"), ("whm_refresh", at, "/api/auth"), ("whm_csrf", at, "/")}


async def kept(browser: Browser) -> dict[tuple[str, str, str], str]:
    """Name, domain (with a dot before it where it is one) and path of each cookie, and its value."""
    found = await asyncio.to_thread(browser.driver.execute_cdp_cmd, "Storage.getCookies", {})
    return {(one["name"], one["domain"], one["path"]): one["value"] for one in found["cookies"]}


async def fill(browser: Browser, *but: tuple[str, str, str]) -> None:
    """Put a stale cookie into every place but some."""
    stale = [
        {
            "name": name,
            "value": f"stale-{number}",
            "path": path,
            "secure": True,
            "httpOnly": name != "whm_csrf",
        }
        | ({"url": f"https://{HOST}{path}"} if domain is None else {"domain": f".{domain}"})
        for number, (name, path) in enumerate(PLACES)
        for domain in DOMAINS
        if (name, HOST if domain is None else f".{domain}", path) not in but
    ]
    await asyncio.to_thread(browser.driver.execute_cdp_cmd, "Storage.setCookies", {"cookies": stale})


@asynccontextmanager
async def upstream(world: World) -> AsyncIterator[dict[str, str]]:
    """A server that has a page, and signs in by its callback as Whatomate does; settings that name it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/api/auth/sso/"):
            found = web.HTTPTemporaryRedirect(f"http://{request.host}/auth/sso/callback")
            access = whatomate_token(world.agent, world.home, seconds=900)
            refresh = whatomate_token(world.agent, world.home, seconds=86_400, jti=str(uuid4()))
            for line in (
                f"whm_access={access}; max-age=900; path=/api; HttpOnly; SameSite=Lax",
                f"whm_refresh={refresh}; max-age=86400; path=/api/auth/refresh; HttpOnly; SameSite=Lax",
                "whm_csrf=random-of-whatomates; max-age=86400; path=/; SameSite=Lax",
            ):
                found.headers.add("Set-Cookie", line)
            raise found
        if request.path.startswith("/api/"):
            return web.json_response({"user": request.headers["X-User-ID"]})
        return web.Response(text="<!doctype html><title>A page</title>", content_type="text/html")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield {"url": f"http://127.0.0.1:{runner.addresses[0][1]}"}
    finally:
        await runner.cleanup()


async def goes_on(browser: Browser, world: World) -> None:
    """A page calls, writes with the first CSRF token it sees, refreshes without one, and writes again."""
    for method, path, csrf in (
        ("GET", "/api/contacts", {}),
        ("POST", "/api/contacts", {"csrf": "yes"}),
        ("POST", REFRESH, {}),
        ("POST", "/api/contacts", {"csrf": "yes"}),
    ):
        answer = await browser.fetch(method, path, None if method == "GET" else {}, **csrf)
        assert answer["status"] == 200, (method, path, answer)
        if path == "/api/contacts":
            assert answer["body"]["user"] == str(world.agent)


@pytest.mark.parametrize("domain", DOMAINS)
async def test_a_jar_that_has_all_of_them_keeps_nobody_out(
    world: World, start: Start, browser: Browser, domain: str | None
) -> None:
    async with upstream(world) as up:
        gate = await start(world.url, cookies=True, cookie={"domain": domain}, upstream=up)
        await browser.open(f"http://{HOST}:{gate.address[1]}/")
        await fill(browser)
        assert len(await kept(browser)) == len(PLACES) * len(DOMAINS)
        assert (await browser.fetch("POST", LOGIN, CREDENTIALS))["status"] == 200
        assert set(await kept(browser)) == ours(domain)
        await fill(browser, *ours(domain))
        await goes_on(browser, world)
        assert set(await kept(browser)) == ours(domain)
        await fill(browser, *ours(domain))
        assert (await browser.fetch("POST", LOGOUT, {}))["status"] == 200
        assert await kept(browser) == {}


async def test_the_domain_is_switched_and_switched_back(world: World, start: Start, browser: Browser) -> None:
    async with upstream(world) as up:
        gates = [
            await start(world.url, cookies=True, cookie={"domain": domain}, upstream=up) for domain in DOMAINS
        ]
        host, shop, chat = (f"http://{HOST}:{gate.address[1]}/" for gate in gates)
        await browser.open(host)
        assert (await browser.fetch("POST", LOGIN, CREDENTIALS))["status"] == 200
        session = claims_of((await kept(browser))["whm_access", HOST, "/api"])["sid"]
        for url, domain in (
            (shop, "shop.localhost"),
            (host, None),
            (chat, HOST),
            (shop, "shop.localhost"),
            (chat, HOST),
            (host, None),
        ):
            await browser.open(url)
            await goes_on(browser, world)
            jar = await kept(browser)
            assert set(jar) == ours(domain)
            access = next(value for place, value in jar.items() if place[0] == "whm_access")
            assert claims_of(access)["sid"] == session


@pytest.mark.parametrize("domain", [None, "shop.localhost"])
async def test_single_sign_on_that_the_upstream_answers_ends_in_our_places(
    world: World, start: Start, browser: Browser, domain: str | None
) -> None:
    async with upstream(world) as up:
        gate = await start(
            world.url,
            cookies=True,
            cookie={"domain": domain},
            upstream=up,
            public_paths=("/*", "/api/auth/sso/*"),
        )
        home = f"http://{HOST}:{gate.address[1]}"
        await browser.open(f"{home}/")
        await fill(browser)
        await browser.open(f"{home}/api/auth/sso/google/callback?code=1&state=2")
        assert browser.driver.current_url == f"{home}/auth/sso/callback"
        jar = await kept(browser)
        assert set(jar) == ours(domain)
        assert await browser.cookies_of_scripts() == "whm_csrf=random-of-whatomates"
        for _ in range(2):
            await goes_on(browser, world)
        assert set(await kept(browser)) == ours(domain)
