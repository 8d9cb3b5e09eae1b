"""A bounded memory of verdicts: least recently used out first, each fresh for a time, loaded once however many ask.

Laws:

- Never more entries than allowed, and never a value past its freshness.
- Single flight: of any number that miss one key at once, one load runs. It belongs to the cache, not to who asked
  first, who may go away without harm to the others. Its exception reaches all who wait, and is not remembered.
- A key dropped while it is being loaded is not filled by that load.
- No clock: ``now`` is passed in. Time running backwards makes entries stale, not immortal.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from cachetools import LRUCache

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")

JITTER: Final = 0.1
"""The share of an entry's time by which it may end early, so that a burst of loads does not come back as one."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """A value, and from when to when it is fresh."""

    value: V
    since: float
    fresh_until: float

    def is_fresh(self, now: float) -> bool:
        """Tell whether the value may be used."""
        return self.since <= now < self.fresh_until


class Cache(Generic[K, V]):
    """Bounded, with a time to live, single flight."""

    def __init__(self, *, seconds: float, entries: int, jitter: float = JITTER) -> None:
        self._seconds = seconds
        self._jitter = jitter
        self._entries: LRUCache[K, Entry[V]] = LRUCache(entries)
        self._flights: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K, now: float) -> V | None:
        """Return the fresh value of `key`, from memory only; None when there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.is_fresh(now):
            return entry.value
        del self._entries[key]
        return None

    def put(self, key: K, value: V, now: float) -> None:
        """Remember a value, fresh from `now` on."""
        early = self._jitter * random.random()  # noqa: S311 - spreading load is no secret
        seconds = self._seconds * (1 - early)
        self._entries[key] = Entry(value, now, now + seconds)

    def drop(self, key: K) -> None:
        """Forget `key`, and what is being loaded for it."""
        self._entries.pop(key, None)
        self._flights.pop(key, None)

    def clear(self) -> None:
        """Forget everything, and what is being loaded."""
        self._entries.clear()
        self._flights.clear()

    async def fetch(self, key: K, now: float, load: Callable[[], Awaitable[V]]) -> V:
        """Return the fresh value of `key`, or have it loaded: once, for all who ask meanwhile."""
        value = self.get(key, now)
        if value is not None:
            return value
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.ensure_future(self._load(key, now, load))
            self._flights[key] = flight
            # Retrieved here: a flight that nobody awaits any more may fail in silence.
            flight.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Shielded: who waits may be cancelled, the flight goes on for the others.
        return await asyncio.shield(flight)

    async def _load(self, key: K, now: float, load: Callable[[], Awaitable[V]]) -> V:
        flight = asyncio.current_task()
        try:
            value = await load()
            if self._flights.get(key) is flight:
                self.put(key, value, now)
            return value
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]
