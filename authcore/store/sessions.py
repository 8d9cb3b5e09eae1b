"""Families of refresh tokens in PostgreSQL: sessions are begun, continued, listed, ended and purged.

Laws:

- The state of a family is one row. One UPDATE revokes it, and with it every token that is entered later.
- A token is used in one statement, which locks the row of its family first and its own row second. Of any number of
  uses at the same time, on any number of replicas, the first rotates the token and the others find it rotated. A crash
  leaves the token unused.
- The statement is given the table of states and decides nothing by itself.
- Beginning a session and ending all sessions of a user exclude each other (``session_statements.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.errors import TokenRevoked
from authcore.store import session_statements as statements
from authcore.store.session_rows import Rotated, SessionListing, SessionRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.session_states import Reuse
    from authcore.store.pool import Connection, DatabasePool
    from authcore.store.session_rows import Moments, NewRefreshToken, NewSession, Transitions, Visit

_FAMILY: Final = """
SELECT s.id, s.created_at FROM gateway_refresh_tokens t JOIN gateway_sessions s ON s.id = t.family WHERE t.digest = $1
"""

_END: Final = """
UPDATE gateway_sessions SET revoked_at = $3
WHERE id = $2 AND user_id = $1 AND revoked_at IS NULL AND expires_at > $4 RETURNING id
"""

_BATCH: Final = 2000
# In batches: one statement over everything could run into its time limit, and then nothing would ever be done.
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

# Successors that a race or a second use may still be given are left.
_FORGET_SUCCESSORS: Final = """
WITH over AS (
    SELECT t.digest FROM gateway_refresh_tokens t JOIN gateway_sessions s ON s.id = t.family
    WHERE t.successor IS NOT NULL AND t.used_at <= $1
        AND (s.revoked_at IS NOT NULL OR t.superseded_at IS NOT NULL OR t.used_by IS NULL OR t.expires_at <= $3
             OR CASE $4::text WHEN 'keep' THEN s.created_at <= $5 WHEN 'retry' THEN t.retry_until <= $2 ELSE true END)
    LIMIT $6 FOR UPDATE OF t SKIP LOCKED),
forgotten AS (
    UPDATE gateway_refresh_tokens SET successor = NULL WHERE digest = ANY (ARRAY(SELECT digest FROM over))
    RETURNING digest)
