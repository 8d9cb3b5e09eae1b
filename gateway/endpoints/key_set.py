"""``/.well-known/jwks.json``: the public keys, for whoever verifies the gateway's tokens by themselves (RFC 7517).

Law: shared secrets are not in it, nor the private half of anything; with shared secrets alone it is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import web

from gateway.endpoints.describing import PUBLIC, Operation

if TYPE_CHECKING:
    from authcore.keys import KeyRing

PATH: Final = "/.well-known/jwks.json"
MAX_AGE_SECONDS: Final = 300
"""How long others may keep it: a new key is published for longer than this before it signs."""


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
    """The handler, over the ring as it is at the moment."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def add_to(self, application: web.Application) -> None:
        """Put the handler under its path."""
        application.router.add_get(PATH, self.show)

    async def show(self, _request: web.Request) -> web.Response:
        """Answer with the set, as it is and in no envelope."""
        return web.Response(
            body=orjson.dumps({"keys": list(self._ring.published())}),
            content_type="application/json",
            headers={"Cache-Control": f"public, max-age={MAX_AGE_SECONDS}"},
        )
