"""Keys of limits: what a limit counts as one caller.

Laws:

- A key follows from what was proven or believed, never from a name or value that the client chose: the client's network
  as its address is believed, ids of the principal, the name of the route.
- A caller without a user or an organization is counted by its network in their place: an anonymous request is never
  outside of a limit.
- Different callers have different keys: each part has its own first letter, and a length that is fixed or an end.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from authcore.networks import network

if TYPE_CHECKING:
    from collections.abc import Callable

    from authcore.principal import Principal

NETWORK: Final = "network"
USER: Final = "user"
API_KEY: Final = "api_key"
ORGANIZATION: Final = "organization"
ROUTE: Final = "route"
ALL: Final = "all"
PARTS: Final = (NETWORK, USER, API_KEY, ORGANIZATION, ROUTE, ALL)
"""Parts of keys. One that is made of `ALL` alone counts all requests together."""


def _network_key(address: str) -> bytes:
    return b"n%b\0" % network(address).encode("ascii")


network_key: Callable[[str], bytes] = lru_cache(4096)(_network_key)
"""Return the part of the network of a client's address."""


def key_of(parts: tuple[str, ...], client: bytes, route: str, principal: Principal | None) -> bytes:
    """Return the key of a request.

    Args:
        parts: What the key is made of.
        client: The part of the client's network.
        route: The name of the route.
        principal: The caller; None before it is known.
    """
    if len(parts) == 1:
        return _part(parts[0], client, route, principal)
    return b"".join([_part(part, client, route, principal) for part in parts])


def _part(part: str, client: bytes, route: str, principal: Principal | None) -> bytes:
    if part == ROUTE:
        return b"r%b\0" % route.encode("ascii")
    if part == ALL:
        return b"*"
    if principal is not None:
        if part == USER and principal.user_id is not None:
            return b"u" + principal.user_id.bytes
        if part == ORGANIZATION and principal.organization_id is not None:
            return b"o" + principal.organization_id.bytes
        if part == API_KEY and principal.key_id is not None:
            return b"k" + principal.key_id.bytes
    return client
