"""A database with one user and one API key in it, and the credentials that prove them."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from authcore.accounts import Accounts
from authcore.keys import KeyRing
from authcore.passwords import Passwords
from authcore.sessions import Sessions
from authcore.store.migrate import migrate
from authcore.store.postgres import PostgresStore
from authcore.tokens import Tokens
from bench.candidates import Site
from gateway.dev.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def world(work: Path, upstream: int, secret: str) -> Iterator[Site]:
    """Run a database for the time of the benchmark."""
    with EmbeddedPostgres(work / "postgres", durable=False) as postgres:
        token, key = asyncio.run(_people(postgres.url, secret))
        yield Site(work, upstream, secret, postgres.url, token, key)


async def _people(url: str, secret: str) -> tuple[str, str]:
    await migrate(url)
    store = await PostgresStore.connect(
        url,
        pool_min=0,
        pool_max=2,
        connect_timeout_seconds=5,
        acquire_timeout_seconds=5,
        statement_timeout_seconds=5,
    )
    passwords = Passwords(min_length=8, cost=10, workers=1, queue=8)
    tokens = Tokens(
        KeyRing(secret.encode(), []),
        issuer="whatomate",
        leeway_seconds=0,
        access_seconds=86_400,
        refresh_seconds=86_400,
    )
    accounts = Accounts(store, passwords, Sessions(store, tokens))
    try:
        organization = await accounts.create_organization("Bench")
        signed_in = await accounts.register(
            email="bench@example.com",
            password="a password for the bench",  # noqa: S106 -- of a database that is gone in an hour
            full_name="Bench",
            organization_id=organization,
            now=time.time(),
        )
        _, key = await accounts.create_api_key(signed_in.user.id, organization, "bench")
    finally:
        passwords.close()
        await store.close()
    return signed_in.tokens.access_token, key
