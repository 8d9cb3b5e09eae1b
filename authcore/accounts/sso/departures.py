"""Sign-outs at providers: the URL where a browser signs out, and sessions ended by a provider (Back-Channel Logout).

Laws:

- A logout token ends the sessions that its provider began for its subject or its own session, and no others, at once
  and on every gateway. It is good once. A subject that no ID token may have (not ASCII, or too long) has no sessions.
- A logout token is used up when its sessions have ended. If the database fails before that, the provider may send it
  again, and it ends what is left.
- A sign-out here waits ``PATIENCE_SECONDS`` for a provider at most. If that is silent, the answer has no URL of it.
- A sign-in that is on its way while its provider logs the user out begins no session that lasts.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from authcore.accounts.sso.providers import OpenIdProvider
from authcore.accounts.sso.urls import with_query
from authcore.crypto.jwks_client import PATIENCE_SECONDS
from authcore.errors import (
    SessionUnknown,
    SsoIdentityRejected,
    SsoNotConfigured,
    SsoProviderFailed,
    SsoStateRejected,
)
from authcore.moments import moment
from authcore.store.sso_rows import ProviderSession

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.accounts.sessions import Sessions
    from authcore.accounts.sso.configured import ConfiguredProviders
    from authcore.accounts.sso.identities import ProviderIdentity, ProviderKind
    from authcore.accounts.sso.states import SignIn
    from authcore.store.sso_rows import SsoStore

_TOKEN_SECONDS: Final = 86_400
"""How long the id of a used logout token is stored: longer than it is good (``LOGOUT_SECONDS`` in id_tokens.py)."""


class Departures:
    """Ends of sessions that providers began."""

    def __init__(self, store: SsoStore, sessions: Sessions, configured: ConfiguredProviders) -> None:
        self._store = store
        self._sessions = sessions
        self._configured = configured

    async def note(  # noqa: PLR0913 - the session, by name where it stays
        self,
        session_id: UUID,
        user_id: UUID,
        identity: ProviderIdentity,
        sign_in: SignIn,
        now: float,
        *,
        bound_to: UUID | None,
    ) -> None:
        """Note which provider began a session; it is ended if the provider logged the user out meanwhile.

        The session stays in the organization `bound_to`, if that is not None.

        Raises:
            SsoStateRejected: it did, since the sign-in began.
            StoreUnavailable: the database does not answer.
        """
        session = ProviderSession(
            session_id=session_id,
            provider_id=sign_in.provider_id,
            issuer=identity.issuer,
            subject=identity.subject,
            sid=identity.sid,
            account=identity.account,
            bound_to=bound_to,
        )
        logouts = [_digest("sub", identity.issuer, identity.subject)]
        if identity.sid:
            logouts.append(_digest("sid", identity.issuer, identity.sid))
        if not await self._store.note_sso_session(session, logouts, moment(sign_in.begun_at)):
            await self._sessions.close_one(user_id, session_id, now)
            raise SsoStateRejected("the provider has logged the user out since the sign-in began")

    async def end_session_url(self, session_id: UUID, back: str) -> str | None:
        """Return where a browser signs out of the provider that began a session; None if there is no such place.

        `back` is where the provider sends the browser then.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        noted = await self._store.sso_session(session_id)
        if noted is None:
            return None
        with suppress(SsoProviderFailed, SsoNotConfigured, TimeoutError):
            found = await self._configured.of_row(noted.provider_id)
            async with asyncio.timeout(PATIENCE_SECONDS):
                endpoints = await found.provider.endpoints()
            if endpoints.end_session:
                leaving = {"client_id": found.client.id, "post_logout_redirect_uri": back}
                return with_query(endpoints.end_session, leaving)
        return None

    async def leave(self, kind: ProviderKind, token: str, now: float) -> int:
        """End the sessions that a logout token names, and return how many.

        Raises:
            SsoNotConfigured: no such provider is enabled, or it has no issuer.
            SsoIdentityRejected: the token is not to be believed, or was used before.
            SsoProviderFailed: it cannot be judged now.
            StoreUnavailable: the database does not answer.
        """
        found = await self._configured.of(kind)
        if not isinstance(found.provider, OpenIdProvider):
            raise SsoNotConfigured("the provider has no issuer, and so no logout tokens")
        left = await found.provider.read_logout(found.client, token, now)
        used = _digest("jti", left.issuer, left.token_id)
        if await self._store.is_ticket_used(used):
            raise SsoIdentityRejected("the logout token was used before")
        which, value = ("sid", left.sid) if left.sid else ("sub", left.subject)
        await self._store.note_sso_logout(_digest(which, left.issuer, value), moment(now))
        ended = 0
        for user_id, session_id in await self._store.sso_sessions(left.issuer, left.subject, left.sid):
            with suppress(SessionUnknown):  # it has ended meanwhile
                await self._sessions.close_one(user_id, session_id, now)
                ended += 1
        if not await self._store.use_ticket(used, moment(now + _TOKEN_SECONDS)):
            raise SsoIdentityRejected("the logout token was used meanwhile")
        return ended

    async def purge(self, now: float) -> int:
        """Forget the notes on sessions that are gone, and on old logouts; return how many sessions.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return await self._store.purge_sso(moment(now - _TOKEN_SECONDS))


def _digest(kind: str, issuer: str, value: str) -> bytes:
    return sha256(f"sso logout\0{kind}\0{issuer}\0{value}".encode()).digest()
