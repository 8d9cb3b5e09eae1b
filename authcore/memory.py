"""What is remembered of who is who: verdicts of the store, good and bad, and when they stop counting.

Laws:

- Single flight: of any number that miss one credential at once, one load runs. It belongs to the memory, not to who
  asked first, who may go away without harm to the others.
- A read that began before a change was heard, of a row that it touched, is neither remembered nor given to anybody who
  asked after that change: what a notification has dropped cannot come back by a load that overlapped it.
- Refusals have a store of their own: a flood of garbage evicts no identity.
- An outage is no verdict. While the store does not answer, a principal that was good may be used for ``stale_seconds``
  more and says so; one that a change has dropped may not, nor one from before a gap that is over.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from uuid import UUID

from authcore.cache import Cache
from authcore.errors import AuthError, StoreUnavailable
from authcore.figures import Figure
from authcore.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from authcore.store.rows import Change

UNKNOWN_KEY: Final = UUID(int=0)
"""Stands for the rows that a key which is nobody's would come from; a change of any API key changes it."""

_SESSION_BYTES: Final = 190
_PRINCIPAL_BYTES: Final = 1400
"""Of a principal, its entry, its index and its identity headers, without their texts; bench/identity.py measures it."""
_REFUSAL_BYTES: Final = 500
_LOGGED_ROWS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is remembered, and for how long.

    Attributes:
        cache_seconds: A principal is fresh this long.
        cache_entries: Principals at most.
        cache_bytes: Bytes of them at most, about.
        refused_seconds: A refusal is fresh this long.
        refused_entries: Refusals at most.
        stale_seconds: While the store is away, past its freshness a principal goes on for this long; 0 for not at all.
    """

    cache_seconds: float
    cache_entries: int
    cache_bytes: int = 1 << 30
    refused_seconds: float = 5
    refused_entries: int = 10_000
    stale_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the store said of a credential: who it is, or why not; and the rows that this came from."""

    rows: frozenset[UUID]
    principal: Principal | None = None
    refusal: type[AuthError] | None = None


@dataclass(slots=True, eq=False)
class _Flight:
    begun: int
    task: asyncio.Task[Verdict]


