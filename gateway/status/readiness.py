"""Readiness check behind ``/readyz``: whether requests should be sent to this gateway, and if not, why.

Laws:

- A draining gateway is unready, and so is one that has never found its database in order, or finds migrations pending
  or tables that lack what the statements need.
- A database that is away, or refuses, makes ``strict`` unready at once. ``serving`` stays ready for as long as known
  callers are served without it, ``GATEWAY_IDENTITY_STALE_SECONDS``, and reports the problem all the same.
- A database that refuses writes, since it is read-only or its disk is full, is not in order, and the check says which.
- So is one whose user lacks a right that a statement needs, or does not see every row; the check names each right and
  table.
- It answers within ``ANSWER_SECONDS``, sooner than a probe gives up: of a database that has not answered by then the
  last verdict stands, except that ``strict`` is unready. One look is under way at a time.
- One that answers, but not every statement, as a lock holds some, is named and takes no gateway out.
- Nothing here names a host, a user or a password.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

from authcore.errors import StoreUnavailable
from authcore.pause_aware import PauseAwareTimeout
from authcore.store.circuit import ended
from authcore.store.failures import classify
from authcore.store.kinds import ABSENT, ADVICE, FailureKind
from authcore.store.migrate import MigrationChanged
from authcore.store.schema import REMEDY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    from authcore.store.failures import Failure
    from authcore.store.rights import Lacking

    class Store(Protocol):
        """Store protocol of the readiness check."""

        @property
        def is_read_only(self) -> bool:
            """True if the database is known to refuse writes."""

        @property
        def lacking(self) -> Lacking:
            """Rights that the database's user lacks, and tables whose rows it cannot see."""

        @property
        def failing(self) -> Mapping[FailureKind, Failure]:
            """Present failures of the database, by kind."""

        async def look_at_schema(self) -> tuple[Sequence[str], object]:
            """Return the names of migrations that are not applied, and what Whatomate's tables lack, if anything."""


ANSWER_SECONDS: Final = 1.5
"""Within the chart's ``probes.readiness.timeoutSeconds``, also where a parent of workers asks."""

_UNKNOWN: Final = "unknown"
_AWAITED: Final = f"has not answered for {ANSWER_SECONDS} s; {ADVICE[FailureKind.TIMEOUT]}"
_READ_ONLY: Final = (
    f"refuses ({FailureKind.READ_ONLY}): writes, such as every sign-in, are refused; "
    f"{ADVICE[FailureKind.READ_ONLY]}"
)

_OF_SOME: Final = (
    FailureKind.TIMEOUT,
    FailureKind.LOCKED,
    FailureKind.CANCELLED,
    FailureKind.MEMORY,
    FailureKind.ROWS,
    FailureKind.OTHER,
)
"""Kinds that some statements meet while others are answered, and that no other check finds."""

_OF_ONE: Final = frozenset({"ready", "checks", "revocation"})
"""Keys of the document of one process that :func:`of_workers` merges by rules of their own."""

log = structlog.get_logger()


def of_workers(documents: Mapping[str, Mapping[str, Any]], *, ready: bool) -> dict[str, object]:
    """Return what ``/readyz`` of several processes says: the checks of each, and of all else the worst."""
    found: dict[str, object] = {
        "ready": ready,
        "workers": {name: one["checks"] for name, one in documents.items()},
    }
    revocations = [one["revocation"] for one in documents.values() if "revocation" in one]
    if revocations:
        found["revocation"] = max(revocations, key=lambda one: one["at_most_seconds"])
    for one in documents.values():
        for name in one.keys() - _OF_ONE:
            if found.get(name, "ok") == "ok":
                found[name] = one[name]
    return found


