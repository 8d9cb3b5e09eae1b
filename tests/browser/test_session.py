"""A browser signs in on a page, calls, is kept from forging, calls from elsewhere, and logs out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser.driving import site
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from tests.browser.driving import Browser
    from tests.support.worlds import Start, World


LOGIN, LOGOUT, REFRESH = (f"/api/auth/{name}" for name in ("login", "logout", "refresh"))
CREDENTIALS = {"email": "agent@example.com", "password": PASSWORD}
ALL = {"whm_access", "whm_refresh", "whm_csrf"}


async def test_a_session_in_a_browser(world: World, start: Start, browser: Browser) -> None:
    async with site() as port:
        gate = await start(
            world.url, cookies=True, cookie={"only": True}, upstream={"url": f"http://127.0.0.1:{port}"}
        )
        home = f"http://localhost:{gate.address[1]}"
        await browser.open(f"{home}/")

        # Nobody is signed in.
        assert (await browser.fetch("GET", "/api/contacts"))["status"] == 401

        # Signing in: three cookies, of which scripts can read one; no token in the body.
        answer = await browser.fetch("POST", LOGIN, CREDENTIALS)
        assert answer["status"] == 200
        assert set(answer["body"]["data"]) == {"user", "expires_in"}
        kept = await browser.cookies()
        assert set(kept) == ALL
        assert {
            name: (one["path"], one["httpOnly"], one["secure"], one["sameSite"]) for name, one in kept.items()
        } == {
            "whm_access": ("/api", True, True, "Lax"),
            "whm_refresh": ("/api/auth", True, True, "Lax"),
            "whm_csrf": ("/", False, True, "Lax"),
        }
        assert await browser.cookies_of_scripts() == f"whm_csrf={kept['whm_csrf']['value']}"

        # Calling: the cookie says who; the upstream is told, and does not see the cookie.
        answer = await browser.fetch("GET", "/api/contacts")
        assert answer["status"] == 200
        told = answer["body"]["headers"]
        assert told["X-User-ID"] == str(world.agent)
        assert told["X-Auth-Method"] == "cookie"
        assert "Cookie" not in told

        # An unsafe call needs the token that only a page of this site can read.
        answer = await browser.fetch("POST", "/api/contacts", {})
        assert answer["status"] == 403
        assert "X-CSRF-Token" in answer["body"]["message"]
        assert (await browser.fetch("POST", "/api/contacts", {}, csrf="yes"))["status"] == 200

        # Refreshing by cookie: that a page of this host asks is proof enough, and the token does no harm.
        assert (await browser.fetch("POST", REFRESH, {}))["status"] == 200
        assert (await browser.fetch("POST", REFRESH, {}, csrf="yes"))["status"] == 200
        fresh = await browser.cookies()
        assert fresh["whm_refresh"]["value"] != kept["whm_refresh"]["value"]
        assert fresh["whm_csrf"]["value"] == kept["whm_csrf"]["value"]

        # A WebSocket by cookie, for a page of this origin.
        assert await browser.socket(f"ws://localhost:{gate.address[1]}/api/socket") == str(world.agent)

        # Logging out.
        assert (await browser.fetch("POST", LOGOUT, {}))["body"]["data"] == {"status": "logged_out"}
        assert await browser.cookies() == {}
        assert await browser.cookies_of_scripts() == ""
        assert (await browser.fetch("GET", "/api/contacts"))["status"] == 401


async def test_a_page_of_another_origin_reads_nothing_unless_it_may(
    world: World, start: Start, browser: Browser
) -> None:
    async with site() as port, site() as elsewhere:
        app = f"http://localhost:{elsewhere}"
        up = {"url": f"http://127.0.0.1:{port}"}
        closed = await start(world.url, cookies=True, upstream=up)
        opened = await start(
            world.url, cookies=True, upstream=up, cors={"origins": (app,), "credentials": True}
        )
        here, there = (f"http://localhost:{gate.address[1]}" for gate in (closed, opened))

        # Without a policy the page may neither read an answer nor sign in.
        await browser.open(f"{app}/")
        for method, path, body in (("GET", "/api/contacts", None), ("POST", LOGIN, CREDENTIALS)):
            assert "threw" in await browser.fetch(method, here + path, body)
        assert await browser.cookies() == {}

        # With one that names it, it may do both, errors and the request's id included.
        answer = await browser.fetch("GET", f"{there}/api/contacts")
        assert answer["status"] == 401
        assert answer["id"]
        assert (await browser.fetch("POST", there + LOGIN, CREDENTIALS))["status"] == 200
        assert set(await browser.cookies()) == ALL
        answer = await browser.fetch("GET", f"{there}/api/contacts")
        assert answer["body"]["headers"]["X-User-ID"] == str(world.agent)
        assert (await browser.fetch("PUT", f"{there}/api/contacts", {}))["status"] == 403
        # Preflighted.
        assert (await browser.fetch("PUT", f"{there}/api/contacts", {}, csrf="yes"))["status"] == 200

        # WebSockets know no CORS: the browser sends the cookie wherever the page is from, and the gateway looks.
        sockets = (f"ws://localhost:{gate.address[1]}/api/socket" for gate in (closed, opened))
        assert [await browser.socket(url) for url in sockets] == ["refused", str(world.agent)]

        # A page that it does not name: the same page by another name, which is another site to the browser.
        await browser.open(f"http://127.0.0.1:{elsewhere}/")
        for method, path, body in (("GET", "/api/contacts", None), ("POST", LOGIN, CREDENTIALS)):
            assert "threw" in await browser.fetch(method, there + path, body)
