"""Verifier of the identities that whatomate-gateway signs, for the services behind it.

The gateway sends ``X-Identity``, a short-lived JWT that names the caller, the service, the method, the path and the
request. A service that verifies it can tell the gateway's requests from those of a neighbour that reached it directly.
The modules ``asgi``, ``wsgi`` and ``aiohttp`` are middleware; ``testing`` makes identities for tests.
"""

from __future__ import annotations

from whatomate_identity.identity import Identity, IdentityRejected, KeysUnavailable, utf8_of_latin1
from whatomate_identity.keys import KeySet, PublicKeys, SharedSecrets
from whatomate_identity.verifier import Verifier

__all__ = [
    "Identity",
    "IdentityRejected",
    "KeySet",
    "KeysUnavailable",
    "PublicKeys",
    "SharedSecrets",
    "Verifier",
    "utf8_of_latin1",
]
