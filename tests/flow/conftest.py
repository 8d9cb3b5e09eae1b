from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import uvloop

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
from tests.flow.peers import Client, Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from uuid import UUID

BOTH_LOOPS = frozenset(
    {"test_connection", "test_upstream_faults", "test_websocket", "test_socket_frames", "test_socket_auth"}
)
"""What holds for bytes must hold on asyncio's own loop as well; everything runs on the loop of production."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if item.path.stem in BOTH_LOOPS:
        factories["asyncio"] = asyncio.new_event_loop
    return factories


SECRET = "a-secret-of-the-tests-and-of-nobody-else"
PASSWORD = "correct horse battery"
NOWHERE = "postgresql://gateway@127.0.0.1:1/none"
"""A database that is never there: what needs no identity must not need it."""

Start = "Callable[..., Awaitable[Gateway]]"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as up:
        yield up


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


@pytest.fixture
async def start(upstream: Upstream) -> AsyncIterator[Callable[..., Awaitable[Gateway]]]:
    """Start gateways; keyword arguments are groups of settings (``timeout={"head_seconds": 1}``)."""
    async with AsyncExitStack() as stack:

        async def begin(database_url: str = NOWHERE, **groups: Any) -> Gateway:
            values: dict[str, Any] = {
                "listen": "127.0.0.1:0",
                "admin": {"listen": "127.0.0.1:0", "hosts": ("gateway.test",)},
                "database": {"url": database_url, "connect_timeout_seconds": 2, "acquire_timeout_seconds": 2},
                "jwt": {"secret": SECRET},
                "password": {"cost": 4},
                "upstream": {"url": f"http://127.0.0.1:{upstream.port}"},
                "log": {"access": False},
            }
            for name, group in groups.items():
                values[name] = {**values.get(name, {}), **group} if isinstance(group, dict) else group
            if database_url != NOWHERE and os.environ.get("GATEWAY_TESTS_SERVE_AS"):
                values["database"]["url"] = await with_granted_role(database_url)
            gateway = await Gateway.start(Settings.model_validate(values))
            stack.push_async_callback(gateway.stop)
            return gateway

        yield begin


@pytest.fixture
async def gateway(start: Callable[..., Awaitable[Gateway]]) -> Gateway:
    """A gateway with the default settings, and no database."""
    return await start(timeout={"drain_seconds": 0.1})


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[Client]:
    async with Client(gateway.address) as one:
        yield one


@dataclass
class World:
    """What is in the database: two organizations and people in them."""

    url: str
    store: PostgresStore
    accounts: Accounts
    tokens: Tokens
    sessions: Sessions
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


@pytest.fixture
async def world(migrated_url: str) -> AsyncIterator[World]:
    store = await PostgresStore.connect(
        migrated_url,
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
    accounts = Accounts(store, passwords, sessions, SignInThrottle(store), Invitations(store, tokens))
    home = await accounts.create_organization("Home")
    other = await accounts.create_organization("Other")

    async def user(name: str, role: str | None = None, *, root: bool = False) -> UUID:
        return await accounts.create_user(
            email=f"{name}@example.com",
            password=PASSWORD,
            full_name=name.title(),
            organization_id=home,
            role=role,
            is_super_admin=root,
        )

    agent, admin, both = await user("agent"), await user("admin", "admin"), await user("both")
    root = await user("root", "admin", root=True)
    await accounts.add_member(both, other, "manager")
    row, key = await accounts.create_api_key(admin, home, "tests")
    yield World(
        migrated_url, store, accounts, tokens, sessions, home, other, agent, admin, both, root, key, row.id
    )
    passwords.close()
    await store.close()
