"""Whatomate's browser client works behind the gateway as it does without: every story of a day, with its own calls."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.browser.whatomate import FRAME_BYTES, Whatomate, whatomate
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser.driving import Browser
    from tests.support.worlds import Start, World


LOGIN = "return await json('POST', '/auth/login', {email: args[0], password: args[1]});"
ME = "return await json('GET', '/me');"
PLACES = {"whm_access": "/api", "whm_refresh": "/api/auth", "whm_csrf": "/"}


@asynccontextmanager
async def site(start: Start, world: World, browser: Browser) -> AsyncIterator[tuple[Whatomate, str]]:
    """Start the upstream and, before it, the gateway with cookies and the preset; have the client's page open."""
    async with whatomate() as server:
        gate = await start(
            world.url,
            preset="whatomate",
            cookies=True,
            cookie={"only": True, "secure": False},
            upstream={"url": f"http://127.0.0.1:{server.port}"},
        )
        home = f"http://localhost:{gate.address[1]}"
        await browser.open(f"{home}/login")
        yield server, home


async def sign_in(browser: Browser, name: str) -> Any:
    answer = await browser.run(LOGIN, f"{name}@example.com", PASSWORD)
    assert answer["status"] == 200, answer
    return answer


async def test_a_user_stays_signed_in_when_the_access_token_ends(
    world: World, start: Start, browser: Browser
) -> None:
    async with site(start, world, browser) as (server, home):
        answer = await sign_in(browser, "agent")
        assert set(answer["data"]) == {"user", "expires_in"}
        first = await browser.cookies()
        assert {name: one["path"] for name, one in first.items()} == PLACES

        # The browser drops whm_access at its Max-Age. A page with much to show then meets several 401 at once.
        for _ in range(3):
            await browser.forget("whm_access")
            calls = "['/me', '/contacts', '/me'].map(async path => (await call('GET', path)).status)"
            assert await browser.run(f"return Promise.all({calls});") == [200, 200, 200]
        assert await browser.run("return left;") is None
        last = await browser.cookies()
        assert {name: one["path"] for name, one in last.items()} == PLACES
        assert last["whm_refresh"]["value"] != first["whm_refresh"]["value"]
        assert set(server.cookies) == {None}  # the upstream saw none of the three

        # Signed out, a call ends at the sign-in form, as it does without the gateway.
        assert await browser.run("return (await json('POST', '/auth/logout', {})).data;") == {
            "status": "logged_out"
        }
        assert await browser.cookies() == {}
        await browser.open(f"{home}/chat")
        assert (await browser.run(ME))["status"] == 401
        assert await browser.run("return left;") == "/login"


async def test_the_socket_opens_with_a_first_message_and_ends_with_the_session(
    world: World, start: Start, browser: Browser
) -> None:
    async with site(start, world, browser) as (server, home):
        await sign_in(browser, "agent")
        said = await browser.run("""
            const token = (await json("GET", "/auth/ws-token")).data.token;
            window.line = dial(introduction(token));
            line.send(JSON.stringify({type: "ping", payload: {}}));
            return [introduction(token), await line.next()];
        """)
        first, answer = said
        assert answer == '{"type": "pong", "payload": null}'
        assert server.frames[0] == first
        assert len(first) <= FRAME_BYTES
        assert server.origins == [home]
        assert server.pongs == 1

        # What the upstream refuses ends as the upstream says.
        long = "const line = dial(introduction((await json('GET', '/auth/ws-token')).data.token));"
        assert (
            await browser.run(f"{long} line.send('x'.repeat({FRAME_BYTES + 1})); return line.next();")
            == "closed 1009"
        )
        other = "return dial(JSON.stringify({type: 'ping', payload: {}})).next();"
        assert await browser.run(other) == "closed 1008 authentication failed"

        # And the first, open all the while, ends with what the upstream knows nothing of.
        await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
        assert (await browser.run("return line.next();")).startswith("closed 4401")


async def test_an_organization_is_chosen_and_a_choice_left_behind_harms_nobody(
    world: World, start: Start, browser: Browser
) -> None:
    where = "return (await json('GET', '/contacts')).data.organization_id;"
    async with site(start, world, browser) as (server, _):
        server.members = {world.both: {world.home, world.other}}
        await sign_in(browser, "both")
        assert await browser.run(where) == str(world.home)

        switch = "return await json('POST', '/auth/switch-org', {organization_id: args[0]});"
        answer = await browser.run(switch, str(world.other))
        assert answer["data"]["user"]["organization_id"] == str(world.other)
        assert answer["data"]["user"]["role"]["name"] == "manager"
        assert await browser.run(where) == str(world.other)
        await browser.forget("whm_access")
        assert await browser.run(where) == str(world.other)

        # The switcher in the client's page sets a header instead, and it stays through a logout.
        choose = "localStorage.setItem('selected_organization_id', args[0]);"
        await browser.run(choose, str(world.home))
        assert await browser.run(where) == str(world.home)
        await browser.run(choose, str(world.other))
        await browser.run("await call('POST', '/auth/logout', {});")
        await sign_in(browser, "agent")  # who is no member there
        assert await browser.run(where) == str(world.home)


async def test_a_file_goes_up_and_an_export_comes_down(world: World, start: Start, browser: Browser) -> None:
    size = 5 << 20
    async with site(start, world, browser) as (_, _):
        await sign_in(browser, "admin")
        answer = await browser.run(
            """
            const bytes = Uint8Array.from({length: args[0]}, (_, place) => place % 251), form = new FormData();
            form.append("file", new File([bytes], "contacts.csv", {type: "text/csv"}));
            form.append("table", "contacts");
            return await json("POST", "/import", form);
            """,
            size,
        )
        content = (bytes(range(251)) * (size // 251 + 1))[:size]
        assert answer["data"] == {"size": size, "sha256": hashlib.sha256(content).hexdigest()}

        answer = await browser.run("""
            const answer = await call("POST", "/export", {table: "contacts", columns: ["phone_number"]});
            const blob = await answer.blob();
            return [answer.status, blob.type, answer.headers.get("Content-Disposition"), await blob.text()];
        """)
        assert answer == [
            200,
            "text/csv; charset=utf-8",
            "attachment; filename=contacts_20260530.csv",
            "Phone Number,Name\n15550100,Zoë\n",
        ]

        # An agent may not: the gateway says so before the file is read.
        await sign_in(browser, "agent")
        assert await browser.run("return (await json('POST', '/export', {table: 'contacts'})).status;") == 403


async def test_a_session_that_single_sign_on_began_goes_on(
    world: World, start: Start, browser: Browser
) -> None:
    async with site(start, world, browser) as (server, home):
        server.stranger = (world.agent, world.home, "agent@example.com")
        await browser.open(f"{home}/api/auth/sso/custom/init")
        assert await browser.run("return location.href;") == f"{home}/auth/sso/callback"
        assert (await browser.run(ME))["data"]["id"] == str(world.agent)

        for _ in range(3):
            await browser.forget("whm_access")
            assert (await browser.run(ME))["status"] == 200

        # It ends for good: no cookie of either issuer is left, and signing in again works.
        await browser.run("await call('POST', '/auth/logout', {});")
        assert await browser.cookies() == {}
        await sign_in(browser, "agent")
        await browser.forget("whm_access")
        assert (await browser.run(ME))["status"] == 200
        assert {name: one["path"] for name, one in (await browser.cookies()).items()} == PLACES
