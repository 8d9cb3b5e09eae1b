"""Triggers as one set with one version: what is missing, altered, older or newer, and what migrate does about it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from authcore.store import triggers
from authcore.store.changes import Changes
from authcore.store.migrate import migrate, pending
from authcore.store.triggers import State, TriggersNewer
from tests.support.databases import execute, fetch
from tests.support.domain import address_of, open_store

if TYPE_CHECKING:
    from authcore.store.postgres import PostgresStore

PATIENCE = 10
HASHES = {1: "70ff1296ba787ec4fdfd93133ff9c4e14274c180708f74a0140c96f97e3d6266"}
"""Version -> hash. Where a statement of the triggers changes, ``VERSION`` is the next number, with its line here."""
EVERY = """
SELECT t.tgrelid::regclass || '.' || t.tgname AS name, t.tgenabled FROM pg_trigger t
WHERE t.tgname ~ '^gateway_(changed|noted)_' ORDER BY 1
"""


async def state(url: str) -> State:
    connection = await asyncpg.connect(url)
    try:
        return (await triggers.look(connection)).state
    finally:
        await connection.close()


async def enabled(url: str) -> dict[str, bytes]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(EVERY)
    await connection.close()
    return {row["name"]: row["tgenabled"] for row in rows}


def test_other_triggers_have_the_next_version() -> None:
    assert max(HASHES.items()) == (triggers.VERSION, triggers.HASH)


async def test_every_trigger_fires_for_writers_in_the_role_of_a_replica_too(migrated_url: str) -> None:
    found = await enabled(migrated_url)
    assert len(found) == 4 * len(triggers.TABLES) + 3
    assert set(found.values()) == {b"A"}


@pytest.mark.parametrize("name", ["users.gateway_changed_update", "user_organizations.gateway_noted_delete"])
@pytest.mark.parametrize("change", ["DROP TRIGGER {0} ON {1}", "ALTER TABLE {1} DISABLE TRIGGER {0}"])
async def test_a_trigger_that_is_gone_or_disabled_is_pending_and_comes_back(
    migrated_url: str, name: str, change: str
) -> None:
    before = await enabled(migrated_url)
    table, _, trigger = name.partition(".")
    await execute(migrated_url, change.format(trigger, table))
    assert await state(migrated_url) is State.MISSING
    assert await pending(migrated_url) == ["triggers"]
    assert await migrate(migrated_url) == ["triggers"]
    assert await enabled(migrated_url) == before
    assert await pending(migrated_url) == []


@pytest.mark.parametrize("trigger", ["gateway_changed_update", "gateway_noted_update"])
async def test_a_trigger_that_is_not_enabled_always_is_pending(migrated_url: str, trigger: str) -> None:
    await execute(migrated_url, f"ALTER TABLE user_organizations ENABLE TRIGGER {trigger}")
    assert await state(migrated_url) is State.DIFFERENT
    assert await migrate(migrated_url) == ["triggers"]
    assert await state(migrated_url) is State.CURRENT


async def test_a_missing_note_of_former_memberships_is_a_gap(migrated_url: str) -> None:
    store = await open_store(migrated_url)
    changes = Changes(address_of(migrated_url), Deaf(), store)
    task = asyncio.ensure_future(changes.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await changes.tried.wait()
        assert str(changes.hearing) == "pushed"
        await execute(migrated_url, "DROP TRIGGER gateway_noted_delete ON user_organizations")
        async with asyncio.timeout(PATIENCE):
            while str(changes.hearing) != "untold":
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.wait([task])
        await store.close()


class Deaf:
    """A listener that does nothing."""

    def hear(self, change: object) -> None: ...

    def begin_gap(self) -> None: ...

    def end_gap(self) -> None: ...


# -- versions ----------------------------------------------------------------------------------------------------------


async def marked(url: str, comment: str, function: str | None = None) -> None:
    """Say of each trigger's function, or of one, that it is of another version."""
    names = [function] if function else [f"gateway_changed_{table}" for table in triggers.NAMES]
    for name in (*names, *([] if function else ["gateway_noted_user_organizations"])):
        await execute(url, f"COMMENT ON FUNCTION {name}() IS '{comment}'")


async def of(store: PostgresStore) -> Any:
    try:
        return await store.look_at_triggers()
    finally:
        await store.close()


async def test_an_older_programs_triggers_are_replaced_and_a_newer_ones_are_left(migrated_url: str) -> None:
    comment = "SELECT obj_description('gateway_changed_users'::regproc, 'pg_proc')"
    own = await fetch(migrated_url, comment)
    # A program of before the versions leaves its hash alone, and does not touch the comment of the noted function.
    await marked(migrated_url, "0" * 64, "gateway_changed_users")
    assert await of(await open_store(migrated_url)) is State.DIFFERENT
    assert await pending(migrated_url) == ["triggers"]
    assert await migrate(migrated_url) == ["triggers"]
    assert await fetch(migrated_url, comment) == own
    newer = f"version {triggers.VERSION + 1} {'0' * 64}"
    await marked(migrated_url, newer)
    assert await of(await open_store(migrated_url)) is State.NEWER
    assert await pending(migrated_url) == []
    assert await migrate(migrated_url) == []
    assert await fetch(migrated_url, comment) == newer


async def test_newer_triggers_of_which_some_are_missing_are_not_replaced_by_older_ones(
    migrated_url: str,
) -> None:
    await marked(migrated_url, f"version {triggers.VERSION + 1} {'0' * 64}")
    await execute(migrated_url, "DROP TRIGGER gateway_changed_insert ON users")
    before = await enabled(migrated_url)
    with pytest.raises(TriggersNewer, match=f"version {triggers.VERSION + 1} are there"):
        await migrate(migrated_url)
    assert await enabled(migrated_url) == before
