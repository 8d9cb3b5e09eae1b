"""Bounded LRU cache with a time to live and invalidation by database row.

Laws:

- It never holds more entries or more bytes than allowed, and never returns a value past its freshness.
- An entry knows its rows and a row knows its entries: a change of one row drops exactly the entries that depended on
  it.
- Invalidating everything walks through nothing. It increments a generation, and an entry of an older generation is
  loaded again when it is next asked for.
- There is no clock: ``now`` is passed in. Time that runs backwards makes entries stale, not immortal.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

V = TypeVar("V")

JITTER: Final = 0.1
"""The share of its time to live by which an entry may end early, so that a burst of loads is not repeated as one."""


class CacheEntry(Generic[V]):
    """Cache entry: a value, the interval in which it is fresh, and the rows it came from."""

    __slots__ = ("fresh_until", "generation", "key", "rows", "since", "size", "value")

    def __init__(  # noqa: PLR0913, PLR0917 - its fields, made in one place
        self,
        key: bytes,
        value: V,
        rows: tuple[UUID, ...],
        since: float,
        fresh_until: float,
        generation: int,
        size: int,
    ) -> None:
        self.key = key
        self.value = value
        self.rows = rows
        self.since = since
        self.fresh_until = fresh_until
        self.generation = generation
        self.size = size


class Cache(Generic[V]):
    """LRU cache bounded in entries and bytes, with a time to live and invalidation by row.

    Attributes:
        size: The approximate bytes of all entries.
        hits: How often a fresh value was found.
        evicted: How many entries were removed to make room for others.
        dropped: How many entries were removed because a row of theirs changed.
    """

    def __init__(
        self,
        *,
        seconds: float,
        entries: int,
        size: int,
        weigh: Callable[[V], int],
        jitter: float = JITTER,
    ) -> None:
        """`size` bounds the total bytes; `weigh` returns the bytes of one value."""
        self._seconds = seconds
        self._jitter = jitter
        self._most_entries = entries
        self._most_bytes = size
        self._weigh = weigh
        self._entries: OrderedDict[bytes, CacheEntry[V]] = OrderedDict()
        # Most rows have one entry, and a set with one element would cost more than the entry itself.
        self._by_row: dict[UUID, CacheEntry[V] | set[CacheEntry[V]]] = {}
        self._sizes: dict[int, int] = {}
        self._generation = 0
        self._oldest_usable = 0
        self.size = 0
        self.hits = 0
        self.evicted = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float) -> V | None:
        """Return the fresh value of `key`; None when there is none."""
        entry = self._entries.get(key)
        if (
            entry is None
            or entry.generation != self._generation
            or not entry.since <= now < entry.fresh_until
        ):
            return None
        self._entries.move_to_end(key)
        self.hits += 1
        return entry.value

    def find_stale(self, key: bytes, now: float, seconds: float) -> CacheEntry[V] | None:
        """Return the entry of `key`, fresh or stale; None if it is unusable or its freshness ended `seconds` ago."""
        entry = self._entries.get(key)
        if entry is None or entry.generation < self._oldest_usable:
            return None
        return entry if entry.since <= now < entry.fresh_until + seconds else None

    def put(self, key: bytes, value: V, rows: Iterable[UUID], now: float) -> None:
        """Store a value that came from `rows`, fresh from `now` on."""
        self.drop(key)
        early = self._jitter * random.random()  # noqa: S311 - spreading load is no secret
        until = now + self._seconds * (1 - early)
        size = self._weigh(value)
        size = self._sizes.setdefault(size, size)  # few sizes, many entries: one int object for each size
        entry = CacheEntry(key, value, tuple(rows), now, until, self._generation, size)
        self._entries[key] = entry
        self.size += entry.size
        for row in entry.rows:
            self._link(row, entry)
        self._sweep()
        while len(self._entries) > self._most_entries or self.size > self._most_bytes:
            self.evicted += 1
            self._forget(next(iter(self._entries.values())))

    def drop(self, key: bytes) -> None:
        """Remove the entry of `key`, if there is one."""
        entry = self._entries.get(key)
        if entry is not None:
            self._forget(entry)

    def drop_row(self, row: UUID, beside: UUID | None = None) -> None:
        """Remove every entry that came from `row`; with `beside`, only those that came from that row as well."""
        found = self._by_row.get(row)
        if found is None:
            return
        entries = [found] if isinstance(found, CacheEntry) else list(found)
        for entry in entries:
            if beside is None or beside in entry.rows:
                self.dropped += 1
                self._forget(entry)

    def suspect(self) -> None:
        """Make every entry stale: none is fresh any more, and each can still be found by `find_stale`."""
        self._generation += 1

    def clear(self) -> None:
        """Make every entry unusable; each later `put` frees the memory of up to two of them."""
        self._generation += 1
        self._oldest_usable = self._generation

    def _sweep(self) -> None:
        """Free up to two unusable entries: they are the least recently used."""
        for entry in list(islice(self._entries.values(), 2)):
            if entry.generation < self._oldest_usable:
                self._forget(entry)

    def _forget(self, entry: CacheEntry[V]) -> None:
        del self._entries[entry.key]
        self.size -= entry.size
        for row in entry.rows:
            self._unlink(row, entry)

    def _link(self, row: UUID, entry: CacheEntry[V]) -> None:
        found = self._by_row.get(row)
        if found is None:
            self._by_row[row] = entry
        elif isinstance(found, CacheEntry):
            if found is not entry:
                self._by_row[row] = {found, entry}
        else:
            found.add(entry)

    def _unlink(self, row: UUID, entry: CacheEntry[V]) -> None:
        found = self._by_row.get(row)
        if found is entry:
            del self._by_row[row]
        elif isinstance(found, set):
            found.discard(entry)
            if not found:
                del self._by_row[row]
