"""JWKS endpoints: the public keys, for services that verify tokens or signed identities themselves (RFC 7517).

Laws:

- They contain neither shared secrets nor private keys; with shared secrets alone the set of the tokens is empty.
- Keys of tokens and keys of signed identities are in two sets: a service that takes tokens by the one does not take a
  signed identity, which every upstream is sent, for a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from gateway.endpoints.endpoint import PUBLIC, Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiohttp import web

    from gateway.endpoints.caller import Visitor
    from gateway.endpoints.services import Services

MAX_AGE_SECONDS: Final = 300
"""How long others may cache it: a new key is published for longer than this before it signs."""


async def show(services: Services, _request: web.Request, _visitor: Visitor) -> web.Response:
    """Answer with the key set of tokens, without an envelope."""
    return _key_set(services.ring.published())


async def show_identity_keys(services: Services, _request: web.Request, _visitor: Visitor) -> web.Response:
    """Answer with the key set of signed identities, without an envelope."""
    return _key_set(services.identity_keys)


def _key_set(keys: Iterable[Mapping[str, str]]) -> web.Response:
    from aiohttp import web

    return web.Response(
        body=orjson.dumps({"keys": list(keys)}),
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
    Endpoint(
        method="GET",
        path="/.well-known/identity-jwks.json",
        limited=False,
        route="identity_jwks",
        tag="Descriptions",
        summary="The public keys that signed identities are signed with, as a JSON Web Key Set",
        access=PUBLIC,
        handler=show_identity_keys,
        when=lambda settings: settings.signed.identity == "EdDSA",
    ),
)
