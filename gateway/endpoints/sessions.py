"""``/api/auth/sessions``, ``/api/auth/logout-all``: the caller's own sessions. HTTP only: what they mean is authcore's.

Laws:

- Every session seen or ended here is the caller's own; another's does not exist.
- An API key is of no session, and sees and ends none: whoever finds one must not be able to sign its owner out.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from uuid import UUID

from authcore.errors import SessionUnknown
from gateway.endpoints.application import session_of, success

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from authcore.sessions import Sessions
    from authcore.store.session_rows import SessionListing
    from gateway.endpoints.cookies import CookieLaws

COLLECTION: Final = "/api/auth/sessions"
ONE: Final = "/api/auth/sessions/{id}"
ALL: Final = "/api/auth/logout-all"

METHODS: Final = {COLLECTION: "GET", ONE: "DELETE", ALL: "POST"}
"""path -> the method it takes, for who holds an access token."""


class SessionEndpoints:
    """The handlers, over the domain's sessions."""

    def __init__(self, sessions: Sessions, cookies: CookieLaws, *, user_id_header: str) -> None:
        """`user_id_header` names the injected header that says who is asking."""
        self._sessions = sessions
        self._cookies = cookies
        self._user_id_header = user_id_header

    def add_to(self, application: web.Application) -> None:
        """Put the handlers under their paths."""
        router = application.router
        router.add_get(COLLECTION, self.list_own)
        router.add_delete(ONE, self.end)
        router.add_post(ALL, self.end_all)

    async def list_own(self, request: web.Request) -> web.Response:
        """Answer with the caller's live sessions: the current one first, then the last used; a hundred at most."""
        current = session_of(request)
        found = await self._sessions.of_user(self._user(request), current, time.time())
        return success({"sessions": [_shown(session, current) for session in found]})

    async def end(self, request: web.Request) -> web.Response:
        """End one of the caller's sessions; its tokens are refused from now on."""
        try:
            session_id = UUID(request.match_info["id"])
        except ValueError:
            raise SessionUnknown from None
        await self._sessions.close_one(self._user(request), session_id, time.time())
        if session_id == session_of(request):
            self._cookies.clear(request)
        return success({"message": "Session ended"})

    async def end_all(self, request: web.Request) -> web.Response:
        """End every session of the caller, the current one too."""
        ended = await self._sessions.close_others(self._user(request), None, time.time())
        self._cookies.clear(request)
        return success({"status": "logged_out", "sessions": ended})

    def _user(self, request: web.Request) -> UUID:
        return UUID(request.headers[self._user_id_header])


def _shown(session: SessionListing, current: UUID | None) -> Mapping[str, object]:
    return {
        "id": session.id,
        "organization_id": session.organization_id,
        "device": session.device,
        "address": session.address,
        "created_at": session.created_at,
        "last_used_at": session.last_used_at,
        "expires_at": session.expires_at,
        "current": session.id == current,
    }
