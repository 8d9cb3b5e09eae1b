"""Sessions whose refresh tokens are also good at a Whatomate server, each token once, on either side.

Laws:

- The id of a refresh token is written to where Whatomate looks for it when the token is issued. It is used up there
  before the token is used here: of two uses at the same time on the two sides, one succeeds.
- The id is stored in the token's row before it is written to Redis, and the session is checked after the write. If the
  session ends in between, either its end or the check deletes the id from Redis.
- A token whose id was written and is gone, and which no gateway has used, was used or logged out at Whatomate. It is
  refused, and no session ends for it.
- A successor that Whatomate has used counts as used. A second use of the token before it is theft after the grace.
- Where the id cannot be looked up, the gateway's own table decides alone. A use that fails writes the id back.
- When a session ends, the ids of its unused tokens are deleted. When a token is used, its id is gone after the use.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from authcore.accounts.sessions import Sessions
from authcore.accounts.token_pairs import TokenPairs, digest_of, proved
from authcore.counterpart import Counterpart, Taken
from authcore.credentials import RefreshToken
from authcore.errors import RefreshRejected, RefreshReused, RefreshRevoked, StoreUnavailable
from authcore.moments import moment
from authcore.store.session_rows import NOWHERE
from authcore.tokens.claims import RefreshClaims

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from authcore.accounts.token_pairs import TokenPair
    from authcore.session_states import Reuse
    from authcore.store.protocol import SharedSessionStore
    from authcore.store.rows import Change, Subject
    from authcore.store.session_rows import EndedSession, Visit
    from authcore.tokens.issuer import Tokens


class SharedSessions(Sessions):
    """Opens, continues, lists and ends sessions, and writes and deletes the ids of their tokens at the counterpart."""

    _store: SharedSessionStore

    def __init__(  # noqa: PLR0913 -- as Sessions, and the counterpart
        self,
        store: SharedSessionStore,
        tokens: Tokens,
        *,
        counterpart: Counterpart,
        grace_seconds: float,
        reuse: Reuse,
        session_seconds: float,
        most: int,
        tell: Callable[[Change], None],
    ) -> None:
        """Arguments as of :class:`Sessions`."""
        super().__init__(
            store,
            tokens,
            grace_seconds=grace_seconds,
            reuse=reuse,
            session_seconds=session_seconds,
            most=most,
            tell=tell,
        )
        self._counterpart = counterpart
        self._pairs = TokenPairs(tokens, session_seconds=session_seconds, is_offering=True)

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
        """As :meth:`Sessions.open`."""
        pair = await super().open(
            subject, now, visit, password_hash=password_hash, founded_at=founded_at, until=until
        )
        await self._publish(pair, now)
        return pair

    async def extend(
        self,
        subject: Subject,
        session_id: UUID,
        now: float,
        visit: Visit = NOWHERE,
        *,
        until: float = math.inf,
    ) -> TokenPair:
        """As :meth:`Sessions.extend`."""
        pair = await super().extend(subject, session_id, now, visit, until=until)
        await self._publish(pair, now)
        return pair

    async def refresh(self, token: RefreshToken, now: float, visit: Visit = NOWHERE) -> TokenPair:
        """As :meth:`Sessions.refresh`; a token that Whatomate has used is ``RefreshRevoked``."""
        claims = proved(self._tokens, token, now)
        taken = await self._counterpart.take(claims.jti)
        if taken is Taken.GONE and await self._store.was_used_elsewhere(
            digest_of(token), is_ours=claims.is_ours
        ):
            raise RefreshRevoked
        if taken in (Taken.BEFORE, Taken.GONE):
            await self._note_use_of_successor(digest_of(token), now)
        try:
            pair = await super().refresh(token, now, visit)
        except (RefreshReused, RefreshRevoked):
            raise
        except Exception:
            if taken is Taken.TAKEN:  # the token was not used after all
                await self._write(digest_of(token), claims, int(claims.expires_at - now))
            raise
        if taken is not Taken.TAKEN:  # the issuing process may have written its id since
            await self._counterpart.drop([claims.jti])
        await self._publish(pair, now)
        return pair

    async def close(self, token: RefreshToken, now: float) -> EndedSession | None:
        """As :meth:`Sessions.close`."""
        ended = await super().close(token, now)
        try:
            claims = proved(self._tokens, token, now)
        except RefreshRejected:  # no id of it is anywhere
            return None
        await self._counterpart.drop([claims.jti])
        return ended

    async def _note_use_of_successor(self, digest: bytes, now: float) -> None:
        """Mark the token of `digest` as superseded if its successor was used at Whatomate.

        A use here that is under way has left its mark at the counterpart before it is in the table, so it is not taken
        for one at Whatomate.
        """
        jti = await self._store.unused_successor(digest)
        if jti is not None and await self._counterpart.was_used(jti):
            await self._store.supersede(digest, moment(now))

    async def _publish(self, pair: TokenPair, now: float) -> None:
        """Write the id of a pair's refresh token, once only: a pair that is repeated may have been used meanwhile."""
        claims = self._tokens.verify(pair.refresh_token, RefreshClaims, now)
        if claims.until is not None:  # Whatomate knows of no such end
            return
        digest = digest_of(RefreshToken(pair.refresh_token))
        try:
            is_published = await self._store.is_published(digest)
        except StoreUnavailable:
            return  # the pair is good here; Whatomate may refuse it
        if not is_published:
            await self._write(digest, claims, pair.refresh_expires_in)

    async def _write(self, digest: bytes, claims: RefreshClaims, seconds: int) -> None:
        """Write the id of a token to Redis for `seconds`; delete it again if its session has ended meanwhile."""
        if not await self._counterpart.add(claims.jti, claims.user_id, seconds):
            return
        try:
            is_good = await self._store.mark_published(digest, claims.jti)
        except StoreUnavailable:
            return  # the id is in the token's row, so the end of the session deletes it
        if not is_good:
            await self._counterpart.drop([claims.jti])

    async def _displace(self, jtis: Sequence[str]) -> None:
        await self._counterpart.drop(jtis)

    async def _announce(self, *rows: UUID) -> None:
        await super()._announce(*rows)
        try:
            await self._counterpart.drop(await self._store.published_of(rows))
        except StoreUnavailable:
            return  # the sessions have ended here; at Whatomate their refresh tokens end by time
