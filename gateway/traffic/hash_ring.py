"""Consistent hash: a ring on which each endpoint has many points, and each key belongs to the next point.

Laws:

- The same key leads to the same endpoint, in every process that knows the same endpoints.
- When an endpoint leaves, or is not eligible, its keys alone move. When one joins, keys move to it alone. With
  different weights this holds for as long as the greatest weight stays.
"""

from __future__ import annotations

from bisect import bisect_left
from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, Final

from gateway.traffic.balance import is_eligible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.wire.endpoint import Endpoint

POINTS: Final = 160
"""Points of the heaviest endpoint: shares of equal endpoints then differ by about a twelfth."""
_HASHED: Final = 64
_POINT: Final = 8
_BLOCK: Final = Struct(">8Q")
_BITS_OFF: Final = 2
"""A point has 62 bits: such an integer is a machine word in compiled code."""


class HashRing:
    """Ring of the points of a set of endpoints, each of a weight above zero."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        heaviest = max((endpoint.weight for endpoint in endpoints), default=1)
        owners: dict[int, Endpoint] = {}
        for endpoint in endpoints:
            owners |= dict.fromkeys(_points(endpoint, heaviest), endpoint)
        self._number = len(endpoints)
        self._points = sorted(owners)
        self._owners = [owners[point] for point in self._points]

    def pick(self, key: bytes, avoid: Sequence[Endpoint]) -> Endpoint | None:
        """Return the endpoint of a key, or of the next point whose endpoint is eligible; None if none is."""
        owners = self._owners
        size = len(owners)
        begin = bisect_left(self._points, _point(blake2b(key, digest_size=_POINT).digest()))
        passed: list[Endpoint] = []
        for place in range(begin, begin + size):
            owner = owners[place % size]
            if is_eligible(owner, avoid):
                return owner
            if owner not in passed:
                passed.append(owner)
                if len(passed) == self._number:
                    return None
        return None


def _points(endpoint: Endpoint, heaviest: int) -> list[int]:
    number = -(-POINTS * endpoint.weight // heaviest)
    points: list[int] = []
    for block in range(-(-number * _POINT // _HASHED)):
        points += _BLOCK.unpack(blake2b(b"%b %d" % (endpoint.key, block), digest_size=_HASHED).digest())
    return [point >> _BITS_OFF for point in points[:number]]


def _point(digest: bytes) -> int:
    return int.from_bytes(digest, "big") >> _BITS_OFF