class Readiness:
    """Readiness check: it judges by the database's present answer, and by when it was last in order.

    Attributes:
        ready: The last verdict; False before the first.
        checks: The state of each check then.
    """

    def __init__(
        self,
        store: Store,
        listening: Callable[[], bool],
        *,
        strict: bool,
        stale_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the check.

        Args:
            store: The store that is asked.
            listening: Returns whether the public listener accepts connections, and goes on accepting.
            strict: Ready only if everything is in order.
            stale_seconds: How long known callers are served without the database.
            clock: Returns monotonic seconds.
        """
        self._store = store
        self._listening = listening
        self._strict = strict
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._was_in_order = False
        self._away_since: float | None = None
        self._looking: asyncio.Task[tuple[bool, dict[str, str]]] | None = None
        self.ready = False
        self.checks: dict[str, str] = {}

    async def look(self) -> tuple[bool, dict[str, str]]:
        """Return whether requests should be sent here, and the state of each check: ``ok``, or a text."""
        looking = self._looking
        if looking is None or looking.done():
            looking = self._looking = asyncio.ensure_future(self._look())
        with suppress(TimeoutError):
            async with PauseAwareTimeout(ANSWER_SECONDS):
                await asyncio.wait([looking])
        listening = "ok" if self._listening() else "draining"
        if looking.done():
            ready, checks = looking.result()
            return ready and listening == "ok", {**checks, "listening": listening}
        checks = {"schema": _UNKNOWN, "migrations": _UNKNOWN, **self.checks}
        if checks.get("database", "ok") == "ok":
            checks["database"] = _AWAITED
        return self.ready and listening == "ok" and not self._strict, {**checks, "listening": listening}

    async def close(self) -> None:
        """End the look that is under way."""
        if self._looking is not None:
            await ended(self._looking)

    async def _look(self) -> tuple[bool, dict[str, str]]:
        ready, checks = await self._judged()
        if checks["database"] == "ok":
            checks["database"] = self._of_some() or "ok"
        self.ready, self.checks = ready, checks
        return ready, checks

    async def _judged(self) -> tuple[bool, dict[str, str]]:
        checks = {"listening": "ok" if self._listening() else "draining"}
        answered = await self._ask(checks)
        if answered:
            self._away_since = None
            self._was_in_order = self._was_in_order or all(state == "ok" for state in checks.values())
        elif self._away_since is None:
            self._away_since = self._clock()
        if all(state == "ok" for state in checks.values()):
            return True, checks
        return not self._strict and checks["listening"] == "ok" and self._serves(checks), checks

    def _serves(self, checks: dict[str, str]) -> bool:
        """Return whether known callers can be served although something is not in order."""
        if not self._was_in_order:
            return False
        if self._away_since is None:
            return checks["schema"] == checks["migrations"] == "ok"
        return self._clock() - self._away_since < self._stale_seconds

    async def _ask(self, checks: dict[str, str]) -> bool:
        """Fill in the checks of the database; return False if it does not answer."""
        try:
            pending, gaps = await self._store.look_at_schema()
        except StoreUnavailable as error:
            checks["database"] = self._cause(classify(error.__cause__)).public
            checks["schema"] = checks["migrations"] = _UNKNOWN
            return False
        except MigrationChanged as error:
            checks["database"] = "ok"
            checks["schema"] = _UNKNOWN
            checks["migrations"] = str(error)
            return True
        except Exception:  # a probe must be answered in any case
            log.exception("readiness_failed")
            checks["database"] = "unknown: looking failed; the event readiness_failed in the log says why"
            checks["schema"] = checks["migrations"] = _UNKNOWN
            return False
        checks["database"] = self._refusal() or "ok"
        checks["schema"] = f"{gaps}; {REMEDY}" if gaps else "ok"
        checks["migrations"] = f"pending: {', '.join(pending)}; run migrate" if pending else "ok"
        return True

    def _cause(self, failure: Failure) -> Failure:
        """Return the last failure before the circuit opened, if `failure` is that it is open."""
        if failure.kind is not FailureKind.CIRCUIT:
            return failure
        absent = [one for kind, one in self._store.failing.items() if kind in ABSENT]
        return absent[-1] if absent else failure

    def _of_some(self) -> str | None:
        """Return why some statements fail although others are answered; None while none is known to."""
        failing = self._store.failing
        failure = next((failing[kind] for kind in _OF_SOME if kind in failing), None)
        if failure is None:
            return None
        if failure.kind is FailureKind.TIMEOUT:
            return f"leaves some statements without an answer ({failure.kind}); {failure.advice}"
        return f"refuses some statements ({failure.kind}); {failure.advice}"

    def _refusal(self) -> str | None:
        """Return why a database that answers refuses statements, in words; None when it is not known to."""
        if self._store.lacking:
            return f"refuses ({self._store.lacking.kind}): {self._store.lacking}"
        if self._store.is_read_only:
            return _READ_ONLY
        full = self._store.failing.get(FailureKind.DISK_FULL)
        return None if full is None else full.public
