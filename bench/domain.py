"""Auth domain on a benchmark's own database, migrated and empty."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from authcore.accounts.accounts import Accounts
from authcore.accounts.invitations import Invitations
from authcore.accounts.sessions import Sessions
from authcore.crypto.keyring import KeyRing
from authcore.passwords.hasher import Passwords
from authcore.sign_in_throttle import SignInThrottle
from authcore.store.attempt_rows import AttemptLimits
from authcore.store.migrate import migrate
from authcore.store.postgres import PostgresStore
from authcore.tokens.issuer import Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET: Final = "a-secret-of-the-benchmark-and-of-nobody-else"  # noqa: S105 -- signs for databases of benchmarks alone
"""The shared JWT secret of benchmarks whose gateways need the same one."""
PASSWORD: Final = "a password for the bench"  # noqa: S105 -- of a database that is gone in a minute
_LIMITS: Final = AttemptLimits(address_free_failures=100_000)
"""All callers of a benchmark are registered from one address."""


def day_tokens(secret: str) -> Tokens:
    """Return the issuer and verifier of tokens that `secret` signs; an access token lives for a day."""
    return Tokens(
        KeyRing(secret.encode()),
        issuer="whatomate",
        leeway_seconds=0,
        access_seconds=86_400,
        refresh_seconds=90_000,
    )


@asynccontextmanager
async def domain(url: str, secret: str) -> AsyncIterator[tuple[Accounts, Tokens]]:
    """Yield accounts and tokens on `url`; access tokens are signed by `secret` and live for a day."""
    await migrate(url)
    store = await PostgresStore.connect(
        url,
        pool_min=0,
        pool_max=2,
        connect_timeout_seconds=5,
        acquire_timeout_seconds=5,
        statement_timeout_seconds=5,
    )
    passwords = Passwords(min_length=8, cost=4, workers=1, queue=8)
    tokens = day_tokens(secret)
    try:
        accounts = Accounts(
            store,
            passwords,
            Sessions(store, tokens),
            SignInThrottle(store, _LIMITS),
            Invitations(store, tokens),
        )
        yield accounts, tokens
    finally:
        passwords.close()
        await store.close()
