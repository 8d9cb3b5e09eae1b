"""Rows of Whatomate's tables as plain SQL may write them and its server does not; no request fails for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, bearer, get, granted, is_refusal, post
from tests.support.databases import fetch
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.worlds import Start, World


NULLABLE = """
SELECT array_agg(table_name || '.' || column_name ORDER BY 1)
FROM (SELECT table_name::text, column_name::text FROM information_schema.columns
      WHERE is_nullable = 'YES' AND table_schema = 'public' AND table_name IN (
          'users', 'organizations', 'user_organizations', 'custom_roles', 'permissions', 'api_keys')) AS columns
"""
LOOSER = ("users.full_name", "users.organization_id", "api_keys.key_prefix")
"""Columns that may be null where Whatomate's own migration made the table, and not where the gateway's did."""
KEEP = "CREATE TABLE whole AS SELECT id, C. AS value FROM T."
EMPTY = "UPDATE T. SET C. = NULL"
FILL = "UPDATE T. AS t SET C. = w.value FROM whole AS w WHERE w.id = t.id"
"""With the names of a column and its table for ``C.`` and ``T.``."""
REFUSED = {
    "users.is_active": "Account is disabled",
    "users.password_hash": "Invalid credentials",
}
"""What an absent value shuts out from signing in, as its zero value does at Whatomate."""
ENDS_KEYS = ("api_keys.is_active", "api_keys.key_prefix")
"""Without these a key is none: a key is found by its prefix."""
ZERO, LAST = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"
LOGIN = {"email": "admin@example.com", "password": PASSWORD}


async def live(gateway: Gateway, world: World, column: str, *, is_key_over: bool = False) -> None:
    """Do what a client does in a day, with an unusual value of `column` in every row."""
    login = await ask(gateway, post("/api/auth/login", LOGIN))
    if column in REFUSED:
        is_refusal(login, 401, REFUSED[column])
        return
    assert login.status == 200, (column, login.body)
    pair = login.json()["data"]
    caller = bearer(pair["access_token"])
    refreshed = post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]})
    switched = post("/api/auth/switch-org", {"organization_id": str(world.home)}, caller)
    for raw in (refreshed, switched, get("/api/auth/sessions", caller), get("/api/auth/ws-token", caller)):
        await granted(gateway, raw)
    [key] = (await granted(gateway, get("/api/api-keys", caller)))["api_keys"]
    if column == "api_keys.created_at":
        assert key["created_at"] in (ZERO, LAST)
    if column in ("users.created_at", "users.updated_at"):
        assert pair["user"][column.partition(".")[2]].startswith((ZERO[:-1], LAST[:-1]))
    assert (await ask(gateway, get("/api/contacts", caller))).status == 200
    answer = await ask(gateway, get("/api/contacts", f"X-API-Key: {world.api_key}"))
    assert answer.status == (401 if is_key_over else 200)


async def test_a_value_that_a_row_of_whatomate_lacks_is_its_zero_value_and_no_failure(
    world: World, start: Start
) -> None:
    for column in LOOSER:
        table, _, name = column.partition(".")
        await world.sql(f"ALTER TABLE {table} ALTER {name} DROP NOT NULL")
    gateway = await start(world.url, identity={"cache_seconds": 0.01})
    async with asyncio.timeout(60):
        for column in await fetch(world.url, NULLABLE):
            table, _, name = column.partition(".")
            for statement in (KEEP, EMPTY):
                await world.sql(statement.replace("T.", table).replace("C.", name))
            await live(gateway, world, column, is_key_over=column in ENDS_KEYS)
            await world.sql(FILL.replace("T.", table).replace("C.", name))
            await world.sql("DROP TABLE whole")


@pytest.mark.parametrize(
    ("value", "is_past"),
    [
        ("-infinity", True),
        ("4713-01-01 BC", True),
        ("9999-12-31 23:59:59-12", False),
        ("infinity", False),
    ],
)
async def test_a_moment_that_no_calendar_of_ours_reaches_is_the_nearest_one_that_is_in_it(
    world: World, start: Start, value: str, is_past: bool
) -> None:
    gateway = await start(world.url, identity={"cache_seconds": 0.01})
    async with asyncio.timeout(60):
        for column in (
            *(
                "users.created_at",
                "users.updated_at",
                "user_organizations.created_at",
                "custom_roles.created_at",
            ),
            *("api_keys.created_at", "api_keys.last_used_at", "api_keys.expires_at"),
        ):
            table, _, name = column.partition(".")
            await world.sql(
                "UPDATE T. SET C. = $1::text::timestamptz".replace("T.", table).replace("C.", name), value
            )
            await live(gateway, world, column, is_key_over=is_past and column == "api_keys.expires_at")


async def test_settings_that_no_answer_can_hold_shut_nobody_out(world: World, start: Start) -> None:
    gateway = await start(world.url)
    async with asyncio.timeout(60):
        for settings in (
            *('{"number": 12345678901234567890123456789}', '{"number": 1e400}', '{"number": -1e-400}'),
            *(f'{{"deep": {"[" * 300}{"]" * 300}}}', "[]", "null", "7", '{"text": "\\ud83d\\ude00"}'),
        ):
            await world.sql("UPDATE users SET settings = $1::text::jsonb", settings)
            signed_in = await granted(gateway, post("/api/auth/login", LOGIN))
            assert isinstance(signed_in["user"]["settings"], dict)
