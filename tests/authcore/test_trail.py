"""The chain of the audit trail: PostgreSQL computes the hashes that are computed here, and what is done to it shows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authcore.store.migrate import migrate
from authcore.store.trail import TrailFilter
from authcore.trail import (
    BEGINNING,
    AuditRecord,
    ChainCheck,
    ChainedRow,
    ChainPosition,
    Head,
    canonical,
    link,
)
from tests.support.databases import execute
from tests.support.domain import open_store
from tests.support.processes import eventually
from tests.support.trails import verified
from tests.support.worlds import with_granted_role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from authcore.store.postgres import PostgresStore

AT = datetime(2026, 11, 28, 3, 0, 0, 123456, tzinfo=UTC)
WRITER = UUID(int=7)

texts = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
ids = st.none() | st.uuids()
moments = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 -- bounds
some_records = st.builds(
    AuditRecord,
    at=moments,
    event=st.text("abc_", min_size=1, max_size=8),
    outcome=st.sampled_from(["success", "refused", "failed"]),
    reason=texts,
    user_id=ids,
    email=texts,
    organization_id=ids,
    api_key_id=ids,
    session_id=ids,
    operator=texts,
    target=texts,
    address=texts,
    user_agent=texts,
    request_id=texts,
    details=st.sampled_from(["{}", '{"a": 1}', '{"ü": "€"}']),
)


def chained(records: list[AuditRecord]) -> list[ChainedRow]:
    rows, before = [], BEGINNING
    for number, record in enumerate(records, 1):
        row = ChainedRow(number, AT + timedelta(seconds=number), WRITER, b"", record)
        before = link(before, row)
        rows.append(row._replace(hash=before))
    return rows


def check(rows: list[ChainedRow], head: Head) -> str:
    one = ChainCheck(head.dropped)
    for row in rows:
        one.take(row)
    one.end(head)
    return one.broken


def head_of(rows: list[ChainedRow]) -> Head:
    last = ChainPosition(rows[-1].seq, rows[-1].hash) if rows else ChainPosition(0, BEGINNING)
    return Head(last, ChainPosition(0, BEGINNING))


@given(st.lists(some_records, min_size=2, max_size=6), st.data())
def test_a_row_that_is_missing_moved_changed_or_added_breaks_the_chain(
    records: list[AuditRecord], draw: st.DataObject
) -> None:
    rows = chained(records)
    head = head_of(rows)
    assert check(rows, head) == ""
    at = draw.draw(st.integers(0, len(rows) - 1))
    assert f"row {at + 1} is missing" in check(rows[:at] + rows[at + 1 :], head)
    assert check([*rows[: at + 1], *rows[at:]], head)
    other = draw.draw(some_records.filter(lambda one: one != rows[at].record))
    changed = rows[at]._replace(record=other)
    broken = check([*rows[:at], changed, *rows[at + 1 :]], head)
    assert broken.startswith(f"row {at + 1}"), broken
    assert broken.endswith("is not what was written")
    # Whoever computes the hash of a changed row anew is found out by the next one, or by the head.
    before = rows[at - 1].hash if at else BEGINNING
    forged = changed._replace(hash=link(before, changed))
    assert check([*rows[:at], forged, *rows[at + 1 :]], head)
    if at:
        swapped = rows[at - 1]._replace(record=rows[at].record), rows[at]._replace(record=rows[at - 1].record)
        moved = check([*rows[: at - 1], *swapped, *rows[at + 1 :]], head)
        assert bool(moved) == (rows[at].record != rows[at - 1].record)


@given(some_records, some_records)
def test_two_records_have_the_same_bytes_only_if_they_are_equal(one: AuditRecord, two: AuditRecord) -> None:
    rows = [ChainedRow(1, AT, WRITER, b"", record) for record in (one, two)]
    assert (canonical(rows[0]) == canonical(rows[1])) == (one == two)


@pytest.fixture
async def store(migrated_url: str) -> AsyncIterator[PostgresStore]:
    """A store with the rights that are granted to a role that serves."""
    one = await open_store(await with_granted_role(migrated_url))
    yield one
    await one.close()


def plain(number: int, **more: Any) -> AuditRecord:
    return AuditRecord(at=AT + timedelta(seconds=number), event=f"event_{number}", outcome="success", **more)


async def filled(store: PostgresStore, rows: int) -> None:
    await store.append_trail(uuid4(), 1, [plain(number) for number in range(1, rows + 1)])


ODD = (
    AuditRecord(
        at=AT,
        event="odd",
        outcome="refused",
        reason="ü€𐍈 \\u0041 \"quoted\", 'and' 3:not, -",
        user_id=uuid4(),
        email="",
        target="a" * 256,
        user_agent="\u202e\ufeff\\",
        details='{"name": "\\u0000 €", "n": 1.5}',
    ),
    AuditRecord(
        at=datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), event="old", outcome="failed", address="::1"
    ),
)


async def test_postgresql_computes_the_same_hashes(store: PostgresStore) -> None:
    place = await store.append_trail(WRITER, 1, ODD)
    rows = list(reversed(await store.list_trail(TrailFilter(), 10)))
    assert [row.record for row in rows] == list(ODD)
    assert [row.seq for row in rows] == [1, 2]
    before = BEGINNING
    for row in rows:
        before = link(before, row)
        assert row.hash == before
    assert place == ChainPosition(2, before)
    assert await verified(store) == (2, "")


async def test_a_batch_whose_answer_was_lost_is_written_once(store: PostgresStore) -> None:
    for _ in range(2):
        assert (await store.append_trail(WRITER, 1, [plain(1)])).seq == 1
    assert (await store.append_trail(WRITER, 2, [plain(2)])).seq == 2
    assert (await store.append_trail(WRITER, 1, [plain(1)])).seq == 2
    assert await verified(store) == (2, "")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE gateway_audit SET outcome = 'success'",
        "DELETE FROM gateway_audit",
        "TRUNCATE gateway_audit",
        "DELETE FROM gateway_audit_{month}",
        "TRUNCATE gateway_audit_{month}",
        "INSERT INTO gateway_audit SELECT * FROM gateway_audit",
        "UPDATE gateway_audit_head SET seq = 0",
        "DROP TABLE gateway_audit_rest",
        "SELECT gateway_audit_tidy(1, now())",
        "SELECT gateway_audit_partition(now()::timestamp)",
        "ALTER TABLE gateway_audit DISABLE TRIGGER ALL",
    ],
)
async def test_the_role_that_serves_changes_and_deletes_nothing(
    migrated_url: str, store: PostgresStore, statement: str
) -> None:
    await filled(store, 3)
    connection = await asyncpg.connect(await with_granted_role(migrated_url))
    month = datetime.now(UTC).strftime("%Y_%m")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement.format(month=month))
    await connection.close()
    assert await verified(store) == (3, "")


@pytest.mark.parametrize("command", ["UPDATE gateway_audit SET reason = 'x'", "DELETE FROM gateway_audit"])
@pytest.mark.parametrize("mode", ["origin", "replica"])
async def test_the_owner_must_take_the_triggers_away_first(
    migrated_url: str, store: PostgresStore, command: str, mode: str
) -> None:
    await filled(store, 1)
    connection = await asyncpg.connect(migrated_url)
    await connection.execute(f"SET session_replication_role = {mode}")
    for statement in (command, "TRUNCATE gateway_audit"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="neither changed nor deleted"):
            await connection.execute(statement)
    await connection.close()


DONE_TO_IT = {
    "changed": (
        "UPDATE gateway_audit SET email = 'x' WHERE seq = 3",
        "row 3, or the hash of row 2, is not what was written",
    ),
    "deleted": ("DELETE FROM gateway_audit WHERE seq IN (3, 4)", "rows 3 to 4 are missing before row 5"),
    "first": ("DELETE FROM gateway_audit WHERE seq = 1", "row 1 is missing before row 2"),
    "tail": ("DELETE FROM gateway_audit WHERE seq > 4", "row 5 is missing at the end"),
    "all": ("DELETE FROM gateway_audit", "rows 1 to 5 are missing at the end"),
    "reordered": (
        (
            "UPDATE gateway_audit a SET event = b.event, at = b.at, hash = b.hash FROM gateway_audit b "
            "WHERE (a.seq = 2 AND b.seq = 4) OR (a.seq = 4 AND b.seq = 2)"
        ),
        "row 2, or the hash of row 1, is not what was written",
    ),
    "renumbered": (
        "UPDATE gateway_audit SET seq = seq - 1, written_at = written_at + interval '1 second' WHERE seq > 3",
        "row 3 is there twice, or was dropped already",
    ),
    "added": (
        (
            "INSERT INTO gateway_audit SELECT 6, written_at, at, event, outcome, reason, user_id, email, "
            "organization_id, api_key_id, session_id, operator, target, address, user_agent, request_id, details, "
            "writer, hash "
            "FROM gateway_audit WHERE seq = 5"
        ),
        "row 6, or the hash of row 5, is not what was written",
    ),
    "moved in time": (
        "UPDATE gateway_audit SET written_at = written_at - interval '1 second' WHERE seq = 2",
        "row 2, or the hash of row 1, is not what was written",
    ),
    "a year that Python has not": (
        "UPDATE gateway_audit SET at = '12044-01-01Z' WHERE seq = 2",
        "row 2, or the hash of row 1, is not what was written",
    ),
    "before all years": (
        "UPDATE gateway_audit SET at = '0044-03-15Z BC' WHERE seq = 2",
        "row 2, or the hash of row 1, is not what was written",
    ),
    "for ever": (
        "UPDATE gateway_audit SET at = 'infinity' WHERE seq = 2",
        "row 2, or the hash of row 1, is not what was written",
    ),
    "written never": (
        (
            "INSERT INTO gateway_audit SELECT 6, 'infinity', at, event, outcome, reason, user_id, email, "
            "organization_id, api_key_id, session_id, operator, target, address, user_agent, request_id, details, "
            "writer, hash FROM gateway_audit WHERE seq = 5"
        ),
        "row 6, or the hash of row 5, is not what was written",
    ),
    "no head": ("DELETE FROM gateway_audit_head", "rows 1 to 5 are beyond the end that the head names"),
}


@pytest.mark.parametrize("name", DONE_TO_IT)
async def test_what_the_owner_does_to_it_is_named(migrated_url: str, store: PostgresStore, name: str) -> None:
    statement, broken = DONE_TO_IT[name]
    await filled(store, 5)
    connection = await asyncpg.connect(migrated_url)
    await connection.execute("ALTER TABLE gateway_audit DISABLE TRIGGER ALL")
    await connection.execute(statement)
    await connection.close()
    assert (await verified(store))[1] == broken


@pytest.mark.parametrize("at", ["infinity", "-infinity", "12044-01-01Z", "0044-03-15Z BC"])
async def test_a_moment_that_no_gateway_writes_hides_no_row(
    migrated_url: str, store: PostgresStore, at: str
) -> None:
    await filled(store, 2)
    connection = await asyncpg.connect(await with_granted_role(migrated_url))
    row = f'[{{"at": "{at}", "event": "odd", "outcome": "success", "details": "{{}}"}}]'
    await connection.execute("SELECT gateway_audit_append($1, 1, $2::jsonb)", uuid4(), row)
    await connection.close()
    await store.append_trail(uuid4(), 1, [plain(3)])
    assert [one.seq for one in await store.list_trail(TrailFilter(), 10)] == [4, 3, 2, 1]
    assert await verified(store) == (2, "row 3, or the hash of row 2, is not what was written")


async def test_a_chain_that_is_written_anew_differs_from_a_hash_noted_elsewhere(
    migrated_url: str, store: PostgresStore
) -> None:
    place = await store.append_trail(WRITER, 1, [plain(1), plain(2)])
    await store.append_trail(WRITER, 2, [plain(3)])
    assert await verified(store, place) == (3, "")
    connection = await asyncpg.connect(migrated_url)
    await connection.execute("ALTER TABLE gateway_audit DISABLE TRIGGER ALL")
    await connection.execute("DELETE FROM gateway_audit")
    await connection.execute("DELETE FROM gateway_audit_writers")
    await connection.execute(
        "UPDATE gateway_audit_head SET seq = 0, hash = dropped_hash, written_at = '-infinity'"
    )
    await connection.close()
    assert "missing at the end" in (await verified(store, place))[1]
    await filled(store, 3)
    assert await verified(store) == (3, "")
    assert "the chain was written anew" in (await verified(store, place))[1]


async def test_two_writers_at_once_make_one_chain(migrated_url: str, store: PostgresStore) -> None:
    other = await open_store(migrated_url)
    writers = (store, uuid4()), (other, uuid4())

    async def write(through: PostgresStore, writer: UUID) -> None:
        for number in range(1, 21):
            await through.append_trail(writer, number, [plain(number), plain(number + 100)])

    async with asyncio.timeout(30):
        await asyncio.gather(*(write(*one) for one in writers))
    await other.close()
    assert await verified(store) == (80, "")
    for _, writer in writers:  # each writer's own order holds
        rows = [row for row in reversed(await store.list_trail(TrailFilter(), 100)) if row.writer == writer]
        assert [row.record.event for row in rows[::2]] == [f"event_{number}" for number in range(1, 21)]


async def tidied(url: str, keep_days: int, moment: datetime) -> int:
    """Tidy up as the owner may, at another moment than now."""
    connection = await asyncpg.connect(url)
    months: int = await connection.fetchval("SELECT gateway_audit_tidy($1, $2)", keep_days, moment)
    await connection.close()
    return months


async def written_in_the_past(url: str, moments: list[datetime]) -> None:
    """Append a row at each moment, as the owner may."""
    connection = await asyncpg.connect(url)
    for moment in moments:
        row = f'[{{"at": "{moment.isoformat()}", "event": "past", "outcome": "success", "details": "{{}}"}}]'
        await connection.execute(
            "SELECT gateway_audit_write(gen_random_uuid(), 1, $1::jsonb, $2)", row, moment
        )
    await connection.close()


async def parts(url: str) -> dict[str, int]:
    """The partitions, and how many rows each has."""
    connection = await asyncpg.connect(url)
    names = await connection.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'gateway_audit'::regclass"
    )
    found = {
        row["name"].removeprefix("gateway_audit_"): await connection.fetchval(
            f"SELECT count(*) FROM {row['name']}"  # noqa: S608 -- a name of the catalogue's
        )
        for row in names
    }
    await connection.close()
    return found


PAST = [datetime(2020, month, 15, tzinfo=UTC) for month in (1, 1, 2, 4, 4)]


async def test_rows_without_a_partition_are_not_lost_and_move_into_one(
    migrated_url: str, store: PostgresStore
) -> None:
    await written_in_the_past(migrated_url, PAST)
    assert (await parts(migrated_url))["rest"] == 5
    await filled(store, 1)
    await store.tidy_trail(0)
    found = await parts(migrated_url)
    assert (found["rest"], found["2020_01"], found["2020_02"], found["2020_04"]) == (0, 2, 1, 2)
    assert await verified(store) == (6, "")
    connection = await asyncpg.connect(migrated_url)
    for statement in (
        "DELETE FROM gateway_audit_2020_01",
        "TRUNCATE gateway_audit_2020_01",
        "TRUNCATE gateway_audit_rest",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


async def test_partitions_are_there_for_the_months_to_come(migrated_url: str, store: PostgresStore) -> None:
    await tidied(migrated_url, 0, datetime(2031, 11, 30, 23, 59, tzinfo=UTC))
    assert {"2031_11", "2031_12", "2032_01"} <= set(await parts(migrated_url))
    await store.tidy_trail(0)  # there is nothing to do any more, and that is no error


async def test_retention_drops_whole_months_and_the_chain_begins_after_them(
    migrated_url: str, store: PostgresStore
) -> None:
    await written_in_the_past(migrated_url, PAST)
    march = datetime(2020, 3, 31, tzinfo=UTC)
    assert await tidied(migrated_url, 60, march - timedelta(seconds=1)) == 0
    assert await verified(store) == (5, "")
    assert await tidied(migrated_url, 60, march + timedelta(days=1)) == 1
    assert "2020_01" not in await parts(migrated_url)
    assert await verified(store) == (3, "")
    rows = await store.list_trail(TrailFilter(), 10)
    assert [row.seq for row in rows] == [5, 4, 3]
    assert await store.tidy_trail(400) >= 1, "of today all of it is old"
    assert await verified(store) == (0, "")
    await filled(store, 2)
    assert await verified(store) == (2, "")
    connection = await asyncpg.connect(migrated_url)
    await connection.execute("UPDATE gateway_audit_head SET dropped_seq = 0")
    assert (await verified(store))[1] == "rows 1 to 5 are missing before row 6"
    await connection.close()


async def test_a_month_that_is_dropped_during_a_check_is_not_missed(
    migrated_url: str, store: PostgresStore
) -> None:
    await written_in_the_past(migrated_url, PAST)
    await tidied(migrated_url, 0, PAST[-1])
    connection = await asyncpg.connect(migrated_url)

    async def waits() -> bool:
        return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))

    async with connection.transaction():
        assert await connection.fetchval("SELECT gateway_audit_tidy(60, $1)", PAST[-1]) == 1
        check = asyncio.ensure_future(verified(store))
        await eventually(waits)
    await connection.close()
    assert await check == (3, "")


async def test_the_role_that_serves_cannot_drop_what_is_young(
    migrated_url: str, store: PostgresStore
) -> None:
    old = datetime.now(UTC).replace(day=1) - timedelta(days=2)
    await written_in_the_past(migrated_url, [old])
    for days in (1, -1, 0):
        assert await store.tidy_trail(days) == 0
    assert await verified(store) == (1, "")


async def test_a_table_of_the_callers_stands_in_for_nothing(migrated_url: str, store: PostgresStore) -> None:
    connection = await asyncpg.connect(await with_granted_role(migrated_url))
    await connection.execute(
        "CREATE TEMP TABLE gateway_audit_head (LIKE public.gateway_audit_head INCLUDING ALL)"
    )
    await connection.execute("INSERT INTO pg_temp.gateway_audit_head (seq) VALUES (1000)")
    row = '[{"at": "2026-11-28T00:00:00Z", "event": "x", "outcome": "success", "details": "{}"}]'
    found = await connection.fetchrow(
        "SELECT * FROM gateway_audit_append(gen_random_uuid(), 1, $1::jsonb)", row
    )
    assert found is not None
    assert found["last_seq"] == 1
    await connection.close()
    assert await verified(store) == (1, "")


async def test_the_functions_find_their_tables_in_the_schema_that_was_migrated(database_url: str) -> None:
    await execute(database_url, "CREATE SCHEMA wm")
    url = f"{database_url}{'&' if '?' in database_url else '?'}search_path=wm"
    await migrate(url)
    store = await open_store(url)
    await filled(store, 2)
    await store.tidy_trail(0)
    assert await verified(store) == (2, "")
    await store.close()
