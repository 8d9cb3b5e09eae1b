"""JWKS endpoint ``/.well-known/jwks.json``: the public keys, for services that verify tokens themselves (RFC 7517).

Law: it contains neither shared secrets nor private keys; with shared secrets alone it is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import web

from gateway.endpoints.describing import PUBLIC, Operation

if TYPE_CHECKING:
    from authcore.crypto.keyring import KeyRing

PATH: Final = "/.well-known/jwks.json"
MAX_AGE_SECONDS: Final = 300
"""How long others may cache it: a new key is published for longer than this before it signs."""


OPERATIONS: Final = (
    Operation(
        method="GET",
        path=PATH,
        tag="Descriptions",
        summary="The public keys that tokens are signed with, as a JSON Web Key Set",
        access=PUBLIC,
    ),
)


class KeySetEndpoint:
    """Handler over the current key ring."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def add_to(self, application: web.Application) -> None:
        """Register the handler under its path."""
        application.router.add_get(PATH, self.show)

    async def show(self, _request: web.Request) -> web.Response:
        """Answer with the key set, without an envelope."""
        return web.Response(
            body=orjson.dumps({"keys": list(self._ring.published())}),
            content_type="application/json",
            headers={"Cache-Control": f"public, max-age={MAX_AGE_SECONDS}"},
        )
