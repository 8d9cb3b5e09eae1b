"""migrate, as an operator and as a probe."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from tests.support.commands import SECRET, refused
from tests.support.databases import execute, fetch, finish, named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.commands import Run

ROOT = Path(__file__).parents[2]


def test_migrate_brings_the_schema_up_once_and_check_tells_before_and_after(
    run: Run, database_url: str
) -> None:
    environment = {"GATEWAY_DATABASE_URL": database_url}
    before = run("migrate", "--check", **environment)
    assert before.exit_code == 1
    assert before.stdout.startswith("pending 0001_")
    assert finish(fetch(database_url, "SELECT to_regclass('gateway_migrations')")) is None
    first = run("migrate", **environment)
    assert first.exit_code == 0
    assert first.stdout == before.stdout.replace("pending", "applied")
    for arguments in (("migrate",), ("migrate", "--check")):
        again = run(*arguments, **environment)
        assert (again.exit_code, again.stdout, again.stderr) == (0, "", "the schema is up to date\n")


def test_a_database_migrated_by_another_program_is_refused(on: Run, migrated_url: str) -> None:
    finish(execute(migrated_url, "UPDATE gateway_migrations SET checksum = 'x' WHERE name LIKE '0001%'"))
    result = on("migrate")
    assert result.exit_code == 1
    assert "was applied from another file" in result.stderr
    assert "Traceback" not in result.output


@pytest.fixture
def guarded(database_url: str) -> Iterator[tuple[str, str, str]]:
    """An owner and a serving role that both have to prove a password, and the database's URL for a superuser."""
    hba = Path(finish(fetch(database_url, "SHOW hba_file")))
    before = hba.read_text()
    owner, lesser = f"owner_{uuid4().hex[:8]}", f"lesser_{uuid4().hex[:8]}"
    finish(
        execute(
            database_url,
            f"CREATE ROLE {owner} LOGIN PASSWORD 'of the owner'",
            f"CREATE ROLE {lesser} LOGIN PASSWORD 'of the lesser'",
            f"ALTER SCHEMA public OWNER TO {owner}",
        )
    )
    hba.write_text(f"local all {owner},{lesser} scram-sha-256\n{before}")
    finish(execute(database_url, "SELECT pg_reload_conf()"))
    yield owner, lesser, database_url
    hba.write_text(before)
    finish(execute(database_url, "SELECT pg_reload_conf()"))
    for role in (owner, lesser):
        finish(execute(database_url, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}"))


def test_the_owner_migrates_and_a_lesser_role_is_all_that_the_other_commands_know(
    run: Run, guarded: tuple[str, str, str], tmp_path: Path
) -> None:
    owner, lesser, url = guarded
    for name, text in (("owner", "of the owner"), ("lesser", "of the lesser")):
        (tmp_path / name).write_text(f"{text}\n")
    both = {
        "GATEWAY_DATABASE_URL": as_role(url, lesser),
        "GATEWAY_DATABASE_PASSWORD_FILE": str(tmp_path / "lesser"),
        "GATEWAY_MIGRATE_DATABASE_URL": as_role(url, owner),
        "GATEWAY_MIGRATE_DATABASE_PASSWORD_FILE": str(tmp_path / "owner"),
    }
    migrated = run("migrate", "--grant-to", lesser, **both)
    assert migrated.exit_code == 0, migrated.output
    assert (
        finish(fetch(url, "SELECT tableowner FROM pg_tables WHERE tablename = 'gateway_sessions'")) == owner
    )
    made = run("orgs", "create", "Acme", **both)  # as the lesser role, whose password is in the file alone
    assert made.exit_code == 0, made.output
    for arguments in (("migrate", "--check"), ("migrate", "--grant-to", lesser, "--print-grants")):
        assert run(*arguments, **both).exit_code == 0
    # The password of the serving role is not the owner's.
    del both["GATEWAY_MIGRATE_DATABASE_PASSWORD_FILE"]
    assert 'password authentication failed for user "' + owner in run("migrate", **both).stderr
    alone = {name: value for name, value in both.items() if name != "GATEWAY_DATABASE_URL"}
    alone["GATEWAY_MIGRATE_DATABASE_URL"] = as_role(url, f"{owner}:of%20the%20owner")
    removed = run("migrate", "--remove-triggers", **alone)
    assert (removed.exit_code, removed.stderr) == (0, "removed the triggers\n")


@pytest.mark.parametrize(
    "line",
    [
        "--check --remove-triggers",
        "--check --grant-to postgres",
        "--remove-triggers --grant-to postgres",
        "--remove-triggers --grant-to postgres --print-grants",
    ],
)
def test_of_options_that_contradict_each_other_none_is_obeyed(run: Run, migrated_url: str, line: str) -> None:
    where = {"GATEWAY_DATABASE_URL": migrated_url}
    result = run("migrate", *line.split(), **where)
    refused(result, 2, "keep one of --check, --remove-triggers and --grant-to")
    assert run("migrate", "--check", **where).exit_code == 0, "the triggers are there"


def test_a_role_that_may_not_migrate_is_told_what_migrating_needs(
    run: Run, guarded: tuple[str, str, str]
) -> None:
    _, lesser, url = guarded
    result = run("migrate", GATEWAY_DATABASE_URL=as_role(url, f"{lesser}:of%20the%20lesser"))
    refused(result, 1, "the database refuses: permission denied for schema public")
    assert "GRANT CREATE, USAGE ON SCHEMA public TO role" in result.stderr


def test_migrate_needs_one_of_two_urls_and_says_so(run: Run) -> None:
    refused(
        run("migrate"),
        2,
        "GATEWAY_DATABASE_URL: required: the URL of Whatomate's PostgreSQL, postgresql://user:password@host:5432/name",
    )
    wrong = run("migrate", GATEWAY_MIGRATE_DATABASE_URL="mysql://db/whatomate")
    refused(wrong, 2, "GATEWAY_MIGRATE_DATABASE_URL: should begin with postgresql://")
    stray = run("migrate", GATEWAY_DATABASE_URL="postgresql://db/w", GATEWAY_MIGRATE_DATABASE_PASSWORD="x")
    assert stray.exit_code == 2
    assert "is for GATEWAY_MIGRATE_DATABASE_URL, which is not set" in stray.stderr


def test_a_search_path_that_does_not_begin_with_whatomates_schema_is_refused_with_what_to_do(
    run: Run, migrated_url: str
) -> None:
    finish(
        execute(migrated_url, "CREATE SCHEMA gw", "DELETE FROM gateway_migrations WHERE name LIKE '0028%'")
    )
    there = {"GATEWAY_DATABASE_URL": f"{migrated_url}&options=-csearch_path%3Dgw,public"}
    for arguments, code in ((("migrate",), 1), (("migrate", "--check"), 3)):
        refused(
            run(*arguments, **there),
            code,
            "by search_path the tables are in schema public, and new ones would be made in schema gw, where they hide "
            "those",
        )
    nowhere = {"GATEWAY_DATABASE_URL": f"{migrated_url}&options=-csearch_path%3Dnonexist"}
    for line in ("--check", "--remove-triggers", "--grant-to somebody --print-grants"):
        result = run("migrate", *line.split(), **nowhere)
        refused(
            result,
            3 if line == "--check" else 1,
            "the search_path, nonexist, leads to no schema that there is and that may be used",
        )


def as_role(url: str, role: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}"))


async def test_a_database_that_is_not_utf8_is_warned_of(run: Run, postgres_url: str, service: str) -> None:
    name = f"latin_{uuid4().hex[:8]}"
    made = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C'"
    await execute(postgres_url, made)
    environment = {
        "GATEWAY_DATABASE_URL": named(postgres_url, name),
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_UPSTREAM_URL": f"http://{service}",
    }
    warning = "warning: the database's encoding is LATIN1, not UTF8: "
    try:
        for arguments in (("migrate",), ("migrate", "--check"), ("check-config", "--connect")):
            result = await asyncio.to_thread(run, *arguments, **environment)
            assert result.exit_code == 0, result.stderr
            assert (warning in result.stderr) == (len(arguments) > 1)
    finally:
        await execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")
