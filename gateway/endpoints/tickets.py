"""Ticket endpoint ``/api/auth/ws-token``: it issues tickets, each of which opens one WebSocket.

It speaks HTTP; authcore has the semantics.

Laws:

- A ticket is for its caller and their session, in the organization acted in; the caller can name none of these.
- An API key gets none: its holder opens a socket with the key itself, and a ticket would outlive it.
- A ticket is good for no longer than the token that asked for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import Field

from authcore.tokens.issuer import ends_at
from gateway.endpoints.bodies import success
from gateway.endpoints.describing import Answer
from gateway.endpoints.endpoint import TOKEN, Endpoint
from gateway.endpoints.tokens import token_end

if TYPE_CHECKING:
    from aiohttp import web

    from gateway.endpoints.caller import Caller
    from gateway.endpoints.services import Services


class TicketAnswer(Answer):
    """A ticket, which opens one socket."""

    token: str = Field(description="Goes into the first message, or into the query as `token`.")
    expires_in: int = Field(description="Seconds until it is good no more.")


async def issue(services: Services, _request: web.Request, caller: Caller) -> web.Response:
    """Answer with a ticket for ``/ws``."""
    now, end, tokens = await services.now(), token_end(services, caller), services.tokens
    ticket = tokens.issue_ticket(
        user_id=caller.user_id,
        organization_id=caller.organization_id,
        session_id=caller.session_id,
        now=now,
        not_after=end,
    )
    lasts = ends_at(now, tokens.ticket_seconds, end) - int(now)
    return success(TicketAnswer(token=ticket, expires_in=lasts))


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/auth/ws-token",
        head=False,
        tag="Sessions",
        summary="Get a ticket that opens one WebSocket",
        detail='For the first message of a WebSocket at `/ws`, `{"type":"auth","payload":{"token":"..."}}`, or for '
        "`/ws?token=`, where no header can be sent.",
        access=TOKEN,
        handler=issue,
        organization="any",  # a browser's socket cannot ask for one by a header
        answer=TicketAnswer,
    ),
)
