"""Middleware of aiohttp.

::

    app = web.Application(middlewares=[identity_middleware(Verifier(KeySet(URL), audience="billing"))])

Law: a handler is called only with an identity in its request, and that is None only on the paths that were named for
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web
from multidict import CIMultiDict

from whatomate_identity.guard import Guard
from whatomate_identity.identity import KEY
from whatomate_identity.refusals import REFUSALS, Answer
from whatomate_identity.verifier import path_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiohttp.typedefs import Handler, Middleware

    from whatomate_identity.identity import Identity
    from whatomate_identity.verifier import Verifier

IDENTITY: Final[web.RequestKey[Identity | None]] = web.RequestKey(KEY)
"""Key of a request under which its identity is."""


def identity_middleware(verifier: Verifier, *, optional: Collection[str] = ()) -> Middleware:
    """Make the middleware that serves what the gateway has signed, and answers everything else itself.

    Args:
        verifier: The verifier of the application's requests.
        optional: Exact paths, decoded, that are served without a signed identity as well; ``*`` names all. Their
            identity is then None.
    """
    guard = Guard(verifier, optional)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = list(request.raw_headers)
        path = path_of(request.raw_path.encode("utf-8", "surrogateescape"))
        identity: Identity | None = None
        if guard.demands(headers, path):
            try:
                identity = await verifier.verify_async(request.method, path, headers)
            except REFUSALS as error:
                answer = Answer(error)
                return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
        decoded: CIMultiDict[str] = CIMultiDict()
        for name, value in guard.given(headers, identity):
            decoded.add(name.decode("ascii"), value.decode("utf-8", "surrogateescape"))
        request = request.clone(headers=decoded)
        request[IDENTITY] = identity
        return await handler(request)

    return middleware


def identity_of(request: web.Request) -> Identity | None:
    """Return the identity of a request."""
    return request[IDENTITY]
