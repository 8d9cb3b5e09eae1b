"""A user's own sessions: listed, ended, and forgotten when their time is over.

Laws:

- Nobody ends a session that is not their own, nor learns whether there is one.
- Who ends a session tells so in this process at once; the database tells the others.
- What has ended by time is kept for a day longer: a forgotten token of Whatomate's would be taken again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from authcore.claims import AccessClaims
from authcore.errors import SessionUnknown, TokenRejected
from authcore.store.rows import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from authcore.credentials import BearerToken
    from authcore.store.protocol import SessionStore
    from authcore.store.session_rows import SessionListing
    from authcore.tokens import Tokens

SESSION_SECONDS: Final = 30 * 86_400
_PURGE_GRACE_SECONDS: Final = 86_400


class OwnSessions:
    """Lists and ends the sessions of a user."""

    def __init__(
        self,
        store: SessionStore,
        tokens: Tokens,
        *,
        session_seconds: float = SESSION_SECONDS,
        tell: Callable[[Change], None] = lambda _: None,
    ) -> None:
        """`tell` is told which sessions have ended here."""
        self._store = store
        self._tokens = tokens
        self._session_seconds = session_seconds
        self._tell = tell

    async def close_bearer(self, token: BearerToken, now: float) -> None:
        """End the session an access token belongs to. A token that is not good, or of no session, ends nothing.

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
        """Return when a token that is of no session was issued; None for any other, and for what is no token of ours.

        It may found a session, which then falls with everything that was issued to the user before.
        """
        try:
            claims = self._tokens.verify(token.token, AccessClaims, now)
        except TokenRejected:
            return None
        return None if claims.session_id is not None else claims.issued_at or 0.0

    async def close_one(self, user_id: UUID, session_id: UUID, now: float) -> None:
        """End one of the user's own sessions.

        Raises:
            SessionUnknown: they have no such live session.
            StoreUnavailable: the database does not answer; the session goes on.
        """
        if not await self._end(user_id, session_id, now):
            raise SessionUnknown

    async def close_others(self, user_id: UUID, except_session: UUID | None, now: float) -> int:
        """End every session of the user but one (None: but none), and return how many went on until now.

        A refresh token that Whatomate issued to them before now is not taken any more either.

        Raises:
            StoreUnavailable: the database does not answer; all of them go on.
        """
        expired = moment(now - self._tokens.leeway_seconds)  # with leeway their tokens live past their time
        ended = await self._store.end_sessions(user_id, except_session, moment(now), expired)
        self._tell(Change(rows=tuple(ended)))
        return len(ended)

    async def change_password(
        self, user_id: UUID, *, before: str, after: str, except_session: UUID | None, now: float
    ) -> bool:
        """Replace a user's password hash, and end every session but one; False where `before` is not it any more.

        The one that goes on has then begun under the new hash. Either all of it happens, or nothing.

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
        """Note under which password sessions began that a gateway from before this was noted began; return how many.

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
        """Tell whether a session goes on.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._store.is_live(session_id, moment(now), self._over(now))

    # -- forget ---------------------------------------------------------------------------------------------------

    async def purge(self, now: float) -> int:
        """Forget tokens and sessions that ended by time, and return how many sessions.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        # With leeway a token lives past its exp, and a forgotten one of Whatomate's would be taken again.
        return await self._store.purge_sessions(moment(now - _PURGE_GRACE_SECONDS))

    def _over(self, now: float) -> datetime:
        """Return the moment up to which a session had to begin to be over by now."""
        return moment(now - self._session_seconds)


def moment(seconds: float) -> datetime:
    """Return POSIX seconds as PostgreSQL takes them."""
    return datetime.fromtimestamp(seconds, UTC)
