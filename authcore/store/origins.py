"""Origins of accounts in PostgreSQL: who proved the e-mail of an account, if anybody did.

Laws:

- An origin is of one account and one e-mail: where the account's e-mail is changed, nothing is proved of the new one.
- An account that single sign-on of Whatomate's made or linked (``sso_provider``) has an address that a provider proved,
  but for two kinds: ``custom`` is whatever an organization's administrator wrote into a row, and of ``microsoft``
  Whatomate believes any tenant. These count where the gateway has bound the account (``gateway_sso_identities``): a
  custom one for the issuer that an operator has named.
- Who vouches for a whole organization vouches for nobody who registered by themselves; for those, one by one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from authcore.store.emails import folded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authcore.store.pool import Connection, DatabasePool


class Origin(StrEnum):
    """Origin of an account: who made it, or vouches for its e-mail."""

    OPERATOR = "operator"
    INVITATION = "invitation"
    """It was for the account's e-mail."""
    PROVIDER = "provider"
    """An identity provider that an operator has named had verified the e-mail when the gateway made the account for its
    user. What another provider says counts in its own organization alone."""
    REGISTRATION = "registration"
    """Nobody has proved the e-mail to the whole installation."""


_NOTE: Final = """
INSERT INTO gateway_account_origins (user_id, email, origin) SELECT id, email, $2 FROM users WHERE id = $1
ON CONFLICT (user_id) DO UPDATE SET email = excluded.email, origin = excluded.origin, noted_at = now()
"""


def holders_of(email: str, custom_issuer: str) -> str:
    """Return the statement of the accounts with an e-mail; the arguments are SQL.

    The provider is read by the row's JSON: a database of Whatomate's may be older than the column.
    """
    return f"""
SELECT u.id, coalesce(o.origin <> 'registration', false)
    OR coalesce(to_jsonb(u) ->> 'sso_provider', '') NOT IN ('', 'custom', 'microsoft')
    OR EXISTS (SELECT FROM gateway_sso_identities i WHERE i.user_id = u.id
        AND i.provider = to_jsonb(u) ->> 'sso_provider' AND i.account = to_jsonb(u) ->> 'sso_provider_id'
        AND (i.provider <> 'custom' OR i.issuer = {custom_issuer})) AS is_proved
FROM users u LEFT JOIN gateway_account_origins o ON o.user_id = u.id AND {folded("o.email")} = {folded("u.email")}
WHERE {folded("u.email")} = {folded(email)} AND u.deleted_at IS NULL
ORDER BY is_proved DESC, u.created_at, u.id LIMIT 5
"""  # noqa: S608 - of SQL of ours


_HOLDERS: Final = holders_of("$1::text", "$2::text")

_VOUCH: Final = f"""
WITH asked AS (
    SELECT u.id, u.email, o.origin FROM users u
    LEFT JOIN gateway_account_origins o ON o.user_id = u.id AND {folded("o.email")} = {folded("u.email")}
    WHERE u.deleted_at IS NULL AND ({folded("u.email")} = ANY (SELECT {folded("one")} FROM unnest($1::text[]) one)
        OR u.organization_id = $2::uuid)),
vouched AS (
    INSERT INTO gateway_account_origins (user_id, email, origin) SELECT id, email, 'operator' FROM asked
    WHERE $2::uuid IS NULL OR origin IS DISTINCT FROM 'registration'
    ON CONFLICT (user_id) DO UPDATE SET email = excluded.email, origin = excluded.origin, noted_at = now()
    RETURNING user_id)
SELECT (SELECT count(*) FROM vouched) AS vouched, (SELECT count(*) FROM asked) AS found
"""  # noqa: S608 - of the folding alone


class Holder(NamedTuple):
    """An account with an e-mail.

    Attributes:
        user_id: Its user.
        is_proved: Somebody proved that the e-mail is theirs.
    """

    user_id: UUID
    is_proved: bool


class ProofRule(NamedTuple):
    """Rule by which a foreign issuer's e-mail leads to an account.

    Attributes:
        custom_issuer: The custom provider of single sign-on that an operator has named; empty if none.
        takes_unproved: Accounts are found by an e-mail that nobody proved of them.
    """

    custom_issuer: str = ""
    takes_unproved: bool = False


class Vouched(NamedTuple):
    """Numbers of accounts that were vouched for, and that were found."""

    vouched: int
    found: int


async def note_origin(connection: Connection, user_id: UUID, origin: str) -> None:
    """Note where an account comes from, for the e-mail that it has, within a transaction."""
    await connection.execute(_NOTE, user_id, origin)


class OriginRows:
    """Reads and writes of the origins of accounts."""

    _pool: DatabasePool

    async def holders(self, email: str, custom_issuer: str = "") -> Sequence[Holder]:
        """Return the accounts with an e-mail in any case: those that it was proved of first; five at most.

        `custom_issuer` is the custom provider that an operator has named; empty if none.
        """
        rows = await self._pool.fetch(_HOLDERS, email, custom_issuer)
        return [Holder(row["id"], row["is_proved"]) for row in rows]

    async def vouch(self, emails: Sequence[str], organization_id: UUID | None = None) -> Vouched:
        """Note that an operator knows whose e-mails these are: `emails`, or those of the accounts of an organization.

        Of an organization those are left out that registered by themselves.
        """
        row = await self._pool.fetchrow(_VOUCH, list(emails), organization_id)
        return Vouched(0, 0) if row is None else Vouched(row["vouched"], row["found"])
