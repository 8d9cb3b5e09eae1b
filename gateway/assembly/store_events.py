"""Log events of the store: a failure of the database with advice, and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gateway.logs.limited import LimitedEvents

if TYPE_CHECKING:
    from authcore.store.failures import Failure

log = structlog.get_logger()


class StoreEvents:
    """Observer of a store that logs its failures; each kind and code at most once a minute."""

    def __init__(self) -> None:
        self._events = LimitedEvents()
        self._logged: set[str] = set()

    def failed(self, failure: Failure) -> None:
        """Log a failure, unless the same one was logged within a minute."""
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
