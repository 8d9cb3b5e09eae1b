"""Families of refresh tokens in PostgreSQL.

Laws:

- A family's state is one row: revoking it is one UPDATE, which holds for tokens entered a moment later too.
- A token is turned in one statement, under the locks of its family's row and its own, in this order: of any number at
  once, on any number of replicas, the first one rotates it and the others find it rotated; a crash turns nothing.
- What a turn means is not decided here: the statement is handed the table of states.
- Beginning a session, and ending all of a user's, come one after the other (``session_statements.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.store import session_statements as statements
from authcore.store.session_rows import SessionListing, SessionRow, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.session_states import Reuse
    from authcore.store.pool import Pool
    from authcore.store.session_rows import Laws, Moments, NewRefreshToken, NewSession, Visit

_FAMILY: Final = """
SELECT s.id, s.created_at FROM gateway_refresh_tokens t JOIN gateway_sessions s ON s.id = t.family WHERE t.digest = $1
"""

_END: Final = """
UPDATE gateway_sessions SET revoked_at = $3
WHERE id = $2 AND user_id = $1 AND revoked_at IS NULL AND expires_at > $3 RETURNING id
"""

_PURGE_BATCH: Final = 2000
# By the thousand: a statement that ran into its time limit would purge nothing, and no more the next time.
_PURGE: Final = {
    "tokens": """
WITH gone AS (DELETE FROM gateway_refresh_tokens WHERE digest IN (
    SELECT digest FROM gateway_refresh_tokens WHERE expires_at < $1 LIMIT $2) RETURNING digest)
SELECT count(*) FROM gone""",
    "sessions": """
WITH gone AS (DELETE FROM gateway_sessions WHERE id IN (
    SELECT id FROM gateway_sessions WHERE expires_at < $1 LIMIT $2) RETURNING id)
SELECT count(*) FROM gone""",
    "sign-outs": """
WITH gone AS (DELETE FROM gateway_sign_outs WHERE user_id IN (
    SELECT o.user_id FROM gateway_sign_outs o WHERE o.at < $1::timestamptz - interval '400 days'
        AND NOT EXISTS (SELECT FROM gateway_sessions s WHERE s.user_id = o.user_id) LIMIT $2) RETURNING user_id)
SELECT count(*) FROM gone""",
}

# What a race may still ask for stays, and what a retry may.
_FORGET_SUCCESSORS: Final = """
WITH forgotten AS (
    UPDATE gateway_refresh_tokens t SET successor = NULL
    FROM gateway_sessions s
    WHERE s.id = t.family AND t.successor IS NOT NULL AND t.used_at <= $1
        AND (s.revoked_at IS NOT NULL OR t.superseded_at IS NOT NULL OR t.used_by IS NULL OR t.expires_at <= $3
             OR CASE $4::text WHEN 'keep' THEN s.created_at <= $5 WHEN 'retry' THEN t.retry_until <= $2 ELSE true END)
    RETURNING t.digest)
