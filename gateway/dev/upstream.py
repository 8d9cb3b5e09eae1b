"""Echo upstream to try the gateway with: it answers every request with that request, as JSON.

Law: it reports what it received in the order and spelling received; that is its purpose.
"""

from __future__ import annotations

from typing import Final, Self

from aiohttp import web

BODY_BYTES: Final = 1_048_576


class DemoUpstream:
    """Small HTTP server, on a loopback port that the system chooses unless another is given.

    Attributes:
        address: Host and port that it listens on.
    """

    def __init__(self, runner: web.ServerRunner, address: tuple[str, int]) -> None:
        self._runner = runner
        self.address = address

    @classmethod
    async def start(cls, host: str = "127.0.0.1", port: int = 0) -> Self:
        """Start listening."""
        runner = web.ServerRunner(web.Server(_answer, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        return cls(runner, runner.addresses[0][:2])

    async def stop(self) -> None:
        """Close every connection."""
        await self._runner.cleanup()


async def _answer(request: web.BaseRequest) -> web.Response:
    body = await request.content.read(BODY_BYTES)
    return web.json_response(
        {
            "method": request.method,
            "path": request.rel_url.raw_path,
            "query": request.rel_url.raw_query_string,
            "headers": [
                [name.decode("latin-1"), value.decode("latin-1")] for name, value in request.raw_headers
            ],
            "body": body.decode("utf-8", "replace"),
        }
    )
