"""Verdict cache with single flight: it holds principals and refusals until they expire or their rows change.

Laws:

- Single flight: concurrent misses of one credential share one load. The load belongs to the cache and not to the caller
  that caused it, which may be cancelled without harm to the others.
- If a row changes while a load that read it is in flight, the result is not cached, and is returned only to callers
  that were waiting before the change. So an overlapping load cannot bring back what a notification has dropped.
- Refusals have a cache of their own: a flood of garbage evicts no principal.
- A credential with an organization that is ignored has an alias of the credential's own principal, in a third cache. A
  caller who asks for many organizations thus evicts no principal and no refusal. A change of its rows drops an alias.
- An outage is no verdict. While the store does not answer, a cached principal may be used for ``stale_seconds`` more,
  and is marked as stale. A principal that a change has dropped may not be used, nor one from before a gap that is over.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from authcore.errors import AuthError, StoreUnavailable
from authcore.figures import MetricSample
from authcore.identity.lru_cache import Cache
from authcore.identity.verdict import UNKNOWN_KEY, Verdict
from authcore.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from uuid import UUID

    from authcore.store.rows import Change

_SESSION_BYTES: Final = 190
_PRINCIPAL_BYTES: Final = 1400
"""Bytes of a principal, its entry, its index and its identity headers, without texts; bench/identity.py measures it."""
_REFUSAL_BYTES: Final = 500
_LOGGED_ROWS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the verdict cache, in entries, bytes and seconds.

    Attributes:
        cache_seconds: Time to live of a principal.
        cache_entries: The most principals.
        cache_bytes: The most bytes of all principals, approximately.
        refused_seconds: Time to live of a refusal.
        refused_entries: The most refusals, and the most aliases.
        stale_seconds: How long a principal past its time to live may be used while the store is down; 0 for never.
    """

    cache_seconds: float
    cache_entries: int
    cache_bytes: int = 1 << 30
    refused_seconds: float = 5
    refused_entries: int = 10_000
    stale_seconds: float = 0


@dataclass(slots=True, eq=False)
class _Flight:
    begun: int
    task: asyncio.Task[Verdict]


