"""Readiness: whether requests should be sent here, and if not, why; what ``/readyz`` answers.

Laws:

- Draining is unready, and so is a gateway that has never found its database in order, or finds migrations pending or
  tables that lack what the statements need.
- A database that is away, or refuses, makes ``strict`` unready at once. ``serving`` stays ready for as long as known
  callers are served without it, ``GATEWAY_IDENTITY_STALE_SECONDS``, and says what is the matter all the same.
- A database that refuses writes, since it is read-only or its disk is full, is not in order, and the check says which.
- Nothing here names a host, a user or a password.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from authcore.errors import StoreUnavailable
from authcore.store.failures import ADVICE, Kind, classify
from authcore.store.migrate import MigrationChanged
from authcore.store.schema import REMEDY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    from authcore.store.failures import Failure

    class Store(Protocol):
        """What readiness asks of the store."""

        @property
        def is_read_only(self) -> bool:
            """Whether the database is known to refuse writes."""

        @property
        def failing(self) -> Mapping[Kind, Failure]:
            """What is the matter with the database at the moment."""

        async def look_at_schema(self) -> tuple[Sequence[str], object]:
            """Return the names of migrations that are not applied, and what Whatomate's tables lack, if anything."""


_UNKNOWN = "unknown"
_READ_ONLY = (
    f"refuses ({Kind.READ_ONLY}): writes, such as every sign-in, are refused; {ADVICE[Kind.READ_ONLY]}"
)

log = structlog.get_logger()


class Readiness:
    """Judges by what the database answers now, and by when it last was in order."""

    def __init__(
        self,
        store: Store,
        listening: Callable[[], bool],
        *,
        strict: bool,
        stale_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            store: What is asked.
            listening: Whether the public listener accepts connections, and will go on to.
            strict: Everything has to be in order.
            stale_seconds: How long known callers are served without the database.
            clock: Counts seconds.
        """
        self._store = store
        self._listening = listening
        self._strict = strict
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._was_in_order = False
        self._away_since: float | None = None

    async def look(self) -> tuple[bool, dict[str, str]]:
        """Return whether requests should be sent here, and the state of each check, ``ok`` or in words."""
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
        """Whether known callers can be served though something is not in order."""
        if not self._was_in_order:
            return False
        if self._away_since is None:
            return checks["schema"] == checks["migrations"] == "ok"
        return self._clock() - self._away_since < self._stale_seconds

    async def _ask(self, checks: dict[str, str]) -> bool:
        """Fill in what the database answers; False when it does not."""
        try:
            pending, gaps = await self._store.look_at_schema()
        except StoreUnavailable as error:
            checks["database"] = classify(error.__cause__).public
            checks["schema"] = checks["migrations"] = _UNKNOWN
            return False
        except MigrationChanged as error:
            checks["database"] = "ok"
            checks["schema"] = _UNKNOWN
            checks["migrations"] = str(error)
            return True
        except Exception:  # a probe answers, whatever is the matter
            log.exception("readiness_failed")
            checks["database"] = "unknown: looking failed; the event readiness_failed in the log says why"
            checks["schema"] = checks["migrations"] = _UNKNOWN
            return False
        checks["database"] = self._refusal() or "ok"
        checks["schema"] = f"{gaps}; {REMEDY}" if gaps else "ok"
        checks["migrations"] = f"pending: {', '.join(pending)}; run migrate" if pending else "ok"
        return True

    def _refusal(self) -> str | None:
        """Return why a database that answers refuses every write, in words; None when it is not known to."""
        if self._store.is_read_only:
            return _READ_ONLY
        full = self._store.failing.get(Kind.DISK_FULL)
        return None if full is None else full.public
