"""Quota vocabulary: subjects, windows, and the rows that a ledger and its store exchange."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from uuid import UUID

MOST: Final = 2**53
"""The largest quota: up to here every reader of JSON counts exactly."""


class SubjectKind(StrEnum):
    """Kind of a quota subject: an API key or an organization."""

    API_KEY = "api_key"
    ORGANIZATION = "organization"

    @property
    def words(self) -> str:
        """The kind in a sentence."""
        return "API key" if self is SubjectKind.API_KEY else "organization"


class Period(StrEnum):
    """Period of a quota: a day or a month of UTC."""

    DAY = "day"
    MONTH = "month"


Usual = dict[tuple[SubjectKind, Period], int | None]
"""Quotas of subjects that have none of their own; None is no quota."""


class Window(NamedTuple):
    """Window of time in which a quota counts.

    Attributes:
        starts: Its first moment, POSIX seconds.
        ends: The first moment after it.
    """

    starts: float
    ends: float


def window(period: Period, now: float) -> Window:
    """Return the day or the month of UTC that `now`, POSIX seconds, is in."""
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period is Period.DAY:
        return Window(day.timestamp(), (day + timedelta(days=1)).timestamp())
    first = day.replace(day=1)
    return Window(first.timestamp(), (first + timedelta(days=32)).replace(day=1).timestamp())


class QuotaKey(NamedTuple):
    """Key of a count: whose it is and in which window."""

    kind: SubjectKind
    subject: UUID
    period: Period
    starts: float


class Ask(NamedTuple):
    """Request for one count in a batch.

    Attributes:
        key: The count.
        settled: Requests let through beyond the leases; negative for leases that are returned.
        wanted: The lease that is asked for.
    """

    key: QuotaKey
    settled: int
    wanted: int


class Standing(NamedTuple):
    """State of a count by the database.

    Attributes:
        used: Requests let through, and the leases of all processes.
        granted: The lease that this answer grants.
        most: The quota; None for none.
    """

    used: int
    granted: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Counts to settle in one statement.

    Attributes:
        number: Larger than that of every batch of this process before.
        asks: At most one for each count.
    """

    number: int
    asks: tuple[Ask, ...]
