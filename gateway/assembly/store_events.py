"""Events of the store, for the log: what the database fails with and what to do, and that it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gateway.logs.limited import LimitedEvents

if TYPE_CHECKING:
    from authcore.store.failures import Failure

log = structlog.get_logger()


class StoreEvents:
    """Watcher of a store that logs; of one kind and code once a minute at most."""

    def __init__(self) -> None:
        self._events = LimitedEvents()
        self._logged: set[str] = set()

    def failed(self, failure: Failure) -> None:
        """Log a failure, unless the same was logged a moment ago."""
        if self._events.warning(
            "store_unavailable",
            key=f"{failure.kind} {failure.sqlstate}",
            kind=str(failure.kind),
            sqlstate=failure.sqlstate,
            words=failure.words,
            advice=failure.advice,
        ):
            self._logged.add(failure.kind)

    def recovered(self, failure: Failure) -> None:
        """Log that a failure is over, once for each time it was logged."""
        if failure.kind in self._logged:
            self._logged.discard(failure.kind)
            log.info("store_recovered", kind=str(failure.kind))
