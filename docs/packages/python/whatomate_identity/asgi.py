"""ASGI middleware: Starlette, FastAPI, Django, Quart, Litestar.

::

    app = IdentityMiddleware(app, Verifier(KeySet(URL), audience="billing"))     # any ASGI application
    app.add_middleware(IdentityMiddleware, verifier=Verifier(…))                 # Starlette, FastAPI

Law: an application is called for HTTP and WebSockets only with an identity in its scope, and that is None only on the
paths that were named for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whatomate_identity.guard import Guard
from whatomate_identity.identity import KEY
from whatomate_identity.refusals import REFUSALS, Answer
from whatomate_identity.verifier import path_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, MutableMapping

    from whatomate_identity.identity import Identity
    from whatomate_identity.verifier import Verifier

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class IdentityMiddleware:
    """Middleware that serves what the gateway has signed, and answers everything else itself."""

    def __init__(self, app: Application, verifier: Verifier, *, optional: Collection[str] = ()) -> None:
        """Guard `app`.

        Args:
            app: The application.
            verifier: The verifier of its requests.
            optional: Exact paths, decoded, that are served without a signed identity as well; ``*`` names all. Their
                identity is then None.
        """
        self._app = app
        self._guard = Guard(verifier, optional)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        raw = scope.get("raw_path")
        path = scope["path"].encode("utf-8", "surrogateescape") if raw is None else path_of(raw)
        headers = list(scope["headers"])
        identity: Identity | None = None
        if self._guard.demands(headers, path):
            try:
                identity = await self._guard.verifier.verify_async(scope.get("method", "GET"), path, headers)
            except REFUSALS as error:
                await _refuse(scope, send, Answer(error))
                return
        given = self._guard.given(headers, identity)
        await self._app({**scope, "headers": given, KEY: identity}, receive, send)


def identity_of(request: Any) -> Identity | None:
    """Return the identity of a request of a framework's, or of a scope."""
    scope = getattr(request, "scope", request)
    identity: Identity | None = scope[KEY]
    return identity


async def _refuse(scope: Scope, send: Send, answer: Answer) -> None:
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in scope.get("extensions", {}):
            # Before it is accepted: the server answers 403.
            await send({"type": "websocket.close", "code": 1008})
            return
    lines = [(name.lower().encode(), value.encode()) for name, value in answer.headers]
    await send({"type": f"{kind}.start", "status": answer.status, "headers": lines})
    await send({"type": f"{kind}.body", "body": answer.body})
