"""A Flask service behind the gateway: python flask_service.py (any WSGI server takes the same middleware)."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, request

from whatomate_identity import KeySet, Verifier, utf8_of_latin1
from whatomate_identity.wsgi import IdentityMiddleware, identity_of

app = Flask(__name__)


@app.route("/<path:_path>", methods=["GET", "DELETE"])
def bills(_path: str) -> dict[str, Any]:
    """Answer with who asks: as it was signed, and as a plain header has it."""
    identity = identity_of(request)
    return {
        "user": identity and identity.user_id,
        "name": identity and identity.name,
        "plain": utf8_of_latin1(request.headers.get("X-User-Name", "")),
        "may": identity is not None and identity.may("chat:read"),
    }


if __name__ == "__main__":
    verifier = Verifier(KeySet(os.environ["KEYS_URL"]), audience=os.environ["AUDIENCE"])
    # Flask documents this assignment; its types have a method there.
    app.wsgi_app = IdentityMiddleware(app.wsgi_app, verifier, optional=["/healthz"])  # type: ignore[method-assign]
    app.run("127.0.0.1", int(os.environ["PORT"]))
