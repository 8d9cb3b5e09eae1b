"""Families of refresh tokens in PostgreSQL.

Laws:

- A family's state is one row: revoking it is one UPDATE, which holds for tokens entered a moment later too.
- A token is turned in one statement, under the locks of its family's row and its own, in this order: of any number at
  once, on any number of replicas, the first one rotates it and the others find it rotated; a crash turns nothing.
- What a turn means is not decided here: the statement is handed the table of states.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.store.session_rows import SessionListing, SessionRow, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.session_states import Reuse
    from authcore.store.pool import Pool
    from authcore.store.session_rows import Laws, Moments, NewRefreshToken, NewSession, Visit

_OPEN: Final = """
WITH session AS (
    INSERT INTO gateway_sessions (id, user_id, organization_id, created_at, last_used_at, expires_at, device, address)
    VALUES ($1, $2, $3, $5, $5, $6, $7, $8) RETURNING id)
INSERT INTO gateway_refresh_tokens (digest, family, issued_at, expires_at) SELECT $4, id, $5, $6 FROM session
"""

_EXTEND: Final = """
WITH session AS (
    UPDATE gateway_sessions s SET organization_id = $3, last_used_at = $5, expires_at = greatest(s.expires_at, $6),
        device = $7, address = $8
    WHERE s.id = $1 AND s.user_id = $2 AND s.revoked_at IS NULL RETURNING s.id)
INSERT INTO gateway_refresh_tokens (digest, family, issued_at, expires_at) SELECT $4, id, $5, $6 FROM session
RETURNING family
"""

# FOR UPDATE returns the rows as they are once locked (PostgreSQL re-evaluates the query on their newest versions), and
# so does each UPDATE after it: what the statement's snapshot showed of them decides nothing.
_TURN: Final = """
WITH found AS (
    SELECT t.digest, t.follows, t.successor, s.id AS session_id,
        CASE WHEN t.reused_at IS NOT NULL THEN 'reused'
             WHEN s.revoked_at IS NOT NULL THEN 'revoked'
             WHEN t.expires_at <= $5 OR s.created_at <= $6 THEN 'expired'
             WHEN t.used_at IS NULL THEN 'issued'
             WHEN t.superseded_at IS NOT NULL THEN 'superseded'
             ELSE 'rotated' END AS state,
        CASE WHEN $2::text <> 'refresh' OR t.used_at IS NULL THEN $2::text
             WHEN t.used_at > $4 THEN 'race'
             WHEN t.used_by IS DISTINCT FROM $15::text THEN 'refresh'
             WHEN t.retry_until > $3 THEN 'retry'
             ELSE 'return' END AS event
    FROM gateway_sessions s JOIN gateway_refresh_tokens t ON t.family = s.id
    WHERE t.digest = $1
    FOR UPDATE OF s, t),
turned AS (
    SELECT found.*, law.next, law.effect FROM found
    JOIN unnest($7::text[], $8::text[], $9::text[], $10::text[]) AS law (state, event, next, effect)
        USING (state, event)),
token AS (
    UPDATE gateway_refresh_tokens t SET
        used_at = CASE WHEN turned.effect = 'issue' THEN $3 ELSE t.used_at END,
        used_by = CASE WHEN turned.effect = 'issue' THEN $15 ELSE t.used_by END,
        retry_until = CASE WHEN turned.effect = 'issue' THEN $17::timestamptz ELSE t.retry_until END,
        reused_at = CASE WHEN turned.next = 'reused' THEN $3 END,
        successor = CASE WHEN turned.effect = 'issue' THEN $13::bytea END
    FROM turned WHERE t.digest = turned.digest AND turned.next <> turned.state),
before AS (
    UPDATE gateway_refresh_tokens t SET superseded_at = $3
    FROM turned WHERE t.digest = turned.follows AND turned.effect = 'issue'),
added AS (
    INSERT INTO gateway_refresh_tokens (digest, family, follows, issued_at, expires_at)
    SELECT $11::bytea, session_id, digest, $3, $12::timestamptz FROM turned WHERE effect = 'issue'),
