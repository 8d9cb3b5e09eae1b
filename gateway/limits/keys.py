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
    from gateway.limits.limit import RouteLimits

NETWORK: Final = "network"
USER: Final = "user"
API_KEY: Final = "api_key"
ORGANIZATION: Final = "organization"
ROUTE: Final = "route"
ALL: Final = "all"
OF_CALLERS: Final = frozenset({USER, API_KEY, ORGANIZATION})
"""Parts of keys that a caller has to be known for. A key of `ALL` counts all requests together."""


def _network_key(address: str) -> bytes:
    return b"n%b\0" % network(address).encode("ascii")


network_key: Callable[[str], bytes] = lru_cache(4096)(_network_key)
"""Return the part of the network of a client's address."""


class CallerKeys:
    """Memo of the keys of requests with the same field lines from the same peer.

    Each list is stored with the objects that it was made for, and is used again only for those.
    """

    __slots__ = ("_client", "_early", "_early_of", "_late", "_late_of", "_network", "_principal")

    def __init__(self, client: str) -> None:
        """Make the memo of requests from the address `client`."""
        self._client = client
        self._network: bytes | None = None
        self._early_of: RouteLimits | None = None
        self._early: list[bytes] = []
        self._late_of: RouteLimits | None = None
        self._principal: Principal | None = None
        self._late: list[bytes] = []

    def early(self, limits: RouteLimits) -> list[bytes]:
        """Return the keys for the limits of a route that count before the credential is read."""
        if self._early_of is not limits:
            self._early = [self._of(limit.parts, limits.route, None) for limit in limits.early]
            self._early_of = limits
        return self._early

    def late(self, limits: RouteLimits, principal: Principal) -> list[bytes]:
        """Return those for the limits that count callers; empty for one that does not count `principal`."""
        if self._late_of is not limits or self._principal is not principal:
            self._late = [
                self._of(limit.parts, limits.route, principal) if is_counted(limit.parts, principal) else b""
                for limit in limits.late
            ]
            self._late_of, self._principal = limits, principal
        return self._late

    def _of(self, parts: tuple[str, ...], route: str, principal: Principal | None) -> bytes:
        if self._network is None:
            self._network = network_key(self._client)
        return key_of(parts, self._network, route, principal)


def is_counted(parts: tuple[str, ...], principal: Principal) -> bool:
    """Return whether a key of these parts counts `principal`: one with API_KEY, only callers with an API key."""
    return principal.key_id is not None or API_KEY not in parts


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
