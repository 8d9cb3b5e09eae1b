"""Leases: the source of units that several replicas share, in place of a limit's own windows.

The methods have the meaning of those of :class:`~gateway.limits.limit.Limit`. They answer from memory: what a source
has to ask of its store, it asks beside the requests. It may put what it likes into ``bucket.lease``, and sets
``bucket.held_until`` for as long as that has to stay. Where the table is full, one bucket stands for several keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.limits.buckets import Bucket
    from gateway.limits.limit import Limit


class LeaseSource(Protocol):
    """Source of the leases of all limits."""

    def of(self, limit: Limit, *, closed: bool | None) -> Leases:
        """Return the leases of a limit; `closed` is None if the settings decide what it does without the store."""


class Leases(Protocol):
    """Leases of one limit."""

    def wait(self, limit: Limit, bucket: Bucket, cost: int, now: float) -> float:
        """Return the seconds until `cost` units are granted; 0 if they are now, infinity if nobody can say."""

    def take(self, limit: Limit, bucket: Bucket, cost: int, now: float) -> None:
        """Take `cost` units, which :meth:`wait` has just granted."""

    def give_back(self, limit: Limit, bucket: Bucket, cost: int, now: float) -> None:
        """Give back `cost` units that were taken."""

    def left(self, limit: Limit, bucket: Bucket, window: int, now: float) -> tuple[int, float]:
        """Return the units that are left in a window, and the seconds until there is one more."""
