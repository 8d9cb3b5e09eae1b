"""Watcher protocol of a store: a watcher gets every failure of the database, and the first answer after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from authcore.store.failures import Failure


class Watcher(Protocol):
    """Receiver of the failures of a database."""

    def failed(self, failure: Failure) -> None:
        """Take notice of a failure."""

    def recovered(self, failure: Failure) -> None:
        """Take notice that a failure is over."""


class Unwatched:
    """Watcher that does nothing."""

    def failed(self, failure: Failure) -> None:
        """Do nothing."""

    def recovered(self, failure: Failure) -> None:
        """Do nothing."""
