"""``/api/auth/ws-token``: a ticket that opens one socket. HTTP only: what it means is authcore's.

Law: a ticket is its caller's and of their session, in the organization they act in; nobody else can name any of these.
An API key gets none: its holder opens a socket with the key itself, and a ticket would outlive it.
A ticket is good for no longer than the token it was asked for with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

from pydantic import Field

from authcore.tokens.issuer import ends_at
from gateway.endpoints.application import end_of, now_of, session_of, success
from gateway.endpoints.describing import TOKEN, Answer, Operation

if TYPE_CHECKING:
    from aiohttp import web

    from authcore.tokens.issuer import Tokens

PATH: Final = "/api/auth/ws-token"


class TicketAnswer(Answer):
    """A ticket, which opens one socket."""

    token: str = Field(description="Goes into the first message, or into the query as `token`.")
    expires_in: int = Field(description="Seconds until it is good no more.")


OPERATIONS: Final = (
    Operation(
        method="GET",
        path=PATH,
        tag="Sessions",
        summary="Get a ticket that opens one WebSocket",
        detail='For the first message of a WebSocket at `/ws`, `{"type":"auth","payload":{"token":"..."}}`, or for '
        "`/ws?token=`, where no header can be sent.",
        access=TOKEN,
        in_other_organizations=True,
        answer=TicketAnswer,
    ),
)


class TicketEndpoint:
    """The handler, over the domain's tokens."""

    def __init__(self, tokens: Tokens, *, user_id_header: str, org_id_header: str) -> None:
        """The headers are the injected ones with the caller's user id and organization."""
        self._tokens = tokens
        self._user_id_header = user_id_header
        self._org_id_header = org_id_header

    def add_to(self, application: web.Application) -> None:
        """Put the handler under its path."""
        application.router.add_get(PATH, self.issue, allow_head=False)

    async def issue(self, request: web.Request) -> web.Response:
        """Answer with a ticket for ``/ws``."""
        now, end = await now_of(request), end_of(request, self._tokens.leeway_seconds)
        ticket = self._tokens.issue_ticket(
            user_id=UUID(request.headers[self._user_id_header]),
            organization_id=UUID(request.headers[self._org_id_header]),
            session_id=session_of(request),
            now=now,
            not_after=end,
        )
        lasts = ends_at(now, self._tokens.ticket_seconds, end) - int(now)
        return success(TicketAnswer(token=ticket, expires_in=lasts))
