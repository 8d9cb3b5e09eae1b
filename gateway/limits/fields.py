"""RateLimit fields: what a client may read of its limits (draft-ietf-httpapi-ratelimit-headers-10).

An item is named after its limit; where that has several windows, after the window's seconds as well. In the policy,
``q`` is what a window grants at once, and ``w`` the seconds in which that many are granted again. In the state, ``r``
is what is left, and ``t`` the seconds until there is one more.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.limits.buckets import Bucket, Window
    from gateway.limits.limit import Limit


def item_names(limit: str, windows: list[Window]) -> list[bytes]:
    """Return the names of the items of a limit's windows, as structured strings (RFC 9651 section 3.3.3)."""
    if len(windows) == 1:
        return [f'"{limit}"'.encode("ascii")]
    return [f'"{limit}-{window.seconds:g}s"'.encode("ascii") for window in windows]


def policy_of(limit: str, windows: list[Window], concurrency: int) -> bytes:
    """Return the items of a limit in a RateLimit-Policy field."""
    items = [
        b"%b;q=%d;w=%d" % (name, int(window.burst), max(ceil(window.depth), 1))
        for name, window in zip(item_names(limit, windows), windows, strict=True)
    ]
    if concurrency:
        items.append(b'"%b-at-once";q=%d;qu="concurrent-requests"' % (limit.encode("ascii"), concurrency))
    return b", ".join(items)


def state_of(limit: Limit, bucket: Bucket, now: float) -> bytes:
    """Return the items of a limit in a RateLimit field."""
    items = limit.items
    if len(items) == 1 and not limit.concurrency:
        units, seconds = limit.left(bucket, 0, now)
        return b"%b;r=%d;t=%d" % (items[0], units, ceil(seconds))
    parts: list[bytes] = []
    for number in range(len(items)):
        units, seconds = limit.left(bucket, number, now)
        parts.append(b"%b;r=%d;t=%d" % (items[number], units, ceil(seconds)))
    if limit.concurrency:
        free = max(limit.concurrency - bucket.active, 0)
        parts.append(b'"%b-at-once";r=%d' % (limit.name.encode("ascii"), free))
    return b", ".join(parts)