used AS (
    UPDATE gateway_sessions s SET last_used_at = $3,
        expires_at = greatest(s.expires_at, $18::timestamptz,
            CASE turned.effect WHEN 'issue' THEN $12::timestamptz END),
        organization_id = $14::uuid, device = $15::text, address = $16::text
    FROM turned WHERE s.id = turned.session_id AND turned.effect IN ('issue', 'renew')),
ended AS (
    UPDATE gateway_sessions s SET revoked_at = $3
    FROM turned WHERE s.id = turned.session_id AND turned.effect = 'end')
SELECT session_id, state, effect, successor FROM turned
"""

# A token that was entered before keeps its family: whoever enters it second is told that one.
_ENTER: Final = """
WITH token AS (
    INSERT INTO gateway_refresh_tokens (digest, family, issued_at, expires_at)
    SELECT $1, $2, $5, $6
    WHERE EXISTS (SELECT FROM gateway_refresh_tokens known WHERE known.digest = $1)
        OR NOT EXISTS (SELECT FROM gateway_sign_outs o WHERE o.user_id = $3::uuid AND o.at >= $7::timestamptz)
    ON CONFLICT (digest) DO UPDATE SET family = gateway_refresh_tokens.family RETURNING family),
session AS (
    INSERT INTO gateway_sessions (id, user_id, organization_id, created_at, last_used_at, expires_at, device, address)
    SELECT family, $3::uuid, $4::uuid, $5, $5, $6, $8, $9 FROM token WHERE family = $2)
SELECT token.family AS id, coalesce(s.created_at, $5) AS created_at
FROM token LEFT JOIN gateway_sessions s ON s.id = token.family
"""

_FAMILY: Final = """
SELECT s.id, s.created_at FROM gateway_refresh_tokens t JOIN gateway_sessions s ON s.id = t.family WHERE t.digest = $1
"""

_END: Final = """
UPDATE gateway_sessions SET revoked_at = $3
WHERE id = $2 AND user_id = $1 AND revoked_at IS NULL AND expires_at > $3 RETURNING id
"""

_END_ALL: Final = """
WITH signed_out AS (
    INSERT INTO gateway_sign_outs (user_id, at) VALUES ($1, $3)
    ON CONFLICT (user_id) DO UPDATE SET at = greatest(gateway_sign_outs.at, excluded.at))
UPDATE gateway_sessions SET revoked_at = $3
WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $4 AND id IS DISTINCT FROM $2::uuid RETURNING id
"""

_LIVE: Final = """
SELECT EXISTS (SELECT FROM gateway_sessions
    WHERE id = $1 AND revoked_at IS NULL AND expires_at > $2 AND created_at > $3)
"""

_LIST: Final = """
SELECT id, organization_id, device, address, created_at, coalesce(last_used_at, created_at) AS last_used_at, expires_at
FROM gateway_sessions
WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $3 AND created_at > $4
ORDER BY id IS NOT DISTINCT FROM $2::uuid DESC, coalesce(last_used_at, created_at) DESC, id LIMIT 100
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
    SELECT user_id FROM gateway_sign_outs WHERE at < $1::timestamptz - interval '400 days' LIMIT $2) RETURNING user_id)
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

    async def open_session(self, session: NewSession, token: NewRefreshToken) -> None:
        """Begin a family with its first token."""
        await self._pool.fetch(_OPEN, *_written(session, token))

    async def extend_session(self, session: NewSession, token: NewRefreshToken) -> bool:
        """Give a live family of the user one more token; False, changing nothing, when it is over."""
        return bool(await self._pool.fetch(_EXTEND, *_written(session, token)))

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
            _TURN,
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
            _ENTER,
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
        return [row["id"] for row in await self._pool.fetch(_END_ALL, user_id, but, at, over)]

    async def is_live(self, session_id: UUID, now: datetime, over: datetime) -> bool:
        """Tell whether a session goes on: not ended, expired, or begun before `over`."""
        return bool(await self._pool.fetchval(_LIVE, session_id, now, over))

    async def sessions(
        self, user_id: UUID, first: UUID | None, now: datetime, over: datetime
    ) -> Sequence[SessionListing]:
        """Return the user's live sessions: `first` first, then the last used; a hundred at most."""
        rows = await self._pool.fetch(_LIST, user_id, first, now, over)
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
