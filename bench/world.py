"""Database fixture of the benchmark: users and an API key, and the credentials that prove them."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.candidates import Site
from bench.domain import PASSWORD, domain
from bench.field_sets import CALLERS
from gateway.dev.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def world(work: Path, upstream: int, secret: str) -> Iterator[Site]:
    """Run a database for the duration of the benchmark; yield the site."""
    with EmbeddedPostgres(work / "postgres", durable=False) as postgres:
        tokens, key = asyncio.run(_people(postgres.url, secret))
        yield Site(work, upstream, secret, postgres.url, tokens[0], key, tokens)


async def _people(url: str, secret: str) -> tuple[tuple[str, ...], str]:
    async with domain(url, secret) as (accounts, _):
        organization = await accounts.administration.create_organization("Bench")
        signed_in = [
            await accounts.register(
                email=f"bench-{number}@example.com",
                password=PASSWORD,
                full_name=f"Bench {number}",
                organization_id=organization,
                now=time.time(),
            )
            for number in range(CALLERS)
        ]
        _, key = await accounts.administration.create_api_key(signed_in[0].user.id, organization, "bench")
    return tuple(one.tokens.access_token for one in signed_in), key
