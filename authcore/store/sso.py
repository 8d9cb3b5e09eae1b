"""Single sign-on in PostgreSQL: Whatomate's providers, the accounts bound to them, and the sessions that they began.

Laws:

- Of the rows of one kind the enabled one with the lowest id counts, over all organizations, as at Whatomate.
- An account is bound by Whatomate's columns ``sso_provider`` and ``sso_provider_id``. ``gateway_sso_identities`` notes
  for which issuer, since Whatomate does not: a ``custom`` provider may be replaced by another one.
- An account is bound in one statement, and never away from another user of a provider. One that a provider's user
  founds is bound as it is made: nobody ever sees it unbound.
- A session is noted before anybody asks whether its provider has ended it meanwhile; a logout is noted before sessions
  are looked for. So of a sign-in and a logout at the same time one sees the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.store.emails import folded
from authcore.store.sso_rows import AccountRow, ProviderRow, ProviderSession

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.store.pool import Connection, DatabasePool
    from authcore.store.rows import Binding

_PROVIDERS: Final = """
SELECT DISTINCT ON (s.provider) s.id, s.organization_id, s.provider,
       coalesce(s.client_id, '') AS client_id, coalesce(s.client_secret, '') AS client_secret,
       coalesce(s.allow_auto_create, false) AS allow_auto_create,
       coalesce(s.default_role_name, '') AS default_role_name, coalesce(s.allowed_domains, '') AS allowed_domains,
       coalesce(s.auth_url, '') AS auth_url, coalesce(s.token_url, '') AS token_url,
       coalesce(s.user_info_url, '') AS profile_url
FROM sso_providers s JOIN organizations o ON o.id = s.organization_id AND o.deleted_at IS NULL
WHERE s.is_enabled AND s.deleted_at IS NULL
ORDER BY s.provider, s.id
"""

_HAS_EMAIL: Final = f"coalesce({folded('u.email')} = {folded('$3::text')}, false)"
_ACCOUNTS: Final = f"""
SELECT u.id AS user_id, u.organization_id, coalesce(u.is_active, false) AS is_active,
       coalesce(u.is_super_admin, false) AS is_super_admin, coalesce(u.sso_provider, '') AS provider,
       coalesce(u.sso_provider_id, '') AS provider_account,
       coalesce(o.origin <> 'registration', false) AS is_proved,
       coalesce(i.issuer, '') AS noted_issuer, {_HAS_EMAIL} AS has_email
FROM users u
LEFT JOIN gateway_account_origins o ON o.user_id = u.id AND {folded("o.email")} = {folded("u.email")}
LEFT JOIN gateway_sso_identities i ON i.user_id = u.id AND i.provider = u.sso_provider AND i.account = u.sso_provider_id
WHERE u.deleted_at IS NULL AND ((u.sso_provider = $1 AND u.sso_provider_id = $2) OR {_HAS_EMAIL})
ORDER BY (u.sso_provider = $1 AND u.sso_provider_id = $2) IS TRUE DESC, is_proved DESC, u.created_at, u.id LIMIT 5
"""  # noqa: S608 - of the folding alone

_BIND: Final = """
WITH bound AS (
    UPDATE users SET sso_provider = $2, sso_provider_id = $4, updated_at = now()
    WHERE id = $1 AND deleted_at IS NULL
        AND (coalesce(sso_provider, '') = '' OR (sso_provider = $2 AND coalesce(sso_provider_id, '') IN ('', $4)))
    RETURNING id)
INSERT INTO gateway_sso_identities (user_id, provider, issuer, account) SELECT id, $2, $3, $4 FROM bound
ON CONFLICT (user_id) DO UPDATE SET provider = excluded.provider, issuer = excluded.issuer, account = excluded.account,
    noted_at = now()
RETURNING user_id
"""

_NOTE_SESSION: Final = """
INSERT INTO gateway_sso_sessions (session_id, provider_id, issuer, subject, sid, account, bound_to)
VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING session_id
"""
# No sign-in is on its way for a day: a later time was written by a clock that was wrong.
_LEFT: Final = """
SELECT EXISTS (SELECT FROM gateway_sso_logouts WHERE digest = ANY ($1::bytea[])
    AND at >= $2::timestamptz AND at < $2 + interval '1 day')
"""
_NOTE_LOGOUT: Final = """
INSERT INTO gateway_sso_logouts (digest, at) VALUES ($1, $2)
ON CONFLICT (digest) DO UPDATE SET
    at = greatest(least(gateway_sso_logouts.at, excluded.at + interval '1 minute'), excluded.at)
RETURNING digest
"""
_SESSIONS: Final = """
SELECT s.user_id, s.id FROM gateway_sso_sessions n JOIN gateway_sessions s ON s.id = n.session_id
WHERE n.issuer = $1 AND ($2 <> '' OR $3 <> '') AND ($2 = '' OR n.subject = $2) AND ($3 = '' OR n.sid = $3)
    AND s.revoked_at IS NULL