SELECT count(*) FROM forgotten
"""


class SessionRows:
    """Reads and writes of refresh-token families."""

    _pool: Pool

    async def open_session(
        self,
        session: NewSession,
        token: NewRefreshToken,
        *,
        proved: bytes | None = None,
        founded_at: datetime | None = None,
    ) -> bool:
        """Begin a family with its first token; False where what it is founded on holds no more."""
        row = await self._pool.fetchrow(statements.OPEN, *_written(session, token), proved, founded_at)
        return row is not None

    async def extend_session(self, session: NewSession, token: NewRefreshToken) -> bool:
        """Give a live family of the user one more token; False, changing nothing, when it is over."""
        return bool(await self._pool.fetch(statements.EXTEND, *_written(session, token)))

    async def turn(  # noqa: PLR0913 - what decides, by position; what is written, by name
        self,
        digest: bytes,
        event: str,
        laws: Laws,
        at: Moments,
        *,
        successor: NewRefreshToken | None = None,
        organization_id: UUID | None = None,
        visit: Visit | None = None,
    ) -> Turn | None:
        """Let `event` happen to a token, by the `laws` of its states; None when there is no such token."""
        row = await self._pool.fetchrow(
            statements.TURN,
            digest,
            event,
            at.now,
            at.raced_since,
            at.token_over,
            at.session_over,
            *laws,
            successor and successor.digest,
            successor and successor.expires_at,
            successor and successor.sealed,
            organization_id,
            visit and visit.device,
            visit and visit.address,
            successor and successor.retry_until,
            successor and successor.access_expires_at,
        )
        return None if row is None else Turn(**row)

    async def enter(
        self, session: NewSession, foreign: NewRefreshToken, foreign_issued_at: datetime
    ) -> SessionRow | None:
        """Enter a token that Whatomate issued into a family, once, and return the family.

        None when the user has ended all sessions since it was issued.
        """
        row = await self._pool.fetchrow(
            statements.ENTER,
            foreign.digest,
            session.id,
            session.user_id,
            session.organization_id,
            foreign.issued_at,
            foreign.expires_at,
            foreign_issued_at,
            session.visit.device,
            session.visit.address,
        )
        return None if row is None else SessionRow(**row)

    async def family(self, digest: bytes) -> SessionRow | None:
        """Return the family a token belongs to."""
        row = await self._pool.fetchrow(_FAMILY, digest)
        return None if row is None else SessionRow(**row)

    async def end_session(self, user_id: UUID, session_id: UUID, at: datetime) -> bool:
        """End one of the user's sessions; False when they have no such live one."""
        return bool(await self._pool.fetch(_END, user_id, session_id, at))

    async def end_sessions(
        self, user_id: UUID, but: UUID | None, at: datetime, over: datetime
    ) -> Sequence[UUID]:
        """End every session of the user but one that had not expired by `over`; return which.

        What Whatomate issued to them before is not entered any more.
        """
        async with self._pool.transaction() as connection:
            await connection.execute(statements.SIGN_OUT, user_id, at)
            ended = await connection.fetch(statements.END_ALL, user_id, but, at, over)
        return [row["id"] for row in ended]

    async def replace_password(  # noqa: PLR0913 - who, which password for which, and what goes on, by name
        self,
        user_id: UUID,
        *,
        before: str,
        after: str,
        but: UUID | None,
        at: datetime,
        over: datetime,
    ) -> Sequence[UUID] | None:
        """Replace the password hash `before`, and end sessions as :meth:`end_sessions` does; None when it is another.

        In one transaction: where the hash is another by now, no session ends.
        """
        async with self._pool.transaction() as connection:
            await connection.execute(statements.SIGN_OUT, user_id, at)
            row = await connection.fetchrow(statements.REPLACE_HASH, user_id, before, after, but, at, over)
        return row["ended"] if row is not None and row["is_changed"] else None

    async def note_passwords(self) -> int:
        """Note for sessions of which it is not known which password they began under; return for how many."""
        return int(await self._pool.fetchval(statements.NOTE_PASSWORDS))

    async def is_live(self, session_id: UUID, now: datetime, over: datetime) -> bool:
        """Tell whether a session goes on: not ended, expired, or begun before `over`."""
        return bool(await self._pool.fetchval(statements.LIVE, session_id, now, over))

    async def sessions(
        self, user_id: UUID, first: UUID | None, now: datetime, over: datetime
    ) -> Sequence[SessionListing]:
        """Return the user's live sessions: `first` first, then the last used; a hundred at most."""
        rows = await self._pool.fetch(statements.LIST, user_id, first, now, over)
        return [SessionListing(**row) for row in rows]

    async def purge_sessions(self, before: datetime) -> int:
        """Forget the tokens that expired before then, and the families of which none is left; return how many."""
        gone = dict.fromkeys(_PURGE, 0)
        for name, statement in _PURGE.items():
            while (count := int(await self._pool.fetchval(statement, before, _PURGE_BATCH))) > 0:
                gone[name] += count
        return gone["sessions"]

    async def forget_successors(self, at: Moments, reuse: Reuse) -> int:
        """Forget the sealed successors that nobody is given any more by `reuse`; return how many."""
        forgotten = await self._pool.fetchval(
            _FORGET_SUCCESSORS, at.raced_since, at.now, at.token_over, reuse, at.session_over
        )
        return int(forgotten)


def _written(session: NewSession, token: NewRefreshToken) -> tuple[object, ...]:
    return (
        session.id,
        session.user_id,
        session.organization_id,
        token.digest,
        token.issued_at,
        token.expires_at,
        session.visit.device,
        session.visit.address,
    )
