"""A whole auth domain over a fresh PostgreSQL database, and a clock that stands still."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from authcore.permissions import CATALOGUE
from tests.support.databases import fresh_database
from tests.support.domain import World, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def shared_url(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """One migrated database for all who leave the schema alone: making one costs more than most tests."""
    yield from fresh_database(postgres_url, migrated_template)


@pytest.fixture
async def world(shared_url: str) -> AsyncIterator[World]:
    """Over a database without rows but the catalogue's."""
    connection = await asyncpg.connect(shared_url)
    await connection.execute(
        "TRUNCATE organizations, users, user_organizations, custom_roles, permissions, role_permissions, api_keys, "
        "sso_providers, gateway_sessions, gateway_refresh_tokens, gateway_sign_outs, gateway_api_key_digests, "
        "gateway_sign_in_failures, gateway_sign_in_addresses, gateway_invitations"
    )
    rows = [(one, action, text) for one, actions in CATALOGUE.items() for action, text in actions.items()]
    await connection.executemany(
        "INSERT INTO permissions (resource, action, description) VALUES ($1, $2, $3)", rows
    )
    await connection.close()
    async for world in opened(shared_url):
        yield world


@pytest.fixture
async def own_world(migrated_url: str) -> AsyncIterator[World]:
    """Over a database of the test's own, whose schema it may change."""
    async for world in opened(migrated_url):
        yield world