SELECT count(*) FROM forgotten
"""


class SessionRows:
    """Reads and writes of refresh-token families."""

    _pool: DatabasePool

    async def open_session(
        self,
        session: NewSession,
        token: NewRefreshToken,
        *,
        proved: bytes | None = None,
        founded_at: datetime | None = None,
    ) -> bool:
        """Begin a family with its first token.

        Args:
            session: The family.
            token: Its first token.
            proved: SHA-256 of the password hash that the password was proved against; None where none was.
            founded_at: When the token was issued that the session is founded on; None where there is none.

        Returns:
            False, and nothing is written, if the user has another password hash by now, or all their sessions were
            ended since the token was issued.
        """
        row = await self._pool.fetchrow(
            statements.OPEN, *_written(session, token), proved, founded_at, token.offer
        )
        return row is not None

    async def trim_sessions(self, user_id: UUID, most: int, at: datetime) -> Sequence[UUID]:
        """End the sessions of the user beyond the `most` that were used last, and return which.

        As many ended sessions stay in the table; the older ones are deleted.
        """
        return [row["id"] for row in await self._pool.fetch(statements.TRIM, user_id, most, at)]

    async def extend_session(self, session: NewSession, token: NewRefreshToken) -> Sequence[str] | None:
        """Add a token to a live family of the user.

        Returns:
            The ids, written for Whatomate, of unused tokens whose rows were deleted to bound the family; None if the
            family is over, and nothing is written.
        """
        row = await self._pool.fetchrow(statements.EXTEND, *_written(session, token), token.offer)
        return None if row is None else row["displaced"]

    async def rotate_refresh_token(  # noqa: PLR0913 - what decides, by position; what is written, by name
        self,
        digest: bytes,
        event: str,
        transitions: Transitions,
        at: Moments,
        *,
        successor: NewRefreshToken | None = None,
        organization_id: UUID | None = None,
        visit: Visit | None = None,
    ) -> Rotated | None:
        """Apply `event` to a token by the state table `transitions`; None if there is no such token."""
        row = await self._pool.fetchrow(
            statements.ROTATE,
            digest,
            event,
            at.now,
            at.raced_since,
            at.token_over,
            at.session_over,
            *transitions,
            successor and successor.digest,
            successor and successor.expires_at,
            successor and successor.sealed,
            organization_id,
            visit and visit.device,
            visit and visit.address,
            successor and successor.retry_until,
            successor and successor.access_expires_at,
            successor and successor.offer,
        )
        return None if row is None else Rotated(**row)

    async def use_forgotten_token(
        self, user_id: UUID, session_id: UUID, issued_at: datetime, at: datetime
    ) -> bool:
        """End the session of a token without a row if the row was deleted after the token's use; else return False."""
        row = await self._pool.fetchrow(statements.USE_FORGOTTEN, session_id, user_id, issued_at, at)
        return row is not None

    async def adopt_foreign_token(
        self, session: NewSession, foreign: NewRefreshToken, foreign_issued_at: datetime
    ) -> SessionRow | None:
        """Enter a token that Whatomate issued into a family and return the family; a token keeps its first family.

        Returns:
            None if all sessions of the user were ended since the token was issued.
        """
        row = await self._pool.fetchrow(
            statements.ADOPT,
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

    async def end_session(self, user_id: UUID, session_id: UUID, at: datetime, over: datetime) -> bool:
        """End a session of the user that had not expired by `over`; False if they have none of that id."""
        return bool(await self._pool.fetch(_END, user_id, session_id, at, over))

    async def end_sessions(
        self, user_id: UUID, but: UUID | None, at: datetime, over: datetime
    ) -> Sequence[UUID]:
        """End every session of the user that had not expired by `over`, except `but`; return their ids.

        Refresh tokens that Whatomate issued to the user before are not entered from now on.
        """

        async def end(connection: Connection) -> Sequence[UUID]:
            await connection.execute(statements.SIGN_OUT, user_id, at)
            return [row["id"] for row in await connection.fetch(statements.END_ALL, user_id, but, at, over)]

        return await self._pool.transact(end)

    async def replace_password(  # noqa: PLR0913 - who, which password for which, and what goes on, by name
        self,
        user_id: UUID,
        *,
        before: str | None,
        after: str,
        but: UUID | None,
        at: datetime,
        over: datetime,
        founded_at: datetime | None = None,
    ) -> Sequence[UUID] | None:
        """Replace the password hash `before` by `after` and end sessions as :meth:`end_sessions` does.

        `before` is None for whatever hash there is, and for none. `founded_at` is when a token without a session was
        issued that asks for it.

        Raises:
            TokenRevoked: The session `but` is over, or all sessions were ended since `founded_at`. Nothing is changed.

        Returns:
            The ids of the ended sessions; None, and nothing is changed, if the user's hash is not `before`, or there is
            no such user.
        """

        async def replace(connection: Connection) -> Sequence[UUID] | None:
            if await connection.fetchval(statements.IS_OVER, user_id, but, founded_at, at):
                raise TokenRevoked
            await connection.execute(statements.SIGN_OUT, user_id, at)
            row = await connection.fetchrow(statements.REPLACE_HASH, user_id, before, after, but, at, over)
            return row["ended"] if row is not None and row["is_changed"] else None

        return await self._pool.transact(replace)

    async def note_passwords(self) -> int:
        """Note the present password hash for sessions without one; return for how many."""
        return await self._in_batches(statements.NOTE_PASSWORDS)

    async def is_live(self, session_id: UUID, now: datetime, over: datetime) -> bool:
        """Return whether a session is live: not ended, not expired, and not begun before `over`."""
        return bool(await self._pool.fetchval(statements.LIVE, session_id, now, over))

    async def sessions(
        self, user_id: UUID, first: UUID | None, now: datetime, over: datetime
    ) -> Sequence[SessionListing]:
        """Return at most a hundred live sessions of the user: `first`, then the others by their last use."""
        rows = await self._pool.fetch(statements.LIST, user_id, first, now, over)
        return [SessionListing(**row) for row in rows]

    async def purge_sessions(self, before: datetime) -> int:
        """Delete tokens and families that expired before `before`, and sign-outs that no longer matter.

        Returns:
            How many families were deleted.
        """
        gone = {name: await self._in_batches(statement, before) for name, statement in _PURGE.items()}
        return gone["sessions"]

    async def forget_successors(self, at: Moments, reuse: Reuse) -> int:
        """Delete the sealed successors that nobody is given again under the policy `reuse`; return how many."""
        return await self._in_batches(
            _FORGET_SUCCESSORS, at.raced_since, at.now, at.token_over, reuse, at.session_over
        )

    async def _in_batches(self, statement: str, *arguments: object) -> int:
        """Run a statement, whose last argument is how many rows it changes at most, until it changes none."""
        changed = 0
        while (count := int(await self._pool.fetchval(statement, *arguments, _BATCH))) > 0:
            changed += count
        return changed


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
