"""Session list of a user: it lists, ends and purges a user's own sessions.

Laws:

- A user can neither end a session of another user nor learn that it exists.
- A session that is ended here is reported in this process at once; the database notifies the other processes.
- A session that ended by time is stored for one day more: a forgotten token of Whatomate's would be accepted again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.errors import SessionUnknown, TokenRejected
from authcore.moments import moment
from authcore.store.rows import Change
from authcore.tokens.claims import AccessClaims

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.credentials import BearerToken
    from authcore.store.protocol import SessionStore
    from authcore.store.session_rows import SessionListing
    from authcore.tokens.issuer import Tokens

SESSION_SECONDS: Final = 30 * 86_400
_PURGE_GRACE_SECONDS: Final = 86_400


class SessionList:
    """Session list: it lists and ends the sessions of a user."""

    def __init__(
        self,
        store: SessionStore,
        tokens: Tokens,
        *,
        session_seconds: float = SESSION_SECONDS,
        tell: Callable[[Change], None] = lambda _: None,
    ) -> None:
        """`tell` is called with every change of sessions that is made here."""
        self._store = store
        self._tokens = tokens
        self._session_seconds = session_seconds
        self._tell = tell

    async def close_bearer(self, token: BearerToken, now: float) -> None:
        """End the session of an access token. A token that does not verify, or has no session, ends nothing.

        Raises:
            StoreUnavailable: the database does not answer; the session goes on.
        """
        try:
            claims = self._tokens.verify(token.token, AccessClaims, now)
        except TokenRejected:
            return
        if claims.session_id is not None:
            await self._end(claims.user_id, claims.session_id, now)

    def founding(self, token: BearerToken, now: float) -> float | None:
        """Return when a token without a session was issued; None for a token of a session or not ours.

        Such a token may found a session. Ending all sessions of the user ends that session too, if it was founded by a
        token issued before.
        """
        try:
            claims = self._tokens.verify(token.token, AccessClaims, now)
        except TokenRejected:
            return None
        return None if claims.session_id is not None else claims.issued_at or 0.0

    async def close_one(self, user_id: UUID, session_id: UUID, now: float) -> None:
        """End one of the user's own sessions.

        Raises:
            SessionUnknown: the user has no such live session.
            StoreUnavailable: the database does not answer; the session goes on.
        """
        if not await self._end(user_id, session_id, now):
            raise SessionUnknown

    async def close_others(self, user_id: UUID, except_session: UUID | None, now: float) -> int:
        """End all sessions of the user except one (None: all of them), and return how many were live until now.

        Refresh tokens that Whatomate issued to the user before now are no longer accepted either.

        Raises:
            StoreUnavailable: the database does not answer; all of them go on.
        """
        expired = moment(
            now - self._tokens.leeway_seconds
        )  # with leeway, their tokens are accepted past their exp
        ended = await self._store.end_sessions(user_id, except_session, moment(now), expired)
        self._tell(Change(rows=tuple(ended)))
        return len(ended)

    async def change_password(
        self, user_id: UUID, *, before: str, after: str, except_session: UUID | None, now: float
    ) -> bool:
        """Replace a user's password hash and end all sessions but one; return False if `before` is no longer the hash.

        The remaining session then counts as begun under the new hash. All of this happens, or none of it.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        expired = moment(now - self._tokens.leeway_seconds)
        ended = await self._store.replace_password(
            user_id, before=before, after=after, but=except_session, at=moment(now), over=expired
        )
        if ended is None:
            return False
        self._tell(Change(rows=(user_id, *ended)))
        return True

    async def note_passwords(self) -> int:
        """Store the password hash under which sessions of older gateways began, and return how many were completed.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._store.note_passwords()

    async def _end(self, user_id: UUID, session_id: UUID, now: float) -> bool:
        ended = await self._store.end_session(user_id, session_id, moment(now))
        if ended:
            self._tell(Change(rows=(session_id,)))
        return ended

    # -- look -----------------------------------------------------------------------------------------------------

    async def of_user(self, user_id: UUID, current: UUID | None, now: float) -> Sequence[SessionListing]:
        """Return the user's live sessions: the current one first, then the last used; a hundred at most.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._store.sessions(user_id, current, moment(now), self._over(now))

    async def is_live(self, session_id: UUID, now: float) -> bool:
        """Tell whether a session is live.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._store.is_live(session_id, moment(now), self._over(now))

    # -- forget ---------------------------------------------------------------------------------------------------

    async def purge(self, now: float) -> int:
        """Delete tokens and sessions that ended by time, and return how many sessions.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        # With leeway a token is accepted past its exp, and a forgotten one of Whatomate's would be accepted again.
        return await self._store.purge_sessions(moment(now - _PURGE_GRACE_SECONDS))

    def _over(self, now: float) -> datetime:
        """Return the cut-off: a session that began at or before it is over now."""
        return moment(now - self._session_seconds)
