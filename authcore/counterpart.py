"""Port to what a Whatomate server remembers outside of the database: unused refresh tokens, and permissions of users.

Laws:

- Whatomate refuses a refresh token whose id it does not have, and forgets the id when the token is used.
- Nobody waits for it longer than a bounded moment, and its absence refuses nobody: then every answer is ``UNKNOWN``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID


class Taken(StrEnum):
    """What became of the attempt to use up the id of a refresh token."""

    TAKEN = "taken"
    """It was unused until now, and is used up."""
    BEFORE = "before"
    """A gateway used it up a while ago: what that means, the table of sessions decides."""
    GONE = "gone"
    """Whatomate does not have it: it was used or logged out there, or never written."""
    UNKNOWN = "unknown"
    """That cannot be found out."""


class Counterpart(Protocol):
    """What is asked of it."""

    async def add(self, jti: str, user_id: UUID, seconds: int) -> bool:
        """Write the id of a refresh token that is good for so many seconds; False where it could not be written."""

    async def take(self, jti: str) -> Taken:
        """Use up the id of a refresh token; of any number at once, on both sides, one does."""

    async def drop(self, jtis: Iterable[str]) -> None:
        """Forget the ids of refresh tokens whose sessions have ended."""

    async def forget_permissions(self, user_id: UUID, organization_id: UUID) -> None:
        """Let the permissions of a user be read anew, at home and in an organization."""


class NoCounterpart:
    """None is configured."""

    async def add(self, jti: str, user_id: UUID, seconds: int) -> bool:
        """Write nothing."""
        del jti, user_id, seconds
        return False

    async def take(self, jti: str) -> Taken:
        """Know nothing."""
        del jti
        return Taken.UNKNOWN

    async def drop(self, jtis: Iterable[str]) -> None:
        """Forget nothing."""

    async def forget_permissions(self, user_id: UUID, organization_id: UUID) -> None:
        """Forget nothing."""


NO_COUNTERPART: Final = NoCounterpart()
