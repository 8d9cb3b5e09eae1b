"""Sessions: families of refresh tokens, each token good once.

Laws:

- ``TABLES`` (``authcore/session_states.py``) says what happens to a refresh token. PostgreSQL is given the table and
  decides by it in one statement, under the locks of the token and its family. Two refreshes at once make one pair.
- The store holds digests, never tokens. A client that raced itself, or lost the answer, gets the same pair again, from
  a copy that was sealed under the used token. The copy is deleted when nobody may ask for it any more.
- A second use that the table calls theft ends the family, and every token of it is refused from then on. The second
  use of a token whose row was deleted to bound the family ends it, too.
- A refresh token that Whatomate issued (genuine, and without the gateway's own claim) enters a family once.
- No token outlives its session, and no session outlives the absolute lifetime.
- The token's organization is preserved. A user who was removed from it is signed in to their home organization, but
  for a session that stays in one organization.
- Whatever ends a session announces it in this process at once; the database announces it to the others.
- A user can neither end a session of another user nor learn that it exists.
- A session that ended by time is stored for one day more: a forgotten token of Whatomate's would be accepted again.
"""

from __future__ import annotations

import math
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

from authcore.accounts.token_pairs import TokenPairs, digest_of, proved, renew, reopen
from authcore.errors import (
    RefreshExpired,
    RefreshRejected,
    RefreshReused,
    RefreshRevoked,
    RefreshUserUnknown,
    SessionUnknown,
    StoreUnavailable,
    TokenRejected,
    TokenRevoked,
    UserDisabled,
)
from authcore.figures import MetricSample
from authcore.moments import moment
from authcore.session_states import TABLES, Effect, Event, Reuse, State, transitions_of
from authcore.store.rows import Change
from authcore.store.session_rows import (
    NOWHERE,
    EndedSession,
    Moments,
    NewRefreshToken,
    NewSession,
    SessionRow,
)
from authcore.tokens.claims import AccessClaims, RefreshClaims

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from authcore.accounts.token_pairs import TokenPair
    from authcore.credentials import BearerToken, RefreshToken
    from authcore.store.protocol import SessionStore
    from authcore.store.rows import Subject
    from authcore.store.session_rows import Rotated, SessionListing, Visit
    from authcore.tokens.issuer import Tokens


__all__ = ["TABLES", "Effect", "Event", "Reuse", "Sessions", "State"]

SESSION_SECONDS: Final = 30 * 86_400
GRACE_SECONDS: Final = 10
MOST: Final = 100
_PURGE_GRACE_SECONDS: Final = 86_400


