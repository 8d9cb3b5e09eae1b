"""Outlier detector of one upstream: endpoints that fail in a row are ejected for a time, and then tried again.

Laws:

- Failures in a row eject an endpoint: those of connections, or those of answers (a reset, silence, a status that is
  named). The policy says how many of each kind. A success of the same kind ends the row.
- An ejection lasts ``base_seconds`` at first, and each further one twice as long, up to ``max_seconds``. An endpoint
  that has been back for as long as it was last away begins anew.
- An endpoint that is back is on probation: its next failure of the same kind ejects it again, until a success.
- Never more than ``max_percent`` of the endpoints are ejected, rounded down, and never the last one. An only endpoint
  is not even counted as one that should be.
- What an endpoint does while it is ejected changes nothing, with one exception: a connection to it ends an ejection
  that connections caused.
- An endpoint that is not counted, as one of an address family that leads nowhere, has no part in that share.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_TIMES: Final = 32
"""Ejections are counted up to here: whatever the base, the longest is reached by then."""


class Cause(StrEnum):
    """Cause of an ejection."""

    CONNECT = "connect"
    RESET = "reset"
    TIMEOUT = "timeout"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class EjectionPolicy:
    """Terms of ejection; times in seconds.

    Attributes:
        connect_failures: Connections in a row that could not be opened; 0 for no ejection by them.
        failures: Answers in a row that were missing, broken off, or of one of `statuses`; 0 for no ejection by them.
        statuses: Statuses of answers that count as failures.
        max_percent: Share of the endpoints that may be ejected at once.
    """

    connect_failures: int = 1
    failures: int = 5
    statuses: frozenset[int] = frozenset({502, 503, 504})
    base_seconds: float = 1.0
    max_seconds: float = 60.0
    max_percent: int = 67

    def least(self, cause: Cause) -> int:
        """Return how many failures in a row eject for this cause; 0 if none do."""
        return self.connect_failures if cause is Cause.CONNECT else self.failures


class Change(NamedTuple):
    """Change of one endpoint.

    Attributes:
        name: The endpoint.
        event: ``ejected``; ``returned``; or ``withheld`` if it was to be ejected and too many are already.
        cause: What the ejection is or was for.
        failures: Number of failures in a row.
        seconds: Length of the ejection.
    """

    name: str
    event: str
    cause: Cause
    failures: int = 0
    seconds: float = 0.0


class Member:
    """State of one endpoint.

    Attributes:
        until: Monotonic time at which its ejection ends; None while it is not ejected.
        cause: What it was last ejected for.
        seconds: Length of its last ejection.
        connects: Failed connections in a row.
        answers: Failed answers in a row.
        counted: It is one of the endpoints that shares are reckoned of.
    """

    __slots__ = ("answers", "cause", "connects", "counted", "returned", "seconds", "times", "until")

    def __init__(self) -> None:
        self.until: float | None = None
        self.cause = Cause.CONNECT
        self.seconds = 0.0
        self.connects = self.answers = 0
        self.counted = True
        self.times = 0
        self.returned = 0.0

    @property
    def suspect(self) -> bool:
        """True if a success of it would change anything."""
        return self.connects > 0 or self.answers > 0 or self.until is not None


class Outliers:
    """Outlier detector of one upstream.

    Attributes:
        policy: The terms; they may be replaced at any time.
        members: State of each endpoint, by name.
    """

    def __init__(self, policy: EjectionPolicy) -> None:
        self.policy = policy
        self.members: dict[str, Member] = {}

    def is_ejected(self, name: str) -> bool:
        """Return whether an endpoint is ejected."""
        return self.members[name].until is not None

    @property
    def next_return(self) -> float | None:
        """Monotonic time of the next return; None if no endpoint is ejected."""
        return min(
            (member.until for member in self.members.values() if member.until is not None), default=None
        )

    def follow(self, names: Iterable[str], now: float) -> list[Change]:
        """Take these endpoints for the present ones; those that are too many in the new share return."""
        self.members = {name: self.members.get(name) or Member() for name in names}
        changes = self.settle(now)
        ejected = [(member.until, name) for name, member in self.members.items() if _takes_share(member)]
        for _, name in sorted(ejected)[: max(0, len(ejected) - self._most())]:
            changes.append(self._return(name, now))
        return changes

    def settle(self, now: float) -> list[Change]:
        """Return endpoints to service whose ejections have ended. It may be called at any time."""
        due = [
            name for name, member in self.members.items() if member.until is not None and member.until <= now
        ]
        return [self._return(name, now) for name in due]

    def failed(self, name: str, cause: Cause, now: float, *, counted: bool = True) -> list[Change]:
        """Note a failure. An endpoint that is not `counted` takes no part in the share."""
        changes = self.settle(now)
        member, least = self.members[name], self.policy.least(cause)
        if member.until is not None:
            return changes
        if cause is Cause.CONNECT:
            failures = member.connects = member.connects + 1
        else:
            failures = member.answers = member.answers + 1
        if least and failures >= least and len(self.members) > 1:
            member.counted = counted
            changes.append(self._eject(name, cause, failures, now))
        return changes

    def answered(self, name: str, now: float) -> list[Change]:
        """Note an answer that is no failure."""
        changes = self.settle(now)
        member = self.members[name]
        if member.until is None:
            member.answers = 0
        return changes

    def connected(self, name: str, now: float) -> list[Change]:
        """Note a connection that was opened."""
        changes = self.settle(now)
        member = self.members[name]
        member.counted = True
        if member.until is None:
            member.connects = 0
        elif member.cause is Cause.CONNECT:
            changes.append(self._return(name, now))
            member.connects = 0
        return changes

    def _eject(self, name: str, cause: Cause, failures: int, now: float) -> Change:
        member, policy = self.members[name], self.policy
        if member.counted and sum(map(_takes_share, self.members.values())) >= self._most():
            return Change(name, "withheld", cause, failures)
        if now - member.returned >= member.seconds:
            member.times = 0
        member.seconds = min(policy.max_seconds, policy.base_seconds * 2.0**member.times)
        member.times = min(member.times + 1, _MOST_TIMES)
        member.until, member.cause = now + member.seconds, cause
        # For its probation after the return: one failure more is the number that ejects.
        if cause is Cause.CONNECT:
            member.connects, member.answers = policy.connect_failures - 1, 0
        else:
            member.connects, member.answers = 0, policy.failures - 1
        return Change(name, "ejected", cause, failures, member.seconds)

    def _return(self, name: str, now: float) -> Change:
        member = self.members[name]
        member.returned = now if member.until is None else min(now, member.until)
        member.until = None
        return Change(name, "returned", member.cause, seconds=member.seconds)

    def _most(self) -> int:
        """Return how many of the counted endpoints may be ejected at once."""
        counted = sum(member.counted or member.until is None for member in self.members.values())
        return max(0, min(counted * self.policy.max_percent // 100, counted - 1))


def _takes_share(member: Member) -> bool:
    return member.counted and member.until is not None