class VerdictCache:
    """Verdict cache: it holds verdicts until they expire or a row of theirs changes."""

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
        self._aliases: Cache[bytes] = Cache(
            seconds=limits.cache_seconds,
            entries=limits.refused_entries,
            size=limits.refused_entries * _REFUSAL_BYTES,
            weigh=lambda _: _REFUSAL_BYTES,
        )
        self._flights: dict[bytes, _Flight] = {}
        self._heard = 0  # the number of changes and gaps so far; a flight stores the number at which it began
        self._all_changed = 0  # the number of the last one that concerned every row
        self._changed: dict[UUID, int] = {}  # the number of the last one for each row, since _all_changed
        self._loads = self._stale = self._gaps = self._overtaken = 0

    def __repr__(self) -> str:
        return (
            f"<verdict cache: {len(self._principals)} principals ({self._principals.size} bytes), "
            f"{len(self._refusals)} refusals, {len(self._aliases)} aliases, {len(self._flights)} loads in flight>"
        )

    @property
    def loads(self) -> int:
        """Number of verdicts that were asked of the store so far."""
        return self._loads

    def recall(self, key: bytes, now: float) -> Principal | None:
        """Return the fresh principal of `key`; None if no fresh verdict is cached.

        Raises:
            AuthError: the fresh verdict is a refusal.
        """
        principal = self._principals.get(key, now)
        if principal is None:
            own = self._aliases.get(key, now)
            if own is not None:
                return self._principals.get(own, now)
            refusal = self._refusals.get(key, now)
            if refusal is not None:
                raise refusal
        return principal

    def drop(self, key: bytes) -> None:
        """Remove the principal of `key`."""
        self._principals.drop(key)

    async def fetch(self, key: bytes, now: float, load: Callable[[], Awaitable[Verdict]]) -> Principal:
        """Load the verdict on `key`, once for all concurrent callers, and return its principal.

        Raises:
            AuthError: the verdict is a refusal.
            StoreUnavailable: the store does not answer, and no stale principal may be used instead.
        """
        asked, tries = self._heard, 0
        while True:
            tries += 1
            flights = [self._flights.get(key) or self._begin(key, now, load)]
            begun = flights[0].begun
            try:
                # Shielded: a caller that waits may be cancelled, and the flight goes on for the others.
                verdict = await asyncio.shield(flights[0].task)
            except StoreUnavailable:
                flights.clear()  # the task holds the error, whose traceback refers to this frame: that would be a cycle
                stale = self._find_stale(key, now)
                if stale is not None:
                    return stale
                # Only an outage that has ended meanwhile is worth another try.
                if tries > 1 or begun >= self._all_changed:
                    raise
                continue
            if begun >= asked or not self._is_overtaken(verdict.rows, begun):
                break
        if verdict.principal is None:
            raise verdict.refusal or AuthError
        return verdict.principal

    # -- notifications of the database ------------------------------------------------------------------------------

    def hear(self, change: Change) -> None:
        """Drop the verdicts that depended on changed rows."""
        self._heard += 1
        if change.everything or len(self._changed) > _LOGGED_ROWS:
            self._all_changed = self._heard  # this covers every change in the log, so the log can be cleared
            self._changed.clear()
        caches = (self._principals, self._refusals, self._aliases)
        if change.everything:
            for cache in caches:
                cache.clear()
            return
        rows = [*change.rows, *([UNKNOWN_KEY] if change.of_keys else [])]
        for cache in caches:
            for row in rows:
                cache.drop_row(row)
            for user, organization in change.memberships:
                cache.drop_row(user, organization)
        for row in (*rows, *(user for user, _ in change.memberships)):
            self._changed[row] = self._heard

    def begin_gap(self) -> None:
        """Begin a gap, in which changes may go unheard: every verdict becomes stale, and may be used as stale."""
        self._gaps += 1
        self._principals.suspect()
        self._aliases.suspect()
        self._call_into_question()

    def end_gap(self) -> None:
        """End a gap: changes are heard again, and no verdict from before may be used, neither fresh nor stale."""
        self._principals.clear()
        self._aliases.clear()
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
        # The exception is retrieved here: asyncio would log that of a flight which nobody awaits any more.
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
            self._aliases.drop(key)
            if verdict.alias_of is not None:
                return self._store_alias(key, verdict.alias_of, verdict, now)
            if verdict.principal is not None:
                self._principals.put(key, verdict.principal, verdict.rows, now)
            elif verdict.refusal is not None:
                self._principals.drop(key)
                self._refusals.put(key, verdict.refusal, verdict.rows, now)
            return verdict
        finally:
            del self._flights[key]

    def _store_alias(self, key: bytes, own: bytes, verdict: Verdict, now: float) -> Verdict:
        """Store `key` as an alias of `own`, and return the verdict with the principal that is stored there."""
        self._principals.drop(key)
        self._aliases.put(key, own, verdict.rows, now)
        known = self._principals.get(own, now)
        if known is not None:
            return replace(verdict, principal=known)
        if verdict.principal is not None:
            self._refusals.drop(own)
            self._principals.put(own, verdict.principal, verdict.rows, now)
        return verdict

    def _is_overtaken(self, rows: Iterable[UUID], begun: int) -> bool:
        """Return whether a change of one of `rows` was heard after `begun`."""
        return begun < self._all_changed or any(begun < self._changed.get(row, 0) for row in rows)

    def _find_stale(self, key: bytes, now: float) -> Principal | None:
        if not self._stale_seconds:
            return None
        alias = self._aliases.find_stale(key, now, self._stale_seconds)
        own = key if alias is None else alias.value
        entry = self._principals.find_stale(own, now, self._stale_seconds)
        if entry is None:
            return None
        self._stale += 1
        if not entry.value.is_stale:
            entry.value = replace(entry.value, is_stale=True)
        return entry.value

    def figures(self) -> Iterable[MetricSample]:
        """Yield the gauges and counters to publish."""
        good, bad = self._principals, self._refusals
        yield MetricSample("entries", "Principals remembered.", lambda: len(good))
        yield MetricSample("bytes", "Bytes that remembered principals take, about.", lambda: good.size)
        yield MetricSample("refusals", "Refusals remembered.", lambda: len(bad))
        yield MetricSample(
            "ignored", "Organizations asked for and ignored that are remembered.", lambda: len(self._aliases)
        )
        yield MetricSample("loads_in_flight", "Verdicts being loaded.", lambda: len(self._flights))
        yield MetricSample("hits", "Principals found fresh in memory.", lambda: good.hits, counts=True)
        yield MetricSample("refusal_hits", "Refusals found fresh in memory.", lambda: bad.hits, counts=True)
        yield MetricSample("loads", "Verdicts asked of the store.", lambda: self._loads, counts=True)
        yield MetricSample("stale", "Principals used stale in an outage.", lambda: self._stale, counts=True)
        yield MetricSample(
            "evicted", "Principals that made room for others.", lambda: good.evicted, counts=True
        )
        yield MetricSample(
            "refusals_evicted", "Refusals that made room for others.", lambda: bad.evicted, counts=True
        )
        yield MetricSample("dropped", "Principals dropped by a change.", lambda: good.dropped, counts=True)
        yield MetricSample(
            "overtaken",
            "Loads whose result was discarded, as a row had changed meanwhile.",
            lambda: self._overtaken,
            counts=True,
        )
        yield MetricSample(
            "gaps",
            "Times that the LISTEN connection was lost, and every verdict became stale.",
            lambda: self._gaps,
            counts=True,
        )


def _weigh(principal: Principal) -> int:
    return (
        _PRINCIPAL_BYTES
        + (_SESSION_BYTES if principal.session_id is not None else 0)
        + 2
        * (len(principal.email) + len(principal.name) + sum(len(text) for _, text in principal.attributes))
        + sum(map(len, principal.permissions)) * 11 // 8  # in the headers alone: permissions are shared
    )
