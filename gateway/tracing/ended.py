"""A request that has ended, as whoever makes spans of it has to know it: plain values, and no part of the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from uuid import UUID

    from gateway.tracing.context import Context


@dataclass(slots=True)
class Ended:
    """What became of a request.

    Attributes:
        own_id: The gateway's id of it; its second half names the span of the upstream.
        context: The trace it belonged to; None where one began.
        ended_at: POSIX seconds.
        started: Monotonic seconds, like ``decided``, ``sent``, ``headed`` and ``ended``; 0 for what it did not come to.
        method: As sent.
        path: The canonical path; empty when it could not be read.
        status: What was answered.
        route: Its name; empty without one.
        upstream: Its name; empty when it was not sent.
        client: The address.
        credential: The kind; empty where none was looked for.
        user_id: Who; None when that is not known.
        organization_id: In which organization.
        reason: Why it was refused or broke off.
        attempts: Connections to the upstream used for it.
        received: Bytes of its body.
        answered: Bytes of the answer's.
    """

    own_id: bytes
    context: Context | None
    ended_at: float
    started: float
    decided: float
    sent: float
    headed: float
    ended: float
    method: str
    path: str
    status: int
    route: str
    upstream: str
    client: str
    credential: str
    user_id: UUID | None
    organization_id: UUID | None
    reason: str
    attempts: int
    received: int
    answered: int


class Spans(Protocol):
    """Who makes spans of requests."""

    def add(self, ended: Ended) -> None:
        """Take in a request that has ended; never waits."""
