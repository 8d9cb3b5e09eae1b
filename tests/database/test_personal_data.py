"""docs/personal-data.md against the database: its list of tables is whole, and its statements leave nobody behind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg
import pytest

if TYPE_CHECKING:
    from tests.support.worlds import World

PAGE: Final = (Path(__file__).parents[2] / "docs/personal-data.md").read_text(encoding="utf-8")
EMAIL, ISSUER = "lovelace@leaves.example", "https://id.leaves.example"

_TABLES: Final = """
SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relname LIKE 'gateway\\_%' AND relname !~ '_\\d{4}_\\d\\d$'
"""
_LEFT_BEHIND: Final = """
INSERT INTO gateway_sessions (id, user_id, organization_id, created_at, expires_at, device, address)
    VALUES (gen_random_uuid(), '{id}', '{home}', now(), now() + interval '1 day', 'Lovelace''s telephone', '192.0.2.7');
INSERT INTO gateway_refresh_tokens (digest, family, issued_at, expires_at, used_by)
    SELECT '\\x01', id, now(), now() + interval '1 day', 'Lovelace''s telephone' FROM gateway_sessions;
INSERT INTO gateway_sso_sessions (session_id, provider_id, issuer, subject, sid)
    SELECT id, gen_random_uuid(), '{issuer}', 'lovelace', '' FROM gateway_sessions;
INSERT INTO gateway_sign_outs VALUES ('{id}', now());
INSERT INTO gateway_account_origins (user_id, email, origin) VALUES ('{id}', '{email}', 'operator')
    ON CONFLICT (user_id) DO UPDATE SET email = excluded.email;
INSERT INTO gateway_sso_identities (user_id, provider, issuer, account)
    VALUES ('{id}', 'google', '{issuer}', 'lovelace');
INSERT INTO gateway_former_memberships (user_id, organization_id) VALUES ('{id}', gen_random_uuid());
INSERT INTO gateway_invitations (id, digest, organization_id, email, invited_by, used_by, created_at, expires_at)
    VALUES
           (gen_random_uuid(), '\\x01', '{home}', 'Lovelace@leaves.Example', NULL, NULL, now(),
            now() + interval '1 day'),
           (gen_random_uuid(), '\\x02', '{home}', NULL, NULL, '{id}', now(), now() + interval '1 day'),
           (gen_random_uuid(), '\\x03', '{home}', 'other@stays.example', '{id}', NULL, now(), now() + interval '1 day');
"""


def _statements(email: str, user: object) -> str:
    (found,) = re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)
    return str(found).replace(":'email'", f"'{email}'").replace(":'id'", f"'{user}'")


async def _execute(world: World, statements: str) -> None:
    connection = await asyncpg.connect(world.url)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


async def test_the_page_has_every_table_of_the_gateway_and_no_other(world: World) -> None:
    existing = {row["relname"] for row in await world.sql(_TABLES)}
    assert set(re.findall(r"`(gateway_[a-z_]+)`", PAGE)) == existing


async def test_each_table_that_names_people_is_in_the_statements_or_ends_by_itself(world: World) -> None:
    """A column of a user's id, an e-mail or an account, and no statement for it."""
    columns = await world.sql(
        "SELECT DISTINCT table_name AS name FROM information_schema.columns WHERE table_name LIKE 'gateway\\_%' "
        "AND column_name IN ('user_id', 'email', 'account', 'subject', 'device', 'address', 'used_by', 'invited_by')"
    )
    ends_by_itself = {"gateway_sign_in_failures", "gateway_sign_in_addresses"}  # digests
    organizations = {"gateway_quotas", "gateway_quota_usage"}
    with_its_session = {"gateway_refresh_tokens"}
    named = set(re.findall(r"(?:FROM|UPDATE) (gateway_[a-z_]+)", _statements("", "")))
    found = {row["name"] for row in columns if not row["name"].startswith("gateway_audit")}
    assert found - ends_by_itself - organizations - with_its_session == named


@pytest.mark.parametrize("email", [EMAIL, EMAIL.upper()])
async def test_the_statements_leave_nothing_of_a_person_but_the_audit_trail(world: World, email: str) -> None:
    await _execute(world, _LEFT_BEHIND.format(id=world.agent, home=world.home, issuer=ISSUER, email=EMAIL))
    await _execute(world, _statements(email, world.agent))
    for table in {row["relname"] for row in await world.sql(_TABLES)}:
        rows = await world.sql(f"SELECT t::text AS written FROM {table} t")  # noqa: S608 - of the catalogue
        written = " ".join(row["written"] for row in rows).lower()
        for trace in (str(world.agent), "leaves.example", "lovelace", "192.0.2.7"):
            assert trace not in written, table
    (stays,) = await world.sql("SELECT email FROM gateway_invitations")
    assert stays["email"] == "other@stays.example"


async def test_the_statements_touch_nobody_else(world: World) -> None:
    for one in (world.agent, world.admin):
        await world.sql("INSERT INTO gateway_sign_outs VALUES ($1, now())", one)
    await _execute(world, _statements(EMAIL, world.agent))
    assert [row["user_id"] for row in await world.sql("SELECT user_id FROM gateway_sign_outs")] == [
        world.admin
    ]
