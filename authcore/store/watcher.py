"""Watcher of a store: is given every failure of the database, and the first answer after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from authcore.store.failures import Failure


class Watcher(Protocol):
    """Whoever is to know how the database does."""

    def failed(self, failure: Failure) -> None:
        """It failed."""

    def recovered(self, failure: Failure) -> None:
        """It does not any more."""


class Unwatched:
    """Watcher that wants to know nothing."""

    def failed(self, failure: Failure) -> None:
        """Do nothing."""

    def recovered(self, failure: Failure) -> None:
        """Do nothing."""
