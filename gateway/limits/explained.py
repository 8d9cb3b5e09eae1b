"""Explanation of limits: which of a route's limits a request meets, and their state, without taking of them."""

from __future__ import annotations

from math import ceil, inf
from typing import TYPE_CHECKING

from gateway.limits.buckets import Bucket
from gateway.limits.fields import item_names
from gateway.limits.keys import is_counted, key_of, network_key

if TYPE_CHECKING:
    from authcore.principal import Principal
    from gateway.limits.limit import Limit, RouteLimits


def explained(
    limits: RouteLimits, client: str, principal: Principal | None, now: float
) -> list[dict[str, object]]:
    """Return a document for each limit that a request meets.

    Args:
        limits: The limits of its route.
        client: The client's address.
        principal: The caller; None if it is not permitted, so that only the limits by network are met.
        now: Monotonic seconds.
    """
    network = network_key(client)
    met: list[tuple[Limit, Principal | None]] = [(limit, None) for limit in limits.early]
    if principal is not None:
        met += [(limit, principal) for limit in limits.late if is_counted(limit.parts, principal)]
    return [
        _of(limit, key_of(limit.parts, network, limits.route, caller), limits, now) for limit, caller in met
    ]


def _of(limit: Limit, key: bytes, limits: RouteLimits, now: float) -> dict[str, object]:
    bucket = limit.buckets.peek(key) or Bucket(key, len(limit.windows))
    wait = limit.wait(bucket, limits.cost, now)
    found: dict[str, object] = {
        "name": limit.name,
        "key": list(limit.parts),
        "cost": limits.cost,
        "shadow": limit.shadow or limits.shadow,
        "grants": wait <= 0 and not limit.is_busy(bucket),
    }
    if wait > 0:
        # The store of a closed limit is away.
        found["retry_after_seconds"] = 1 if wait == inf else max(ceil(wait), 1)
    if limit.windows:
        names = item_names(limit.name, limit.windows)
        left = [limit.left(bucket, number, now)[0] for number in range(len(names))]
        found["left"] = {
            name.decode("ascii").strip('"'): units for name, units in zip(names, left, strict=True)
        }
    if limit.concurrency:
        found["at_work"], found["at_once"] = bucket.active, limit.concurrency
    return found
