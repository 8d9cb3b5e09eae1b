"""Finished request, as the span sender gets it: plain values, and no part of the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from uuid import UUID

    from gateway.tracing.context import Context


@dataclass(slots=True)
class Ended:
    """Finished request.

    Attributes:
        own_id: The gateway's id of the request; its second half is the id of the upstream's span.
        request_id: The id that the log, the answer and the upstream have.
        context: The trace it belonged to; None if it began one.
        ended_at: POSIX seconds.
        started: Monotonic seconds, as are ``decided``, ``sent``, ``headed`` and ``ended``; 0 for a phase not reached.
        method: As sent.
        path: The canonical path; empty if it could not be parsed.
        scheme: ``http`` or ``https``, by which the client asked, as far as that is believed.
        status: The status of the answer.
        route: The route's name; empty without one.
        upstream: The upstream's name; empty if the request was not sent.
        client: The client's address.
        credential: The kind of credential; empty if none was looked for.
        user_id: The user; None if not known.
        organization_id: The organization the user acts in.
        reason: Why it was refused or broke off.
        blame: Who failed it, ``upstream`` or ``gateway``; empty if nobody did.
        attempts: Number of upstream connections used for it.
        received: Bytes of the request's body.
        answered: Bytes of the response's body.
    """

    own_id: bytes
    request_id: str
    context: Context | None
    ended_at: float
    started: float
    decided: float
    sent: float
    headed: float
    ended: float
    method: str
    path: str
    scheme: str
    status: int
    route: str
    upstream: str
    client: str
    credential: str
    user_id: UUID | None
    organization_id: UUID | None
    reason: str
    blame: str
    attempts: int
    received: int
    answered: int


class Spans(Protocol):
    """Protocol of a span sender."""

    def add(self, ended: Ended) -> None:
        """Queue a finished request; this never waits."""
