"""A service of aiohttp behind the gateway: python aiohttp_service.py."""

from __future__ import annotations

import os

from aiohttp import web

from whatomate_identity import KeySet, Verifier
from whatomate_identity.aiohttp import identity_middleware, identity_of


async def bills(request: web.Request) -> web.Response:
    """Answer with who asks: as it was signed, and as a plain header has it, which aiohttp reads as UTF-8."""
    identity = identity_of(request)
    return web.json_response(
        {
            "user": identity and identity.user_id,
            "name": identity and identity.name,
            "plain": request.headers.get("X-User-Name", ""),
            "may": identity is not None and identity.may("chat:read"),
        }
    )


if __name__ == "__main__":
    verifier = Verifier(KeySet(os.environ["KEYS_URL"]), audience=os.environ["AUDIENCE"])
    app = web.Application(middlewares=[identity_middleware(verifier, optional=["/healthz"])])
    app.router.add_route("*", "/{path:.*}", bills)
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None)
