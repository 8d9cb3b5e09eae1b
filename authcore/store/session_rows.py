"""Frozen rows about sessions that the store is given or returns; no ``repr`` of them contains a token's digest."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from authcore.store.rows import Subject

_DEVICE_LENGTH: Final = 256
_ADDRESS_LENGTH: Final = 64

Transitions = Sequence[Sequence[str]]
"""State table as its four columns: state, event, next state, effect."""


@dataclass(frozen=True, slots=True)
class Visit:
    """Origin of a request that uses a session.

    Attributes:
        device: What the client calls itself, in ASCII.
        address: The client's address, as the gateway judged it.
    """

    device: str = ""
    address: str = ""

    @classmethod
    def of(cls, device: str, address: str) -> Self:
        """Return the origin by what a client sent, shortened, and without control characters and invalid text.

        Characters of the device that are not ASCII are escaped: there are databases that cannot hold them.
        """
        plain = _printable(device).encode("ascii", "backslashreplace").decode("ascii")
        return cls(plain[:_DEVICE_LENGTH].strip(), _printable(address)[:_ADDRESS_LENGTH].strip())


NOWHERE: Final = Visit()
"""Unknown origin."""


def _printable(text: str) -> str:
    # Cc and Cf would forge lines and turn the reading direction; Cs are bytes that were no UTF-8.
    return "".join(one for one in text if unicodedata.category(one) not in ("Cc", "Cf", "Cs"))


class EndedSession(NamedTuple):
    """Session that was live, and has been ended; the organization is that of the token that ended it."""

    user_id: UUID
    organization_id: UUID
    session_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """Session that is about to begin or to be used."""

    id: UUID
    user_id: UUID
    organization_id: UUID
    visit: Visit

    @classmethod
    def of(cls, session_id: UUID, subject: Subject, visit: Visit) -> Self:
        """Return the session of a subject, in the subject's organization."""
        return cls(
            id=session_id, user_id=subject.user_id, organization_id=subject.organization_id, visit=visit
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRefreshToken:
    """Refresh token that is about to be issued, by its digest.

    Attributes:
        access_expires_at: When the access token of its pair expires.
        retry_until: Until when the client that it is made for may ask for its pair again.
        sealed: The pair it belongs to, encrypted for the bearer of the token that it follows; None if not stored.
        offer: Its id, which is about to be written for a Whatomate server; None if it is not to be written.
    """

    digest: bytes = field(repr=False)
    issued_at: datetime
    expires_at: datetime
    access_expires_at: datetime | None = None
    retry_until: datetime | None = None
    sealed: bytes | None = field(default=None, repr=False)
    offer: str | None = None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """Session and its beginning."""

    id: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SessionListing:
    """Live session as it is listed to its user."""

    id: UUID
    organization_id: UUID
    device: str
    address: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Present time, and the times that are reckoned from it.

    Attributes:
        now: The moment itself.
        raced_since: What was used after this is raced for by its own client.
        token_over: Tokens that expire up to this have expired.
        session_over: Sessions that began up to this are over.
    """

    now: datetime
    raced_since: datetime
    token_over: datetime
    session_over: datetime


@dataclass(frozen=True, slots=True)
class Rotated:
    """Outcome of the use of a token.

    Attributes:
        session_id: Its family.
        state: The state it was in, by the table's name for it.
        effect: What happened, by the table's name for it.
        successor: The sealed pair that followed it; None if no copy is stored.
        displaced: The ids, written for Whatomate, of unused tokens whose rows were deleted for the new one.
    """

    session_id: UUID
    state: str
    effect: str
    successor: bytes | None = field(repr=False)
    displaced: Sequence[str] = ()
