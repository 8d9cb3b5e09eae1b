"""Worlds: a database with two organizations and their users, and the `Start` that serves gateways on it."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import asyncpg

from authcore.accounts.accounts import Accounts
from authcore.accounts.invitations import Invitations
from authcore.accounts.sessions import Sessions
from authcore.crypto.keyring import KeyRing
from authcore.passwords.hasher import Passwords
from authcore.sign_in_throttle import SignInThrottle
from authcore.store.grants import grant
from authcore.store.postgres import PostgresStore
from authcore.tokens.issuer import Tokens
from config.settings import Settings
from gateway.app import Gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from contextlib import AsyncExitStack
    from uuid import UUID

    from tests.support.peers import Upstream

SECRET = "a-secret-of-the-tests-and-of-nobody-else"


PASSWORD = "correct horse battery"


NOWHERE = "postgresql://gateway@127.0.0.1:1/none"
"""A database that is never there: what needs no identity must not need it."""


class Start(Protocol):
    """Starter of gateways in this process: each serves until the end of the test."""

    def __call__(self, database_url: str = NOWHERE, /, **groups: Any) -> Awaitable[Gateway]:
        """Start a gateway; keyword arguments are groups of settings (``timeout={"head_seconds": 1}``)."""


async def with_granted_role(url: str) -> str:
    """Return the URL of a role with the rights that `migrate --grant-to` gives, and no others."""
    role = f"serving_{urlsplit(url).path[-12:]}"
    connection = await asyncpg.connect(url)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
            await connection.execute(f"CREATE ROLE {role} LOGIN")
        await grant(connection, role)
    finally:
        await connection.close()
    return url.replace("gateway@", f"{role}@", 1)


@dataclass
class World:
    """Two organizations with their users in a database, and the domain that made them."""

    url: str
    store: PostgresStore
    accounts: Accounts
    tokens: Tokens
    sessions: Sessions
    invitations: Invitations
    home: UUID
    other: UUID
    agent: UUID
    admin: UUID
    both: UUID
    root: UUID
    api_key: str
    api_key_id: UUID

    def token(self, user: UUID, organization: UUID | None = None, **changes: Any) -> str:
        """Issue an access token as the gateway does."""
        claims: dict[str, Any] = {
            "user_id": user,
            "organization_id": organization or self.home,
            "email": "someone@example.com",
            "role_id": None,
            "is_super_admin": False,
            "now": time.time(),
        }
        return self.tokens.issue_access(**{**claims, **changes})

    async def sql(self, statement: str, *arguments: object) -> list[Any]:
        """Run a statement behind the gateway's back."""
        connection = await asyncpg.connect(self.url)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()


def starter(stack: AsyncExitStack, upstream: Upstream) -> Start:
    """A starter of gateways before `upstream`, which stop as `stack` ends."""

    async def begin(database_url: str = NOWHERE, /, **groups: Any) -> Gateway:
        values: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "admin": {"listen": "127.0.0.1:0", "hosts": ("gateway.test",)},
            "database": {"url": database_url, "connect_timeout_seconds": 10, "acquire_timeout_seconds": 10},
            "jwt": {"secret": SECRET},
            "password": {"cost": 4},
            "upstream": {"url": f"http://127.0.0.1:{upstream.port}"},
            "log": {"access": False},
        }
        for name, group in groups.items():
            values[name] = {**values.get(name, {}), **group} if isinstance(group, dict) else group
        if database_url != NOWHERE and os.environ.get("TESTS_SERVE_AS"):
            values["database"]["url"] = await with_granted_role(database_url)
        gateway = await Gateway.start(Settings.model_validate(values))
        stack.push_async_callback(gateway.stop)
        return gateway

    return begin


@asynccontextmanager
async def populated(url: str) -> AsyncIterator[World]:
    """Make organizations, users and an API key in the migrated database at `url`."""
    store = await PostgresStore.connect(
        url,
        pool_min=0,
        pool_max=4,
        connect_timeout_seconds=5,
        acquire_timeout_seconds=5,
        statement_timeout_seconds=5,
    )
    passwords = Passwords(min_length=8, cost=4, workers=2, queue=64)
    tokens = Tokens(
        KeyRing(SECRET.encode(), []),
        issuer="whatomate",
        leeway_seconds=0,
        access_seconds=3600,
        refresh_seconds=86400,
    )
    sessions = Sessions(store, tokens)
    invitations = Invitations(store, tokens)
    accounts = Accounts(store, passwords, sessions, SignInThrottle(store), invitations)
    home = await accounts.administration.create_organization("Home")
    other = await accounts.administration.create_organization("Other")

    async def user(name: str, role: str | None = None, *, root: bool = False) -> UUID:
        return await accounts.administration.create_user(
            email=f"{name}@example.com",
            password=PASSWORD,
            full_name=name.title(),
            organization_id=home,
            role=role,
            is_super_admin=root,
        )

    agent, admin, both = await user("agent"), await user("admin", "admin"), await user("both")
    root = await user("root", "admin", root=True)
    await accounts.administration.add_member(both, other, "manager")
    row, key = await accounts.administration.create_api_key(admin, home, "tests")
    domain = (store, accounts, tokens, sessions, invitations)
    yield World(url, *domain, home, other, agent, admin, both, root, key, row.id)
    passwords.close()
    await store.close()