class Memory:
    """Remembers verdicts until their time is up or their rows change."""

    def __init__(self, limits: Limits) -> None:
        self._stale_seconds = limits.stale_seconds
        self._principals: Cache[Principal] = Cache(
            seconds=limits.cache_seconds, entries=limits.cache_entries, size=limits.cache_bytes, weigh=_weigh
        )
        self._refusals: Cache[type[AuthError]] = Cache(
            seconds=limits.refused_seconds,
            entries=limits.refused_entries,
            size=limits.refused_entries * _REFUSAL_BYTES,
            weigh=lambda _: _REFUSAL_BYTES,
        )
        self._flights: dict[bytes, _Flight] = {}
        self._heard = 0  # counts changes and gaps; a flight notes where it began
        self._all_changed = 0  # the last of them that concerned every row
        self._changed: dict[UUID, int] = {}  # the last one for each row, since then
        self._loads = self._stale = self._gaps = self._overtaken = 0

    def recall(self, key: bytes, now: float) -> Principal | None:
        """Return the fresh principal of `key`; None when nothing fresh is known.

        Raises:
            AuthError: the fresh verdict is a refusal.
        """
        principal = self._principals.get(key, now)
        if principal is None:
            refusal = self._refusals.get(key, now)
            if refusal is not None:
                raise refusal
        return principal

    def drop(self, key: bytes) -> None:
        """Forget `key`."""
        self._principals.drop(key)

    async def fetch(self, key: bytes, now: float, load: Callable[[], Awaitable[Verdict]]) -> Principal:
        """Have the verdict on `key` loaded: once, for all who ask meanwhile.

        Raises:
            AuthError: the verdict is a refusal.
            StoreUnavailable: the store does not answer, and nothing is known that may stand in for it.
        """
        asked, tries = self._heard, 0
        while True:
            tries += 1
            flight = self._flights.get(key) or self._begin(key, now, load)
            try:
                # Shielded: who waits may be cancelled, the flight goes on for the others.
                verdict = await asyncio.shield(flight.task)
            except StoreUnavailable:
                stale = self._find_stale(key, now)
                if stale is not None:
                    return stale
                # An outage that has ended meanwhile is worth another try, and only that.
                if tries > 1 or flight.begun >= self._all_changed:
                    raise
                continue
            if flight.begun >= asked or not self._is_overtaken(verdict.rows, flight.begun):
                break
        if verdict.principal is None:
            raise verdict.refusal or AuthError
        return verdict.principal

    # -- what the database tells ----------------------------------------------------------------------------------

    def hear(self, change: Change) -> None:
        """Forget whatever depended on rows that have changed."""
        self._heard += 1
        if change.everything or len(self._changed) > _LOGGED_ROWS:
            self._all_changed = self._heard  # which says all that was in the log, and more
            self._changed.clear()
        if change.everything:
            self._principals.clear()
            self._refusals.clear()
            return
        rows = [*change.rows, *([UNKNOWN_KEY] if change.of_keys else [])]
        for cache in (self._principals, self._refusals):
            for row in rows:
                cache.drop_row(row)
            for user, organization in change.memberships:
                cache.drop_row(user, organization)
        for row in (*rows, *(user for user, _ in change.memberships)):
            self._changed[row] = self._heard

    def begin_gap(self) -> None:
        """From now on changes may go unheard: nothing known is fresh, and all of it may be used as stale."""
        self._gaps += 1
        self._principals.suspect()
        self._call_into_question()

    def end_gap(self) -> None:
        """Changes are heard again: nothing from before may be used, be it fresh or stale."""
        self._principals.clear()
        self._call_into_question()

    def _call_into_question(self) -> None:
        self._heard += 1
        self._all_changed = self._heard
        self._changed.clear()
        self._refusals.clear()

    # -- flights ---------------------------------------------------------------------------------------------------

    def _begin(self, key: bytes, now: float, load: Callable[[], Awaitable[Verdict]]) -> _Flight:
        self._loads += 1
        begun = self._heard
        task = asyncio.ensure_future(self._load(key, now, begun, load))
        # Retrieved here: a flight that nobody awaits any more may fail in silence.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        flight = self._flights[key] = _Flight(begun, task)
        return flight

    async def _load(
        self, key: bytes, now: float, begun: int, load: Callable[[], Awaitable[Verdict]]
    ) -> Verdict:
        try:
            verdict = await load()
            if self._is_overtaken(verdict.rows, begun):
                self._overtaken += 1
                return verdict
            self._refusals.drop(key)
            if verdict.principal is not None:
                self._principals.put(key, verdict.principal, verdict.rows, now)
            elif verdict.refusal is not None:
                self._principals.drop(key)
                self._refusals.put(key, verdict.refusal, verdict.rows, now)
            return verdict
        finally:
            del self._flights[key]

    def _is_overtaken(self, rows: Iterable[UUID], begun: int) -> bool:
        """Tell whether one of `rows` was heard to change after `begun`."""
        return begun < self._all_changed or any(begun < self._changed.get(row, 0) for row in rows)

    def _find_stale(self, key: bytes, now: float) -> Principal | None:
        if not self._stale_seconds:
            return None
        entry = self._principals.find_stale(key, now, self._stale_seconds)
        if entry is None:
            return None
        self._stale += 1
        if not entry.value.is_stale:
            entry.value = replace(entry.value, is_stale=True)
        return entry.value

    def figures(self) -> Iterable[Figure]:
        """What to publish."""
        good, bad = self._principals, self._refusals
        yield Figure("entries", "Principals remembered.", lambda: len(good))
        yield Figure("bytes", "Bytes that remembered principals take, about.", lambda: good.size)
        yield Figure("refusals", "Refusals remembered.", lambda: len(bad))
        yield Figure("loads_in_flight", "Verdicts being loaded.", lambda: len(self._flights))
        yield Figure("hits", "Principals found fresh in memory.", lambda: good.hits, counts=True)
        yield Figure("refusal_hits", "Refusals found fresh in memory.", lambda: bad.hits, counts=True)
        yield Figure("loads", "Verdicts asked of the store.", lambda: self._loads, counts=True)
        yield Figure("stale", "Principals used stale in an outage.", lambda: self._stale, counts=True)
        yield Figure("evicted", "Principals that made room for others.", lambda: good.evicted, counts=True)
        yield Figure(
            "refusals_evicted", "Refusals that made room for others.", lambda: bad.evicted, counts=True
        )
        yield Figure("dropped", "Principals dropped by a change.", lambda: good.dropped, counts=True)
        yield Figure("overtaken", "Loads that a change made worthless.", lambda: self._overtaken, counts=True)
        yield Figure(
            "gaps",
            "Times that changes could go unheard and all was questioned.",
            lambda: self._gaps,
            counts=True,
        )


def _weigh(principal: Principal) -> int:
    return (
        _PRINCIPAL_BYTES
        + (_SESSION_BYTES if principal.session_id is not None else 0)
        + 2
        * (len(principal.email) + len(principal.name) + sum(len(text) for _, text in principal.attributes))
        + sum(map(len, principal.permissions)) * 11 // 8  # in the headers alone; the permissions are shared
    )
