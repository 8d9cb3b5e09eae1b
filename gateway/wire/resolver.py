"""Resolver: it maps host names to addresses, stores answers for their time to live, and follows names that move.

Laws:

- At most one lookup of a name is under way, however many callers ask. No lookup waits for that of another name.
- An answer is used for its time to live, but no shorter and no longer than the limits say.
- While a new lookup is slow or fails, the last good addresses are used, for ``stale_seconds`` at most; and for
  ``gone_seconds`` where a name server answers that there are none. So are those of one version of IP where the query
  for these alone fails.
- A name that is followed is looked up again whenever its answer is used up; those who follow it are called when its
  set of addresses has changed, in whatever order they come.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Protocol

from gateway.wire.dns_client import LookupFailed, NameAbsent
from gateway.wire.found_addresses import version_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.wire.dns_client import Lookup

    Changed = Callable[[tuple[str, ...]], None]

PATIENCE_SECONDS: Final = 0.25
"""For so long a new lookup is waited for while there are good addresses of an older one."""
_MOST_FAILURES: Final = 16


@dataclass(frozen=True, slots=True)
class ResolverLimits:
    """Bounds of how long an answer is used, in seconds.

    Attributes:
        fewest_seconds: An answer is used for so long at least, even if its time to live is zero.
        most_seconds: An answer is used for so long at most, while name servers answer.
        stale_seconds: The last good addresses are used for so long while lookups fail.
        gone_seconds: They are used for so long after a name server answered that there are none.
    """

    fewest_seconds: float = 1.0
    most_seconds: float = 5.0
    stale_seconds: float = 3600.0
    gone_seconds: float = 30.0


class ResolverEvents(Protocol):
    """Receiver of events of names: new addresses, failures, recoveries."""

    def changed(self, name: str, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        """Note that `name` has other addresses than before."""

    def failed(self, name: str, error: LookupFailed, used: tuple[str, ...]) -> None:
        """Note that `name` could not be looked up, and which addresses are used all the same."""

    def recovered(self, name: str) -> None:
        """Note that `name` was looked up after lookups that failed."""


class _Record:
    """Record of one name: its addresses and lookups. Times are of the event loop's clock."""

    __slots__ = (
        "addresses",
        "failure",
        "failures",
        "followers",
        "good_until",
        "lookup",
        "name",
        "renewed_at",
        "timer",
        "whole_until",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.addresses: tuple[str, ...] = ()
        self.renewed_at = 0.0
        """The time from which the answer, or the failure, is used up."""
        self.good_until = 0.0
        """The time until which the addresses are used while lookups fail."""
        self.whole_until = 0.0
        """The same for those of one version of IP, while its queries alone fail."""
        self.failure: LookupFailed | None = None
        self.failures = 0
        self.lookup: asyncio.Task[None] | None = None
        self.followers: list[Changed] = []
        self.timer: asyncio.TimerHandle | None = None


def literal(host: str) -> str | None:
    """Return the address that `host` is written as, or the path of a Unix socket that it is; None if it is a name."""
    if host.startswith("/"):
        return host
    with suppress(ValueError):
        return str(ip_address(host))
    if host[:1].isdigit():
        with suppress(OSError):
            return socket.inet_ntoa(socket.inet_aton(host))  # 127.1 and 2130706433, which URLs may have
    return None


class Resolver:
    """Resolver of one process.

    Attributes:
        outcomes: How often lookups ended how: ``ok``, ``absent``, ``timeout`` or ``failed``.
    """

    def __init__(
        self, look_up: Callable[[str], Awaitable[Lookup]], limits: ResolverLimits, events: ResolverEvents
    ) -> None:
        """`look_up` asks name servers; it returns an answer or raises a :class:`LookupFailed`, in finite time."""
        self._look_up = look_up
        self._limits = limits
        self._events = events
        self._records: dict[str, _Record] = {}
        self._closed = False
        self.outcomes: Counter[str] = Counter({"ok": 0, "absent": 0, "timeout": 0, "failed": 0})

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the addresses of `host`, a name or an address, in the order of preference.

        Raises:
            LookupFailed: there are none to be had.
        """
        written = literal(host)
        if written is not None:
            return (written,)
        record = self._record(host)
        if asyncio.get_running_loop().time() >= record.renewed_at:
            patience = PATIENCE_SECONDS if record.addresses else None
            await asyncio.wait({self._begin(record)}, timeout=patience)
        if record.addresses:
            return record.addresses
        failure = record.failure
        if failure is None:
            raise LookupFailed(f"the name {host} is not looked up any more: the gateway stops")
        raise type(failure)(failure.words)

    def follow(self, name: str, changed: Changed) -> Callable[[], None]:
        """Look `name` up from now on, and call `changed` with its addresses when they change; return what ends it."""
        record = self._record(name)
        record.followers.append(changed)
        if record.addresses:
            changed(record.addresses)
        if record.timer is None:
            self._begin(record)
        return partial(self._unfollow, record, changed)

    def _unfollow(self, record: _Record, changed: Changed) -> None:
        with suppress(ValueError):
            record.followers.remove(changed)
        if not record.followers and record.timer is not None:
            record.timer.cancel()
            record.timer = None

    def close(self) -> None:
        """Cancel all lookups, and start none any more."""
        self._closed = True
        for record in self._records.values():
            record.followers.clear()
            if record.timer is not None:
                record.timer.cancel()
            if record.lookup is not None:
                record.lookup.cancel()

    # -- lookups -----------------------------------------------------------------------------------------------

    def _record(self, name: str) -> _Record:
        key = name.lower()
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record(name)
        return record

    def _begin(self, record: _Record) -> asyncio.Task[None]:
        """Return the lookup that is under way, or a new one."""
        if record.lookup is None:
            record.lookup = asyncio.get_running_loop().create_task(
                self._renew(record), name=f"look up {record.name}"
            )
        return record.lookup

    async def _renew(self, record: _Record) -> None:
        before = record.addresses
        try:
            answer = None if self._closed else await self._look_up(record.name)
        except LookupFailed as error:
            self._note_failure(record, error)
        else:
            if answer is not None:
                self._note_answer(record, answer)
        finally:
            record.lookup = None
        self._again_later(record)
        if set(record.addresses) != set(before):
            if before:
                self._events.changed(record.name, before, record.addresses)
            for changed in list(record.followers):
                changed(record.addresses)

    def _note_answer(self, record: _Record, answer: Lookup) -> None:
        self.outcomes["ok"] += 1
        limits, now = self._limits, asyncio.get_running_loop().time()
        before, record.addresses = record.addresses, answer.addresses
        record.renewed_at = now + min(max(answer.ttl, limits.fewest_seconds), limits.most_seconds)
        record.good_until = record.renewed_at + limits.stale_seconds
        if not answer.lacks:
            record.whole_until = record.good_until
        elif now < record.whole_until:
            record.addresses += tuple(one for one in before if version_of(one) == answer.lacks)
        if record.failure is not None:
            self._events.recovered(record.name)
        record.failure, record.failures = None, 0

    def _note_failure(self, record: _Record, error: LookupFailed) -> None:
        self.outcomes[error.outcome] += 1
        limits, now = self._limits, asyncio.get_running_loop().time()
        record.failure = error.with_traceback(None)
        pause = limits.fewest_seconds * 2.0**record.failures
        record.failures = min(record.failures + 1, _MOST_FAILURES)
        record.renewed_at = now + min(pause, limits.most_seconds)
        if isinstance(error, NameAbsent):
            record.good_until = min(record.good_until, now + limits.gone_seconds)
        if now >= record.good_until:
            record.addresses = ()
        self._events.failed(record.name, error, record.addresses)

    def _again_later(self, record: _Record) -> None:
        """Look a name that is followed up again when what is known is used up."""
        if record.timer is not None:
            record.timer.cancel()
            record.timer = None
        if record.followers and not self._closed:
            record.timer = asyncio.get_running_loop().call_at(record.renewed_at, self._begin, record)
