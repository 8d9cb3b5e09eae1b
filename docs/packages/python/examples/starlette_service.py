"""A Starlette service behind the gateway: python starlette_service.py (FastAPI takes the same middleware)."""

from __future__ import annotations

import os

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request  # noqa: TC002 -- a signature
from starlette.responses import JSONResponse
from starlette.routing import Route

from whatomate_identity import KeySet, Verifier, utf8_of_latin1
from whatomate_identity.asgi import IdentityMiddleware, identity_of


async def bills(request: Request) -> JSONResponse:
    """Answer with who asks: as it was signed, and as a plain header has it."""
    identity = identity_of(request)
    return JSONResponse(
        {
            "user": identity and identity.user_id,
            "name": identity and identity.name,
            "plain": utf8_of_latin1(request.headers.get("X-User-Name", "")),
            "may": identity is not None and identity.may("chat:read"),
        }
    )


def main() -> None:
    """Serve until the end."""
    verifier = Verifier(KeySet(os.environ["KEYS_URL"]), audience=os.environ["AUDIENCE"])
    app = Starlette(
        routes=[Route("/{path:path}", bills, methods=["GET", "DELETE"])],
        middleware=[Middleware(IdentityMiddleware, verifier=verifier, optional=["/healthz"])],
    )
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")


if __name__ == "__main__":
    main()
