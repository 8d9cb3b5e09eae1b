"""JWKS endpoint ``/.well-known/jwks.json``: the public keys, for services that verify tokens themselves (RFC 7517).

Law: it contains neither shared secrets nor private keys; with shared secrets alone it is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import web

from gateway.endpoints.endpoint import PUBLIC, Endpoint

if TYPE_CHECKING:
    from gateway.endpoints.caller import Visitor
    from gateway.endpoints.services import Services

MAX_AGE_SECONDS: Final = 300
"""How long others may cache it: a new key is published for longer than this before it signs."""


async def show(services: Services, _request: web.Request, _visitor: Visitor) -> web.Response:
    """Answer with the key set, without an envelope."""
    return web.Response(
        body=orjson.dumps({"keys": list(services.ring.published())}),
        content_type="application/json",
        headers={"Cache-Control": f"public, max-age={MAX_AGE_SECONDS}"},
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/.well-known/jwks.json",
        limited=False,
        route="jwks",
        tag="Descriptions",
        summary="The public keys that tokens are signed with, as a JSON Web Key Set",
        access=PUBLIC,
        handler=show,
    ),
)
