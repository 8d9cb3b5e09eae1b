"""Server of one key set on a loopback port, for services under test that fetch their keys."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Final

from aiohttp import web

from gateway.dev.seed import DevError

if TYPE_CHECKING:
    from collections.abc import Callable

PATH: Final = "/.well-known/identity-jwks.json"


async def serve_keys(document: bytes, host: str, port: int, is_up: Callable[[str], None]) -> None:
    """Serve `document` until SIGINT or SIGTERM; call `is_up` with its URL when it can be fetched.

    Raises:
        DevError: the address cannot be listened on.
    """

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/json")

    application = web.Application()
    application.router.add_get(PATH, answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise DevError(f"--serve-keys {host}:{port}: {error.strerror}; choose another address") from error
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        authority = f"[{host}]" if ":" in host else host
        is_up(f"http://{authority}:{runner.addresses[0][1]}{PATH}")
        await stop.wait()
    finally:
        await runner.cleanup()
