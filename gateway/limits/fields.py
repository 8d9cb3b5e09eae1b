"""RateLimit fields: what a client may read of its limits (draft-ietf-httpapi-ratelimit-headers-10).

An item is named after its limit; where that has several windows, after the window's seconds as well, and after a number
where those are the same. In the policy, ``q`` is what a window grants at once, and ``w`` the seconds in which that many
are granted again. In the state, ``r`` is what is left, and ``t`` the seconds until there is one more.
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
    names: list[bytes] = []
    for window in windows:
        name, number = f"{limit}-{window.seconds:.0f}s", 1
        unique = name
        while f'"{unique}"'.encode("ascii") in names:
            number += 1
            unique = f"{name}-{number}"
        names.append(f'"{unique}"'.encode("ascii"))
    return names


def policy_of(limit: str, windows: list[Window], concurrency: int) -> bytes:
    """Return the items of a limit in a RateLimit-Policy field."""
    items = [
        b"%b;q=%d;w=%d" % (name, int(window.burst), max(ceil(window.depth), 1))
        for name, window in zip(item_names(limit, windows), windows, strict=True)
    ]
    if concurrency:
        items.append(b'"%b-at-once";q=%d;qu="concurrent-requests"' % (limit.encode("ascii"), concurrency))
    return b", ".join(items)


def fields_start(policy: bytes, item: bytes) -> bytes:
    """Return both fields of a limit with one window, up to the number that is left."""
    return b"RateLimit-Policy: %b\r\nRateLimit: %b;r=" % (policy, item)


def fields_of(limit: Limit, bucket: Bucket, now: float) -> bytes:
    """Return both fields of a limit that stands alone."""
    if limit.start:
        units, seconds = limit.left(bucket, 0, now)
        return b"%b%d;t=%d\r\n" % (limit.start, units, _rounded_up(seconds))
    return b"RateLimit-Policy: %b\r\nRateLimit: %b\r\n" % (limit.policy, state_of(limit, bucket, now))


def state_of(limit: Limit, bucket: Bucket, now: float) -> bytes:
    """Return the items of a limit in a RateLimit field."""
    items = limit.items
    parts: list[bytes] = []
    for number in range(len(items)):
        units, seconds = limit.left(bucket, number, now)
        parts.append(b"%b;r=%d;t=%d" % (items[number], units, _rounded_up(seconds)))
    if limit.concurrency:
        free = max(limit.concurrency - bucket.active, 0)
        parts.append(b'"%b-at-once";r=%d' % (limit.name.encode("ascii"), free))
    return parts[0] if len(parts) == 1 else b", ".join(parts)


def _rounded_up(seconds: float) -> int:
    whole = int(seconds)
    return whole if whole >= seconds else whole + 1
