"""Backlogs of the chores: a great number of rows is worked off in pieces, each within a statement's time limit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pytest

from authcore.session_states import Reuse
from authcore.store.session_rows import Moments

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from authcore.store.postgres import PostgresStore
    from tests.support.worlds import World

ROWS = 5_000
NOW = datetime.now(UTC)
_GUARD = """
CREATE FUNCTION few() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM rows) > 2000 THEN RAISE 'too many rows in one statement'; END IF;
    RETURN NULL;
END $$
"""
_GUARDED = """
CREATE TRIGGER few AFTER UPDATE ON {table} REFERENCING NEW TABLE AS rows FOR EACH STATEMENT EXECUTE FUNCTION few()
"""
_SESSIONS = """
INSERT INTO gateway_sessions (id, user_id, organization_id, created_at, expires_at)
SELECT gen_random_uuid(), u.id, u.organization_id, now(), now() + interval '1 day'
FROM generate_series(1, 5000), (SELECT id, organization_id FROM users LIMIT 1) u
"""
_ORPHANS = """
INSERT INTO gateway_sessions (id, user_id, organization_id, created_at, expires_at)
SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), now(), now() + interval '1 day'
FROM generate_series(1, 2000)
"""
_TOKENS = """
INSERT INTO gateway_refresh_tokens (digest, family, issued_at, expires_at, used_at, successor)
SELECT sha256(id::text::bytea), id, created_at, expires_at, created_at - interval '1 hour', 'x' FROM gateway_sessions
"""

CHORES: Final[dict[str, Callable[[PostgresStore], Awaitable[int]]]] = {
    "gateway_sessions": lambda store: store.note_passwords(),
    "gateway_refresh_tokens": lambda store: store.forget_successors(
        Moments(now=NOW, raced_since=NOW, token_over=NOW, session_over=NOW), Reuse.STRICT
    ),
}


@pytest.mark.parametrize("table", CHORES)
async def test_no_chore_changes_a_great_number_of_rows_in_one_statement(world: World, table: str) -> None:
    for statement in (_ORPHANS, _SESSIONS, _TOKENS, _GUARD, _GUARDED.format(table=table)):
        await world.sql(statement)
    chore = CHORES[table]
    assert await chore(world.store) >= ROWS
    assert await chore(world.store) == 0
