"""Port to the Redis of a Whatomate server: its unused refresh tokens and its cached permissions.

Laws:

- Whatomate refuses a refresh token whose id it does not have, and forgets the id when the token is used.
- A call waits for it only for a bounded time, and its absence refuses nobody: then every answer is ``UNKNOWN``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID


class Taken(StrEnum):
    """Result of an attempt to use up the id of a refresh token."""

    TAKEN = "taken"
    """It was unused until now, and is used up."""
    BEFORE = "before"
    """A gateway used it up some time ago: the table of sessions decides what that means."""
    GONE = "gone"
    """Whatomate does not have it: it was used or logged out there, or it was never written."""
    UNKNOWN = "unknown"
    """The server could not be asked."""


class Counterpart(Protocol):
    """Protocol of the port: what the session service asks of Whatomate's Redis."""

    async def add(self, jti: str, user_id: UUID, seconds: int) -> bool:
        """Write the id of a refresh token with a time to live in seconds; return False if it could not be written."""

    async def take(self, jti: str) -> Taken:
        """Use up the id of a refresh token; of concurrent calls on both sides, exactly one gets ``TAKEN``."""

    async def was_used(self, jti: str) -> bool:
        """Return whether the id of a token, which was written, is known to be used up over there."""

    async def drop(self, jtis: Iterable[str]) -> None:
        """Forget the ids of refresh tokens whose sessions have ended."""

    async def forget_permissions(self, user_id: UUID, organization_id: UUID) -> None:
        """Drop the cached permissions of a user, both of their home organization and of `organization_id`."""


class NoCounterpart:
    """Null implementation of the port, for a gateway without a counterpart."""

    async def add(self, jti: str, user_id: UUID, seconds: int) -> bool:
        """Write nothing."""
        del jti, user_id, seconds
        return False

    async def take(self, jti: str) -> Taken:
        """Always return ``UNKNOWN``."""
        del jti
        return Taken.UNKNOWN

    async def was_used(self, jti: str) -> bool:
        """Know nothing."""
        del jti
        return False

    async def drop(self, jtis: Iterable[str]) -> None:
        """Forget nothing."""

    async def forget_permissions(self, user_id: UUID, organization_id: UUID) -> None:
        """Forget nothing."""


NO_COUNTERPART: Final = NoCounterpart()