"""
# In batches, as there may be many: one statement over all could run into its time limit.
_END_OF_PROVIDER: Final = """
UPDATE gateway_sessions SET revoked_at = $2 WHERE id IN (
    SELECT s.id FROM gateway_sso_sessions n JOIN sso_providers p ON p.id = n.provider_id
    JOIN gateway_sessions s ON s.id = n.session_id
    WHERE p.provider = $1 AND s.revoked_at IS NULL AND s.expires_at > $3 LIMIT 2000) RETURNING id
"""
_SESSION: Final = """
SELECT session_id, provider_id, issuer, subject, sid, account, bound_to FROM gateway_sso_sessions WHERE session_id = $1
"""
_PURGE_SESSIONS: Final = """
WITH gone AS (DELETE FROM gateway_sso_sessions n
              WHERE n.begun_at < $1 AND NOT EXISTS (SELECT FROM gateway_sessions s WHERE s.id = n.session_id)
              RETURNING n.session_id)
SELECT count(*) FROM gone
"""
_PURGE_LOGOUTS: Final = "DELETE FROM gateway_sso_logouts WHERE at < $1 RETURNING digest"


async def bind(connection: Connection, user_id: UUID, binding: Binding) -> None:
    """Bind an account that is bound to nobody, within a transaction."""
    await connection.execute(_BIND, user_id, *_columns(binding))


class SsoRows:
    """Reads and writes of single sign-on."""

    _pool: DatabasePool

    async def sso_providers(self) -> Sequence[ProviderRow]:
        """Return the enabled row of each kind that counts: of several the one with the lowest id."""
        return [
            ProviderRow(**{**row, "allowed_domains": _domains(row["allowed_domains"])})
            for row in await self._pool.fetch(_PROVIDERS)
        ]

    async def sso_accounts(self, provider: str, account: str, email: str | None) -> Sequence[AccountRow]:
        """Return the accounts that are bound to a user of a provider, and those with an e-mail in any case.

        There are five at most: those that are bound come first, then those that the e-mail was proved of.
        """
        return [AccountRow(**row) for row in await self._pool.fetch(_ACCOUNTS, provider, account, email)]

    async def bind_account(self, user_id: UUID, binding: Binding) -> bool:
        """Bind an account; False if it is gone, or bound to another user or provider by now."""
        return bool(await self._pool.fetch(_BIND, user_id, *_columns(binding)))

    async def note_sso_session(
        self, session: ProviderSession, logouts: Sequence[bytes], since: datetime
    ) -> bool:
        """Note a session, then return whether none of `logouts` was noted at `since` or later."""
        noted = (session.session_id, session.provider_id, session.issuer, session.subject, session.sid)
        await self._pool.fetch(_NOTE_SESSION, *noted, session.account, session.bound_to)
        return not await self._pool.fetchval(_LEFT, list(logouts), since)

    async def note_sso_logout(self, digest: bytes, at: datetime) -> None:
        """Note that a provider ended a session, or all of a user, which `digest` stands for."""
        await self._pool.fetch(_NOTE_LOGOUT, digest, at)

    async def sso_sessions(self, issuer: str, subject: str, sid: str) -> Sequence[tuple[UUID, UUID]]:
        """Return user and id of the live sessions of a subject or a provider's session; both, unless one is empty."""
        return [
            (row["user_id"], row["id"]) for row in await self._pool.fetch(_SESSIONS, issuer, subject, sid)
        ]

    async def end_sso_sessions(self, provider: str, at: datetime, over: datetime) -> Sequence[UUID]:
        """End every session that a kind of provider began and that had not expired by `over`; return their ids."""
        ended: list[UUID] = []
        while batch := await self._pool.fetch(_END_OF_PROVIDER, provider, at, over):
            ended += [row["id"] for row in batch]
        return ended

    async def sso_session(self, session_id: UUID) -> ProviderSession | None:
        """Return what is noted about a session; None if no provider began it."""
        row = await self._pool.fetchrow(_SESSION, session_id)
        return None if row is None else ProviderSession(**row)

    async def purge_sso(self, before: datetime) -> int:
        """Forget the notes on sessions that are gone, and on logouts before then; return how many sessions."""
        await self._pool.fetch(_PURGE_LOGOUTS, before)
        return int(await self._pool.fetchval(_PURGE_SESSIONS, before))


def _columns(binding: Binding) -> tuple[str, str, str]:
    return binding.provider, binding.issuer, binding.account


def _domains(written: str) -> tuple[str, ...] | None:
    """Return the domains of a comma-separated list in lower case, without what is empty; None if nothing is written."""
    return tuple(part for one in written.split(",") if (part := one.strip().lower())) if written else None
