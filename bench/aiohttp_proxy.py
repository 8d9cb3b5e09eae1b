"""Yardstick proxy on aiohttp: the authenticating proxy that a newcomer would write, with PyJWT and one ClientSession.

It is idiomatic on purpose. Usage: ``python -m bench.aiohttp_proxy PORT UPSTREAM_PORT SECRET``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import jwt
import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOP_BY_HOP: Final = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "upgrade",
    "te",
    "trailer",
}
CLIENT: Final = web.AppKey("client", ClientSession)


def make(upstream: str, secret: str) -> web.Application:
    """Return the application."""

    async def proxy(request: web.Request) -> web.StreamResponse:
        try:
            token = request.headers["Authorization"].removeprefix("Bearer ")
            claims = jwt.decode(token, secret, algorithms=["HS256"], issuer="whatomate")
        except (KeyError, jwt.InvalidTokenError):
            return web.json_response({"status": "error", "message": "Invalid or expired token"}, status=401)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        headers["X-User-ID"] = claims["user_id"]
        headers["X-Org-ID"] = claims["organization_id"]
        headers["X-User-Email"] = claims["email"]
        body = request.content if request.can_read_body else None
        async with request.app[CLIENT].request(
            request.method, upstream + request.path_qs, headers=headers, data=body, allow_redirects=False
        ) as answer:
            forwarded = {
                name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP
            }
            response = web.StreamResponse(status=answer.status, headers=forwarded)
            response.content_length = answer.content_length
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    async def client(application: web.Application) -> AsyncIterator[None]:
        connector = TCPConnector(limit=0)
        async with ClientSession(
            connector=connector, auto_decompress=False, timeout=ClientTimeout(60)
        ) as session:
            application[CLIENT] = session
            yield

    application = web.Application(client_max_size=1 << 30)
    application.cleanup_ctx.append(client)
    application.router.add_route("*", "/{path:.*}", proxy)
    return application


if __name__ == "__main__":
    port, upstream_port, shared = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    web.run_app(
        make(f"http://127.0.0.1:{upstream_port}", shared),
        host="127.0.0.1",
        port=port,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
