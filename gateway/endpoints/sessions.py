"""Endpoints ``/api/auth/sessions`` and ``/api/auth/logout-all``: the caller's own sessions. authcore has the semantics.

Laws:

- Every session listed or ended here is the caller's own; another's counts as missing.
- An API key belongs to no session, and lists and ends none: a finder of a key must not be able to sign its owner out.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID

from pydantic import Field

from authcore.errors import SessionUnknown
from authcore.trail import Event
from gateway.endpoints.bodies import success, uuid_in_path
from gateway.endpoints.describing import Answer, MessageAnswer
from gateway.endpoints.endpoint import TOKEN, Endpoint
from gateway.endpoints.recording import facts_of

if TYPE_CHECKING:
    from aiohttp import web

    from gateway.endpoints.caller import Caller
    from gateway.endpoints.services import Services


class SessionAnswer(Answer):
    """A session of the caller's."""

    id: UUID
    organization_id: UUID
    device: str = Field(description="What the client calls itself.")
    address: str = Field(description="Where it was last used from.")
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    current: bool = Field(description="It is the one that asks.")


class SessionsAnswer(Answer):
    """The caller's live sessions."""

    sessions: list[SessionAnswer]


class AllEndedAnswer(Answer):
    """Confirmation that the caller is signed out everywhere."""

    status: Literal["logged_out"]
    sessions: int = Field(description="How many were ended.")


async def list_own(services: Services, _request: web.Request, caller: Caller) -> web.Response:
    """Answer with the caller's live sessions: the current one first, then the last used; a hundred at most."""
    current = caller.session_id
    found = await services.sessions.of_user(caller.user_id, current, await services.now())
    sessions = [SessionAnswer(**asdict(session), current=session.id == current) for session in found]
    return success(SessionsAnswer(sessions=sessions))


async def end(services: Services, request: web.Request, caller: Caller) -> web.Response:
    """End one of the caller's sessions; its tokens are refused from now on."""
    session_id = uuid_in_path(request)
    if session_id is None:
        raise SessionUnknown
    await services.sessions.close_one(caller.user_id, session_id, await services.now())
    if session_id == caller.session_id:
        services.cookies.clear(request, caller)
    return success(MessageAnswer(message="Session ended"))


async def end_all(services: Services, request: web.Request, caller: Caller) -> web.Response:
    """End every session of the caller, including the current one."""
    ended = await services.sessions.close_others(caller.user_id, None, await services.now())
    facts_of(request).details = {"sessions": ended}
    services.cookies.clear(request, caller)
    return success(AllEndedAnswer(status="logged_out", sessions=ended))


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/auth/sessions",
        tag="Sessions",
        summary="List one's own sessions",
        detail="The current one first, then the last used; a hundred at most.",
        access=TOKEN,
        handler=list_own,
        answer=SessionsAnswer,
    ),
    Endpoint(
        method="DELETE",
        path="/api/auth/sessions/{id}",
        tag="Sessions",
        summary="End one of one's own sessions",
        detail="Its tokens are refused from then on.",
        access=TOKEN,
        handler=end,
        event=Event.END_SESSION,
        answer=MessageAnswer,
        refuses=(SessionUnknown,),
    ),
    Endpoint(
        method="POST",
        path="/api/auth/logout-all",
        limited=False,
        route="auth-sessions",
        tag="Sessions",
        summary="End all of one's own sessions, this one too",
        access=TOKEN,
        handler=end_all,
        event=Event.END_SESSIONS,
        answer=AllEndedAnswer,
    ),
)
