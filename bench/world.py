"""Database fixture of the benchmark: one user and one API key, and the credentials that prove them."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.candidates import Site
from bench.domain import PASSWORD, domain
from gateway.dev.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def world(work: Path, upstream: int, secret: str) -> Iterator[Site]:
    """Run a database for the duration of the benchmark; yield the site."""
    with EmbeddedPostgres(work / "postgres", durable=False) as postgres:
        token, key = asyncio.run(_people(postgres.url, secret))
        yield Site(work, upstream, secret, postgres.url, token, key)


async def _people(url: str, secret: str) -> tuple[str, str]:
    async with domain(url, secret) as (accounts, _):
        organization = await accounts.administration.create_organization("Bench")
        signed_in = await accounts.register(
            email="bench@example.com",
            password=PASSWORD,
            full_name="Bench",
            organization_id=organization,
            now=time.time(),
        )
        _, key = await accounts.administration.create_api_key(signed_in.user.id, organization, "bench")
    return signed_in.tokens.access_token, key