class Sessions:
    """Opens, continues, lists and ends sessions."""

    def __init__(  # noqa: PLR0913 - its collaborators by position, its settings by name
        self,
        store: SessionStore,
        tokens: Tokens,
        *,
        grace_seconds: float = GRACE_SECONDS,
        reuse: Reuse = Reuse.RETRY,
        session_seconds: float = SESSION_SECONDS,
        most: int = MOST,
        tell: Callable[[Change], None] = lambda _: None,
    ) -> None:
        """Prepare.

        Args:
            store: The sessions and their tokens.
            tokens: Issues and verifies tokens.
            grace_seconds: Two uses of a refresh token within this are one client that raced itself.
            reuse: What a second use after the grace is.
            session_seconds: The absolute lifetime of a session.
            most: Sessions that a user may have; past them, the one used longest ago ends.
            tell: Called with every change of sessions that is made here.
        """
        self._store = store
        self._tokens = tokens
        self._session_seconds = session_seconds
        self._tell = tell
        self._pairs = TokenPairs(tokens, session_seconds=session_seconds)
        self._grace_seconds = grace_seconds
        self._reuse = reuse
        self._transitions = transitions_of(reuse)
        self._most = most
        self._displaced = 0

    # -- begin and go on ------------------------------------------------------------------------------------------

    async def open(  # noqa: PLR0913 - what it rests on, by name
        self,
        subject: Subject,
        now: float,
        visit: Visit = NOWHERE,
        *,
        password_hash: str | None = None,
        founded_at: float | None = None,
        until: float = math.inf,
    ) -> TokenPair:
        """Begin a session of `subject`, acting in the organization they are seen in.

        Args:
            subject: Whose session it is, and where.
            now: POSIX seconds.
            visit: Where it begins from.
            password_hash: What the password was proved against, where one was.
            founded_at: When the token was issued that the session is founded on, where one is.
            until: POSIX seconds of the end of its tokens and of all that comes of them, if that is to be before theirs.

        Raises:
            TokenRevoked: the password is another by now, or all sessions were ended since the token was issued.
            StoreUnavailable: the database does not answer.
        """
        session = SessionRow(uuid4(), moment(now))
        pair, token = self._pairs.issue(subject, session, now, until=until)
        if not await self._store.open_session(
            NewSession.of(session.id, subject, visit),
            token,
            proved=None if password_hash is None else sha256(password_hash.encode()).digest(),
            founded_at=None if founded_at is None else moment(founded_at),
        ):
            raise TokenRevoked
        await self._trim(subject.user_id, now)
        return pair

    async def _trim(self, user_id: UUID, now: float) -> None:
        """End what a user has beyond the greatest number of sessions."""
        ended: Sequence[UUID] = ()
        with suppress(StoreUnavailable):  # the next sign-in ends them
            ended = await self._store.trim_sessions(user_id, self._most, moment(now))
        if ended:
            self._displaced += len(ended)
            await self._announce(*ended)

    async def _announce(self, *rows: UUID) -> None:
        """Notify of ended sessions, and of their user if all of the user's ended."""
        self._tell(Change(rows=rows))

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        meaning = "Sessions ended by a newer one too many."
        yield MetricSample("displaced", meaning, lambda: self._displaced, counts=True)

    async def extend(
        self,
        subject: Subject,
        session_id: UUID,
        now: float,
        visit: Visit = NOWHERE,
        *,
        until: float = math.inf,
    ) -> TokenPair:
        """Give a session tokens for the organization that `subject` is seen in; those it has stay good.

        Raises:
            TokenRevoked: the session is over.
            StoreUnavailable: the database does not answer.
        """
        if subject.is_session_over or subject.session_began_at is None:
            raise TokenRevoked
        session = SessionRow(session_id, subject.session_began_at)
        pair, token = self._pairs.issue(subject, session, now, until=until)
        displaced = await self._store.extend_session(NewSession.of(session_id, subject, visit), token)
        if displaced is None:
            raise TokenRevoked
        await self._displace(displaced)
        return pair

    async def _displace(self, jtis: Sequence[str]) -> None:
        """Handle the ids of unused tokens whose rows were deleted for a new one; here there is nothing to do."""

    async def refresh(self, token: RefreshToken, now: float, visit: Visit = NOWHERE) -> TokenPair:
        """Trade a refresh token for a new pair.

        Raises:
            RefreshRejected: malformed, expired, of another kind or wrongly signed (by subclass).
            RefreshReused: used before, and the second use is theft by the table; the session is ended.
            RefreshRevoked: its session has been ended.
            RefreshUserUnknown: the user is gone.
            UserDisabled: the user is switched off.
            StoreUnavailable: the database does not answer; the token stays good.
        """
        claims, digest = proved(self._tokens, token, now), digest_of(token)
        subject, began_at = await self._subject(claims)
        session = await self._session(claims, digest, began_at, visit, now)
        if session is None:
            raise RefreshRevoked
        until = math.inf if claims.until is None else claims.until
        follows = token if self._grace_seconds or self._reuse is not Reuse.STRICT else None
        pair, successor = self._pairs.issue(subject, session, now, follows, until=until)
        rotated = await self._store.rotate_refresh_token(
            digest,
            Event.REFRESH,
            self._transitions,
            self._moments(now),
            successor=successor,
            organization_id=subject.organization_id,
            visit=visit,
        )
        if rotated is None:
            raise RefreshReused(session.id) if await self._is_reused(claims, now) else RefreshRevoked
        await self._displace(rotated.displaced)
        return await self._outcome(rotated, pair, token, now)

    async def _outcome(self, rotated: Rotated, pair: TokenPair, token: RefreshToken, now: float) -> TokenPair:
        match Effect(rotated.effect):
            case Effect.ISSUE:
                return pair
            case Effect.REPEAT:
                return reopen(rotated, token, now)
            case Effect.RENEW:
                return renew(rotated, token, pair, now)
            case Effect.END:
                await self._announce(rotated.session_id)
                raise RefreshReused(rotated.session_id)
            case Effect.REFUSE:
                raise RefreshExpired if rotated.state == State.EXPIRED else RefreshRevoked

    # -- end ------------------------------------------------------------------------------------------------------

    async def close(self, token: RefreshToken, now: float) -> EndedSession | None:
        """End and return the session a refresh token belongs to. A token that is not good has none: nothing happens.

        Raises:
            StoreUnavailable: the database does not answer; the session goes on.
        """
        try:
            claims = proved(self._tokens, token, now)
        except RefreshRejected:
            return None
        digest = digest_of(token)
        if not claims.is_ours:
            await self._enter(claims, digest, NOWHERE, now)
        at = self._moments(now)
        rotated = await self._store.rotate_refresh_token(digest, Event.LOGOUT, self._transitions, at)
        if rotated is None and claims.session_id is not None and await self._is_reused(claims, now):
            return EndedSession(claims.user_id, claims.organization_id, claims.session_id)
        if rotated is None or rotated.effect != Effect.END:
            return None
        await self._announce(rotated.session_id)
        return EndedSession(claims.user_id, claims.organization_id, rotated.session_id)

    async def close_bearer(self, token: BearerToken, now: float) -> EndedSession | None:
        """End and return the session of an access token. A token that does not verify, or has no session, ends nothing.

        An expired token ends its session as well: its client has asked to be signed out.

        Raises:
            StoreUnavailable: the database does not answer; the session goes on.
        """
        try:
            claims = self._tokens.verify(token.secret, AccessClaims, now, expired=True)
        except TokenRejected:
            return None
        if claims.session_id is None or not await self._end(claims.user_id, claims.session_id, now):
            return None
        return EndedSession(claims.user_id, claims.organization_id, claims.session_id)

    def founding(self, token: BearerToken, now: float) -> float | None:
        """Return when a token without a session was issued; None for a token of a session or not ours.

        Such a token may found a session. Ending all sessions of the user ends that session too, if it was founded by a
        token issued before.
        """
        try:
            claims = self._tokens.verify(token.secret, AccessClaims, now)
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
        ended = await self._store.end_sessions(user_id, except_session, moment(now), self._expired(now))
        await self._announce(user_id, *ended)
        return len(ended)

    async def change_password(  # noqa: PLR0913 - which password for which, what goes on, and when, by name
        self,
        user_id: UUID,
        *,
        before: str,
        after: str,
        except_session: UUID | None,
        founded_at: float | None = None,
        now: float,
    ) -> bool:
        """Replace a user's password hash and end all sessions but one; return False if `before` is no longer the hash.

        The remaining session then counts as begun under the new hash. All of this happens, or none of it. Without a
        session, `founded_at` is when the token was issued that asks for it.

        Raises:
            TokenRevoked: the remaining session is over, or all were ended since the token was issued.
            StoreUnavailable: the database does not answer.
        """
        ended = await self._store.replace_password(
            user_id,
            before=before,
            after=after,
            but=except_session,
            founded_at=None if founded_at is None else moment(founded_at),
            at=moment(now),
            over=self._expired(now),
        )
        if ended is None:
            return False
        await self._announce(user_id, *ended)
        return True

    async def note_passwords(self) -> int:
        """Store the password hash under which sessions of older gateways began, and return how many were completed.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._store.note_passwords()

    async def _end(self, user_id: UUID, session_id: UUID, now: float) -> bool:
        ended = await self._store.end_session(user_id, session_id, moment(now), self._expired(now))
        if ended:
            await self._announce(session_id)
        return ended

    # -- look -----------------------------------------------------------------------------------------------------

    async def of_user(self, user_id: UUID, current: UUID | None, now: float) -> Sequence[SessionListing]:
        """Return the user's live sessions: the current one first, then the last used; a hundred at most.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._store.sessions(user_id, current, moment(now), self._over(now))

    async def is_live(self, session_id: UUID, now: float) -> bool:
        """Return whether a session is live.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._store.is_live(session_id, moment(now), self._over(now))

    # -- forget ---------------------------------------------------------------------------------------------------

    async def forget_successors(self, now: float) -> int:
        """Forget the pairs that nobody may ask for again, and return how many.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._store.forget_successors(self._moments(now), self._reuse)

    async def purge(self, now: float) -> int:
        """Delete tokens and sessions that ended by time, and return how many sessions.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        # With leeway a token is accepted past its exp, and a forgotten one of Whatomate's would be accepted again.
        return await self._store.purge_sessions(moment(now - _PURGE_GRACE_SECONDS))

    def _expired(self, now: float) -> datetime:
        """Return the cut-off: a token whose ``exp`` is at or before it is refused, the leeway included."""
        return moment(now - self._tokens.leeway_seconds)

    def _over(self, now: float) -> datetime:
        """Return the cut-off: a session that began at or before it is over now."""
        return moment(now - self._session_seconds)

    # -- what a rotation needs ------------------------------------------------------------------------------------

    async def _is_reused(self, claims: RefreshClaims, now: float) -> bool:
        """End the session of a token whose row was deleted after its use, and return whether that was so."""
        session, at = claims.session_id, moment(claims.issued_at or 0)
        if session is None or not await self._store.use_forgotten_token(
            claims.user_id, session, at, moment(now)
        ):
            return False
        await self._announce(session)
        return True

    async def _subject(self, claims: RefreshClaims) -> tuple[Subject, datetime | None]:
        """Return the user as they are now, where they may act; and when the token's session began."""
        subject = await self._store.subject(claims.user_id, claims.organization_id, claims.session_id)
        if subject is None:
            raise RefreshUserUnknown
        if not subject.is_active:
            raise UserDisabled
        began_at = subject.session_began_at
        if subject.may_act:
            return subject, began_at
        home = await self._store.home(subject.user_id)
        subject = None if home is None else await self._store.subject(claims.user_id, home, claims.session_id)
        if subject is None or not subject.may_act or not subject.is_active:
            raise RefreshRejected
        return subject, began_at

    async def _session(
        self, claims: RefreshClaims, digest: bytes, began_at: datetime | None, visit: Visit, now: float
    ) -> SessionRow | None:
        """Return the session of a token; of one that Whatomate issued, the one it is entered into."""
        if claims.session_id is not None:
            return None if began_at is None else SessionRow(claims.session_id, began_at)
        if claims.is_ours:  # from before tokens named their session
            return await self._store.family(digest)
        return await self._enter(claims, digest, visit, now)

    async def _enter(
        self, claims: RefreshClaims, digest: bytes, visit: Visit, now: float
    ) -> SessionRow | None:
        session = NewSession(
            id=uuid4(), user_id=claims.user_id, organization_id=claims.organization_id, visit=visit
        )
        foreign = NewRefreshToken(digest=digest, issued_at=moment(now), expires_at=moment(claims.expires_at))
        entered = await self._store.adopt_foreign_token(session, foreign, moment(claims.issued_at or 0))
        if entered is not None and entered.id == session.id:
            await self._trim(claims.user_id, now)
        return entered

    def _moments(self, now: float) -> Moments:
        return Moments(
            now=moment(now),
            raced_since=moment(now - self._grace_seconds),
            token_over=self._expired(now),
            session_over=self._over(now),
        )
