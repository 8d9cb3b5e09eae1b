"""Crowd: a database with any number of users, API keys and sessions, and the credentials of each.

PostgreSQL makes the rows itself, a million of each table in less than a minute. Every id follows from a number, so the
credentials of any user can be made without asking the database.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from hashlib import md5, sha256
from typing import TYPE_CHECKING, Final
from uuid import UUID

import asyncpg

from authcore.identity.api_keys import derive_secret
from authcore.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authcore.tokens.issuer import Tokens

KEY_HASH: Final = "$2a$10$" + "x" * 53
"""What every key of the crowd has as its bcrypt hash: nobody is to prove it."""
ROLES: Final = 3
"""Roles of an organization."""

# Triggers and foreign keys do not look at rows that are as they would have them.
_FILL: Final = (
    "SET session_replication_role = replica",
    """INSERT INTO organizations (id, name, slug)
       SELECT md5('organization' || n)::uuid, 'Organization ' || n, 'organization-' || n
       FROM generate_series(0, $2 - 1) n, (SELECT $1::bigint) unused""",
    """INSERT INTO custom_roles (id, organization_id, name, is_system)
       SELECT md5('role' || n)::uuid, md5('organization' || n % $2)::uuid,
              (ARRAY['admin', 'manager', 'agent'])[1 + n / $2], true
       FROM generate_series(0, 3 * $2 - 1) n, (SELECT $1::bigint) unused""",
    """INSERT INTO role_permissions (custom_role_id, permission_id)
       SELECT md5('role' || n)::uuid, p.id FROM generate_series(0, 3 * $2 - 1) n, (SELECT $1::bigint) unused,
           (SELECT id, row_number() OVER (ORDER BY resource, action) AS place, resource || ':' || action AS name
            FROM permissions) p
       WHERE p.place <= 9 OR p.name = 'contacts:read'""",
    """INSERT INTO users (id, organization_id, email, password_hash, full_name, role_id)
       SELECT md5('user' || n)::uuid, md5('organization' || n % $2)::uuid, 'user' || n || '@example.com',
              '$2a$10$' || repeat('x', 53), 'User ' || n, md5('role' || n % (3 * $2))::uuid
       FROM generate_series(0, $1 - 1) n""",
    """INSERT INTO user_organizations (user_id, organization_id, role_id, is_default)
       SELECT md5('user' || n)::uuid, md5('organization' || n % $2)::uuid, md5('role' || n % (3 * $2))::uuid, true
       FROM generate_series(0, $1 - 1) n""",
    """INSERT INTO user_organizations (user_id, organization_id, role_id)
       SELECT md5('user' || n)::uuid, md5('organization' || (n + 1) % $2)::uuid, md5('role' || (n + 1) % $2)::uuid
       FROM generate_series(0, $1 - 1, 10) n""",
    """INSERT INTO gateway_former_memberships (user_id, organization_id)
       SELECT md5('user' || n)::uuid, md5('organization' || (n + 2) % $2)::uuid
       FROM generate_series(0, $1 - 1, 100) n""",
    """INSERT INTO gateway_sessions (id, user_id, organization_id, created_at, last_used_at, expires_at, is_entered,
                                     password_fingerprint)
       SELECT md5('session' || n)::uuid, md5('user' || n)::uuid, md5('organization' || n % $2)::uuid,
              now() - make_interval(secs => n % 86400), now(), now() + interval '7 days', false,
              sha256(convert_to('$2a$10$' || repeat('x', 53), 'UTF8'))
       FROM generate_series(0, $1 - 1) n""",
    """INSERT INTO gateway_sign_outs (user_id, at)
       SELECT md5('user' || n)::uuid, CASE WHEN n % 10 = 0 THEN now() - interval '9 days' ELSE 'epoch' END
       FROM generate_series(0, $1 - 1) n, (SELECT $2::bigint) unused""",
    """INSERT INTO sso_providers (id, organization_id, provider, client_id, is_enabled)
       SELECT md5('provider' || n)::uuid, md5('organization' || n)::uuid, 'google', 'client', true
       FROM generate_series(0, $2 - 1) n, (SELECT $1::bigint) unused""",
    """UPDATE users u SET sso_provider = 'google', sso_provider_id = 'account ' || n
       FROM generate_series(0, $1 - 1, 2) n, (SELECT $2::bigint) unused WHERE u.id = md5('user' || n)::uuid""",
    """INSERT INTO gateway_sso_identities (user_id, provider, issuer, account)
       SELECT md5('user' || n)::uuid, 'google', 'https://id.example', 'account ' || n
       FROM generate_series(0, $1 - 1, 2) n, (SELECT $2::bigint) unused""",
    """INSERT INTO gateway_sso_sessions (session_id, provider_id, issuer, subject, sid, account)
       SELECT md5('session' || n)::uuid, md5('provider' || n % $2)::uuid, 'https://id.example', 'account ' || n, '',
              'account ' || n
       FROM generate_series(0, $1 - 1, 2) n""",
    """INSERT INTO gateway_refresh_tokens (digest, family, issued_at, expires_at)
       SELECT sha256(convert_to('refresh' || n, 'UTF8')), md5('session' || n)::uuid, now(), now() + interval '7 days'
       FROM generate_series(0, $1 - 1) n, (SELECT $2::bigint) unused""",
    """INSERT INTO api_keys (id, organization_id, user_id, name, key_prefix, key_hash, is_active)
       SELECT md5('api key' || n)::uuid, md5('organization' || n % $2)::uuid, md5('user' || n)::uuid, 'Key ' || n,
              left(md5('key' || n), 16), '$2a$10$' || repeat('x', 53), true
       FROM generate_series(0, $1 - 1) n""",
    """INSERT INTO gateway_api_key_parents (key_id, parent_id)
       SELECT md5('api key' || n)::uuid, md5('api key' || n - 1)::uuid
       FROM generate_series(9, $1 - 1, 10) n, (SELECT $2::bigint) unused""",
    """INSERT INTO gateway_sign_in_failures (subject, level, seen_at, slot_at, open_at, expires_at)
       SELECT sha256(convert_to('failure' || n, 'UTF8')), 1, now(), now(), 'epoch', now() + interval '1 hour'
       FROM generate_series(0, $1 - 1) n, (SELECT $2::bigint) unused""",
    """INSERT INTO gateway_sign_in_addresses (email, address, seen_at)
       SELECT sha256(convert_to('email user' || n || '@example.com', 'UTF8')), sha256(convert_to('at' || n, 'UTF8')),
              now()
       FROM generate_series(0, $1 - 1) n, (SELECT $2::bigint) unused""",
    """INSERT INTO gateway_used_tickets (digest, expires_at)
       SELECT sha256(convert_to('ticket' || n, 'UTF8')), now() + interval '1 minute'
       FROM generate_series(0, $1 - 1) n, (SELECT $2::bigint) unused""",
)


def _id(kind: str, number: int) -> UUID:
    return UUID(md5(f"{kind}{number}".encode(), usedforsecurity=False).hexdigest())


class Crowd:
    """Crowd of `users` in `organizations`, each with a session, an API key and its kept digest.

    Attributes:
        users: How many users there are, and as many keys and sessions.
        organizations: How many organizations.
    """

    def __init__(self, users: int, organizations: int, secret: str) -> None:
        """`secret` is the shared JWT secret, from which the digests of keys are made as well."""
        self.users, self.organizations = users, organizations
        self._secret = derive_secret(secret.encode())

    async def settle(self, url: str) -> None:
        """Migrate the database at `url` and fill its tables."""
        await migrate(url)
        connection = await asyncpg.connect(url)
        try:
            for statement in _FILL:
                arguments = (self.users, self.organizations) if "$1" in statement else ()
                await connection.execute(statement, *arguments, timeout=3600)
            await connection.copy_records_to_table(
                "gateway_api_key_digests",
                records=self._digests(),
                columns=["key_id", "digest", "key_hash_fingerprint", "created_at"],
            )
            await connection.execute("VACUUM ANALYZE", timeout=3600)
        finally:
            await connection.close()

    def _digests(self) -> Iterator[tuple[object, ...]]:
        fingerprint, now = sha256(KEY_HASH.encode()).digest(), datetime.now(UTC)
        for number in range(self.users):
            yield _id("api key", number), self.digest(number), fingerprint, now

    def user(self, number: int) -> UUID:
        """Return the id of a user."""
        return _id("user", number)

    def organization(self, number: int) -> UUID:
        """Return the id of the organization of a user."""
        return _id("organization", number % self.organizations)

    def session(self, number: int) -> UUID:
        """Return the id of the session of a user."""
        return _id("session", number)

    def key(self, number: int) -> bytes:
        """Return the API key of a user."""
        return b"whm_" + md5(f"key{number}".encode(), usedforsecurity=False).hexdigest().encode()

    def digest(self, number: int) -> bytes:
        """Return the kept digest of the API key of a user."""
        return hmac.digest(self._secret, self.key(number), "sha256")

    def token(self, tokens: Tokens, number: int, now: float) -> str:
        """Return an access token of the session of a user, issued at `now`, POSIX seconds."""
        return tokens.issue_access(
            user_id=self.user(number),
            organization_id=self.organization(number),
            email=f"user{number}@example.com",
            role_id=_id("role", number % (ROLES * self.organizations)),
            is_super_admin=False,
            now=now,
            session_id=self.session(number),
        )
