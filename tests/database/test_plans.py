"""Plans of the statements behind verdicts, as PostgreSQL carried them out on tables with many rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from authcore.store.session_statements import MOST_TOKENS
from bench.crowd import Crowd
from bench.domain import SECRET
from bench.plans import TOGETHER, look
from gateway.dev.postgres import EmbeddedPostgres
from tests.support.databases import execute, fetch, finish, server_folder
from tests.support.domain import open_store
from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.plans import Seen

USERS, ORGANIZATIONS = 20_000, 2_000
SHORT = {"permissions"}
"""Tables that do not grow: a look through all of their rows is the cheapest way."""
ROWS = 20
"""Rows of one table that a verdict may read: a role has ten permissions here."""

FEW = 20
SCANS = """
SELECT sum(seq_scan)::int FROM pg_stat_user_tables WHERE relname IN ('users', 'user_organizations', 'api_keys')
"""


class Crowded:
    def __init__(self, postgres: EmbeddedPostgres, log: Path) -> None:
        self.url, self._log = postgres.url, log
        self._crowd = Crowd(USERS, ORGANIZATIONS, SECRET)
        finish(self._crowd.settle(self.url))

    def look(self) -> Seen:
        return finish(look(self.url, self._log, self._crowd))


@pytest.fixture(scope="module")
def crowded() -> Iterator[Crowded]:
    with server_folder("crowd-") as folder, EmbeddedPostgres(folder, durable=False) as postgres:
        yield Crowded(postgres, folder / "postgres.log")


@pytest.fixture(scope="module")
def seen(crowded: Crowded) -> Seen:
    return crowded.look()


def scans(seen: Seen) -> set[str]:
    """Tables that grow and were read from end to end."""
    ways = {how for looks in seen.values() for looked in looks.values() for how in looked.scans}
    return {table for way, _, table in (how.partition(" on ") for how in ways) if way == "Seq Scan"} - SHORT


def test_no_statement_behind_a_verdict_reads_a_table_from_end_to_end(seen: Seen) -> None:
    assert scans(seen) == set()


def test_a_verdict_reads_a_few_rows_of_each_table_however_many_there_are(seen: Seen) -> None:
    read = {
        (kind, how): rows
        for kind, looks in seen.items()
        for looked in looks.values()
        for how, rows in looked.scans.items()
        if how.partition(" on ")[2] not in SHORT
    }
    together = ROWS * TOGETHER
    assert {one: rows for one, rows in read.items() if rows > together} == {}
    alone = {one: rows for one, rows in read.items() if one[0] in {"token", "API key", "sign-in", "ticket"}}
    assert {one: rows for one, rows in alone.items() if rows > ROWS} == {}


@pytest.mark.parametrize(
    "kind",
    [
        "token",
        "token, for another organization",
        f"{TOGETHER} tokens at once",
        "API key",
        f"{TOGETHER} API keys at once",
        "unknown API key",
    ],
)
def test_a_verdict_is_one_statement(seen: Seen, kind: str) -> None:
    assert len(seen[kind]) == 1


@pytest.mark.parametrize("kind", ["refresh", "switch of organization"])
def test_adding_a_token_reads_no_rows_of_other_families(seen: Seen, kind: str) -> None:
    read = {
        how: rows
        for looked in seen[kind].values()
        for how, rows in looked.scans.items()
        if how.endswith("on gateway_refresh_tokens")
    }
    assert read
    assert {how: rows for how, rows in read.items() if rows > MOST_TOKENS + 1} == {}


async def test_a_list_of_organizations_reads_each_table_a_few_times_however_many_there_are(
    crowded: Crowded,
) -> None:
    before = await fetch(crowded.url, SCANS)
    store = await open_store(crowded.url, statement_timeout_seconds=120)
    listed = await store.organizations()
    await store.close()  # what a connection has counted is published by its end

    async def is_counted() -> bool:
        return bool(await fetch(crowded.url, SCANS) > before)

    await eventually(is_counted)
    assert await fetch(crowded.url, SCANS) - before < FEW
    assert len(listed) == ORGANIZATIONS
    assert sum(one.members for one in listed) >= USERS


def test_a_missing_index_is_seen(crowded: Crowded) -> None:
    finish(execute(crowded.url, "DROP INDEX gateway_api_keys_prefix"))
    assert scans(crowded.look()) == {"api_keys"}
