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
from gateway.endpoints.application import now_of, session_of, success
from gateway.endpoints.describing import TOKEN, Answer, MessageAnswer, Operation

if TYPE_CHECKING:
    from aiohttp import web

    from authcore.accounts.sessions import Sessions
    from gateway.endpoints.cookies import CookiePolicy

COLLECTION: Final = "/api/auth/sessions"
ONE: Final = "/api/auth/sessions/{id}"
ALL: Final = "/api/auth/logout-all"

METHODS: Final = {COLLECTION: "GET", ONE: "DELETE", ALL: "POST"}
"""path -> its method, for callers with an access token."""


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
    """That the caller is signed out everywhere."""

    status: Literal["logged_out"]
    sessions: int = Field(description="How many were ended.")


OPERATIONS: Final = (
    Operation(
        method="GET",
        path=COLLECTION,
        tag="Sessions",
        summary="List one's own sessions",
        detail="The current one first, then the last used; a hundred at most.",
        access=TOKEN,
        answer=SessionsAnswer,
    ),
    Operation(
        method="DELETE",
        path=ONE,
        tag="Sessions",
        summary="End one of one's own sessions",
        detail="Its tokens are refused from then on.",
        access=TOKEN,
        answer=MessageAnswer,
        refuses=(SessionUnknown,),
    ),
    Operation(
        method="POST",
        path=ALL,
        tag="Sessions",
        summary="End all of one's own sessions, this one too",
        access=TOKEN,
        answer=AllEndedAnswer,
    ),
)


class SessionEndpoints:
    """Handlers over the session service."""

    def __init__(self, sessions: Sessions, cookies: CookiePolicy, *, user_id_header: str) -> None:
        """`user_id_header` names the injected header with the caller's id."""
        self._sessions = sessions
        self._cookies = cookies
        self._user_id_header = user_id_header

    def add_to(self, application: web.Application) -> None:
        """Register the handlers under their paths."""
        router = application.router
        router.add_get(COLLECTION, self.list_own)
        router.add_delete(ONE, self.end)
        router.add_post(ALL, self.end_all)

    async def list_own(self, request: web.Request) -> web.Response:
        """Answer with the caller's live sessions: the current one first, then the last used; a hundred at most."""
        current = session_of(request)
        found = await self._sessions.of_user(self._user(request), current, await now_of(request))
        sessions = [SessionAnswer(**asdict(session), current=session.id == current) for session in found]
        return success(SessionsAnswer(sessions=sessions))

    async def end(self, request: web.Request) -> web.Response:
        """End one of the caller's sessions; its tokens are refused from now on."""
        try:
            session_id = UUID(request.match_info["id"])
        except ValueError:
            raise SessionUnknown from None
        await self._sessions.close_one(self._user(request), session_id, await now_of(request))
        if session_id == session_of(request):
            self._cookies.clear(request)
        return success(MessageAnswer(message="Session ended"))

    async def end_all(self, request: web.Request) -> web.Response:
        """End every session of the caller, including the current one."""
        ended = await self._sessions.close_others(self._user(request), None, await now_of(request))
        self._cookies.clear(request)
        return success(AllEndedAnswer(status="logged_out", sessions=ended))

    def _user(self, request: web.Request) -> UUID:
        return UUID(request.headers[self._user_id_header])
