"""A real browser as a user has it, and a site for it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from selenium import webdriver


@dataclass
class Browser:
    """Browser of one user."""

    driver: webdriver.Chrome

    async def open(self, url: str) -> None:
        """Go to a page."""
        await asyncio.to_thread(self.driver.get, url)

    async def run(self, body: str, *arguments: object) -> Any:
        """Run the body of an async function in the page, and return what it returns; what it throws is its message."""
        script = f"""
            const done = arguments[arguments.length - 1], given = [...arguments].slice(0, -1);
            (async (...args) => {{ {body} }})(...given).then(done, error => done({{threw: String(error)}}));
        """
        return await asyncio.to_thread(self.driver.execute_async_script, script, *arguments)

    async def fetch(self, method: str, url: str, body: object = None, **headers: str) -> Any:
        """Fetch as the page would, with its cookies; `csrf="yes"` sends the token that the page can read."""
        return await self.run(
            """
            const [method, url, body, headers] = args;
            if (headers.csrf) {
                delete headers.csrf;
                headers["X-CSRF-Token"] = document.cookie.split("; ")
                    .find(cookie => cookie.startsWith("whm_csrf=")).slice("whm_csrf=".length);
            }
            if (body !== null) headers["Content-Type"] = "application/json";
            const answer = await fetch(url, {
                method, headers, credentials: "include", body: body === null ? undefined : JSON.stringify(body),
            });
            const id = answer.headers.get("X-Request-ID");
            return {status: answer.status, id: id, body: await answer.json()};
            """,
            method,
            url,
            body,
            headers,
        )

    async def socket(self, url: str) -> Any:
        """Open a WebSocket as the page would, and return what it says first; or that there is none."""
        return await self.run(
            """
            return new Promise(done => {
                const socket = new WebSocket(args[0]);
                socket.onmessage = event => { socket.close(); done(event.data); };
                socket.onerror = () => done("refused");
            });
            """,
            url,
        )

    async def cookies_of_scripts(self) -> str:
        """Return the cookies that scripts of the page can read."""
        return str(await self.run("return document.cookie;"))

    async def forget(self, name: str) -> None:
        """Drop the cookies of a name, as the browser does by itself at their Max-Age."""
        found = await asyncio.to_thread(self.driver.execute_cdp_cmd, "Storage.getCookies", {})
        for cookie in found["cookies"]:
            if cookie["name"] == name:
                place = {field: cookie[field] for field in ("name", "domain", "path")}
                await asyncio.to_thread(self.driver.execute_cdp_cmd, "Network.deleteCookies", place)

    async def cookies(self) -> dict[str, dict[str, Any]]:
        """Every cookie that would be sent from here, as the browser keeps it."""
        found = await asyncio.to_thread(self.driver.execute_cdp_cmd, "Storage.getCookies", {})
        return {cookie["name"]: cookie for cookie in found["cookies"]}


@asynccontextmanager
async def site() -> AsyncIterator[str]:
    """A web server that has a page, and tells everything else what it was sent; its URL without a host name."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade") == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str(request.headers["X-User-ID"])
            await socket.receive()
            return socket
        if request.path == "/":
            return web.Response(text="<!doctype html><title>A page</title>", content_type="text/html")
        return web.json_response({"method": request.method, "headers": dict(request.headers)})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield str(runner.addresses[0][1])
    finally:
        await runner.cleanup()
