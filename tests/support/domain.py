"""The auth domain alone, wired over a PostgreSQL database, and a clock that stands still."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg
import bcrypt

from authcore.accounts.accounts import Accounts
from authcore.accounts.invitations import Invitations
from authcore.accounts.sessions import SESSION_SECONDS, Reuse, Sessions
from authcore.credentials import PasswordLogin
from authcore.crypto.keyring import KeyRing
from authcore.identity import api_keys as keys
from authcore.identity.api_keys import ApiKeys, LastUsed
from authcore.identity.authenticator import Authenticator
from authcore.identity.verdict_cache import Limits, VerdictCache
from authcore.passwords.hasher import Passwords
from authcore.sign_in_throttle import SignInThrottle
from authcore.store.address import Address
from authcore.store.attempt_rows import AttemptLimits
from authcore.store.postgres import PostgresStore
from authcore.store.session_rows import Visit
from authcore.tokens.issuer import Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from uuid import UUID

    from authcore.accounts.accounts import SignedIn

NOW = 1_800_000_000.0


SECRET = b"a secret of this test suite, shared by all of it"


PASSWORD = "correct horse battery"


def make_tokens(secret: bytes = SECRET, *previous: bytes, leeway: float = 0) -> Tokens:
    return Tokens(
        KeyRing(secret, previous),
        issuer="whatomate",
        leeway_seconds=leeway,
        access_seconds=3600,
        refresh_seconds=7 * 86_400,
    )


def hashed(secret: str) -> str:
    """A bcrypt hash as Go writes it, as cheap as bcrypt goes."""
    return bcrypt.hashpw(secret.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode()


def address_of(url: str, **changes: Any) -> Address:
    """Return a database's address, as a listener or a pool takes it."""
    return Address(lambda: url, **{"connect_timeout_seconds": 5, "statement_timeout_seconds": 5, **changes})


async def open_store(url: str, **changes: float) -> PostgresStore:
    options: dict[str, Any] = {
        "pool_min": 0,
        "pool_max": 10,
        "connect_timeout_seconds": 5,
        "acquire_timeout_seconds": 5,
        "statement_timeout_seconds": 5,
        **changes,
    }
    return await PostgresStore.connect(url, **options)


@dataclass
class World:
    """Domain of authcore, wired as the gateway wires it, over the database at `url`."""

    url: str
    store: PostgresStore
    tokens: Tokens = field(default_factory=make_tokens)
    session_seconds: float = SESSION_SECONDS
    reuse: Reuse = Reuse.STRICT
    """What a second use after the grace is: theft, where a test says nothing else (``test_session_states.py`` does)."""

    def __post_init__(self) -> None:
        self.passwords = Passwords(min_length=8, cost=4, workers=2, queue=1000)
        self.sessions = Sessions(
            self.store, self.tokens, session_seconds=self.session_seconds, reuse=self.reuse
        )
        self.invitations = Invitations(self.store, self.tokens)
        self.limit_attempts(AttemptLimits())
        self.last_used = LastUsed(self.store)
        self.authenticator = self.new_authenticator()

    def limit_attempts(self, limits: AttemptLimits) -> None:
        """Serve accounts under other limits of attempts, by a throttle that remembers nothing."""
        throttle = SignInThrottle(self.store, limits)
        self.accounts = Accounts(self.store, self.passwords, self.sessions, throttle, self.invitations)

    def new_authenticator(self, *, seconds: float = 30, entries: int = 1000, **limits: Any) -> Authenticator:
        """One with an empty memory, as after a restart."""
        return Authenticator(
            self.store,
            self.tokens,
            self.new_api_keys(),
            self.last_used,
            VerdictCache(Limits(cache_seconds=seconds, cache_entries=entries, **limits)),
        )

    def new_api_keys(self, secret: bytes = b"of the gateway") -> ApiKeys:
        return ApiKeys(self.store, self.passwords.pool, secret=secret)

    async def sql(self, statement: str, *arguments: object) -> list[Any]:
        """Run a statement behind the domain's back."""
        connection = await asyncpg.connect(self.url)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def organization(self, name: str = "Acme") -> UUID:
        return await self.accounts.administration.create_organization(name)

    async def user(self, organization: UUID, email: str = "user@example.com", **changes: Any) -> UUID:
        columns: dict[str, Any] = {"password": PASSWORD, "full_name": "A User", **changes}
        return await self.accounts.administration.create_user(
            email=email, organization_id=organization, **columns
        )

    async def login(
        self,
        email: str = "user@example.com",
        password: str = PASSWORD,
        now: float = NOW,
        address: str = "192.0.2.1",
    ) -> SignedIn:
        return await self.accounts.login(PasswordLogin(email, password), now, Visit("", address))

    async def key(
        self,
        user: UUID,
        organization: UUID,
        *,
        expires_at: datetime | None = None,
        prefix_length: int = 16,
        is_active: bool = True,
    ) -> tuple[bytes, UUID]:
        """An API key whose bcrypt is cheap."""
        key = keys.mint()
        rows = await self.sql(
            "INSERT INTO api_keys (organization_id, user_id, name, key_prefix, key_hash, expires_at, is_active) "
            "VALUES ($1, $2, 'key', $3, $4, $5, $6) RETURNING id",
            organization,
            user,
            key[4 : 4 + prefix_length],
            hashed(key),
            expires_at,
            is_active,
        )
        return key.encode(), rows[0]["id"]


async def opened(url: str) -> AsyncIterator[World]:
    store = await open_store(url)
    world = World(url, store)
    try:
        yield world
    finally:
        world.passwords.close()
        await store.close()
