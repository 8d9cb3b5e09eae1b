"""migrate --grant-to: a role with the rights that serving needs, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from tests.support.databases import execute, fetch, finish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.commands import Run


@pytest.fixture
def role(database_url: str) -> Iterator[str]:
    name = f"serving_{uuid4().hex[:8]}"
    finish(execute(database_url, f"CREATE ROLE {name} LOGIN"))
    yield name
    finish(execute(database_url, f"DROP OWNED BY {name}", f"DROP ROLE {name}"))


def has(url: str, role: str, table: str, right: str) -> bool:
    return bool(finish(fetch(url, f"SELECT has_table_privilege('{role}', '{table}', '{right}')")))


def test_the_role_gets_what_serving_needs_and_no_more(run: Run, database_url: str, role: str) -> None:
    result = run("migrate", "--grant-to", role, GATEWAY_DATABASE_URL=database_url)
    assert result.exit_code == 0, result.stderr
    assert has(database_url, role, "gateway_sessions", "DELETE")
    assert has(database_url, role, "users", "SELECT")
    assert not has(database_url, role, "users", "DELETE")
    assert not has(database_url, role, "users", "UPDATE"), "of columns alone"
    assert not has(database_url, role, "gateway_migrations", "INSERT")
    assert not finish(fetch(database_url, f"SELECT has_schema_privilege('{role}', 'public', 'CREATE')"))
    parts = urlsplit(database_url)
    own = urlunsplit(parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}"))
    checked = run("migrate", "--check", GATEWAY_DATABASE_URL=own)
    assert (checked.exit_code, checked.stderr.strip()) == (0, "the schema is up to date")


def test_the_statements_can_be_printed_and_are_what_is_run(run: Run, database_url: str, role: str) -> None:
    assert run("migrate", GATEWAY_DATABASE_URL=database_url).exit_code == 0
    printed = run("migrate", "--grant-to", role, "--print-grants", GATEWAY_DATABASE_URL=database_url)
    assert printed.exit_code == 0
    assert not has(database_url, role, "users", "SELECT"), "nothing is given yet"
    finish(execute(database_url, printed.stdout))
    assert has(database_url, role, "users", "SELECT")


def test_the_role_may_connect_where_not_everybody_may(run: Run, database_url: str, role: str) -> None:
    name = urlsplit(database_url).path[1:]
    finish(execute(database_url, f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"))
    own = database_url.replace("gateway@", f"{role}@", 1)
    refused = run("migrate", "--check", GATEWAY_DATABASE_URL=own)
    assert (refused.exit_code, "permission denied for database" in refused.stderr) == (3, True)
    assert run("migrate", "--grant-to", role, GATEWAY_DATABASE_URL=database_url).exit_code == 0
    assert run("migrate", "--check", GATEWAY_DATABASE_URL=own).exit_code == 0


def test_an_owner_of_the_tables_and_not_of_the_database_may_give_the_rights(
    run: Run, database_url: str, role: str
) -> None:
    finish(execute(database_url, f"GRANT CREATE, USAGE ON SCHEMA public TO {role}"))
    owner = database_url.replace("gateway@", f"{role}@", 1)
    given = run("migrate", "--grant-to", "pg_monitor", GATEWAY_DATABASE_URL=owner)
    assert given.exit_code == 0, given.stderr
    assert has(database_url, "pg_monitor", "users", "SELECT")


def test_a_role_that_is_not_there_is_named_without_a_traceback(run: Run, database_url: str) -> None:
    result = run("migrate", "--grant-to", "nobody_here", GATEWAY_DATABASE_URL=database_url)
    assert result.exit_code == 1
    assert "nobody_here" in result.stderr
    assert "Traceback" not in result.stderr


def test_printing_needs_a_role(run: Run, database_url: str) -> None:
    result = run("migrate", "--print-grants", GATEWAY_DATABASE_URL=database_url)
    assert result.exit_code == 2
    assert "--grant-to" in result.stderr


@pytest.mark.parametrize("name", ["public", "none", ""])
@pytest.mark.parametrize("printed", [(), ("--print-grants",)])
def test_granting_to_a_word_that_is_no_role_is_a_usage_error(
    run: Run, database_url: str, role: str, name: str, printed: tuple[str, ...]
) -> None:
    result = run("migrate", "--grant-to", name, *printed, GATEWAY_DATABASE_URL=database_url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "name the" in result.stderr


def test_no_statements_are_printed_for_a_role_that_is_not_there(run: Run, database_url: str) -> None:
    assert run("migrate", GATEWAY_DATABASE_URL=database_url).exit_code == 0
    result = run("migrate", "--grant-to", "nobody_here", "--print-grants", GATEWAY_DATABASE_URL=database_url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert 'role "nobody_here" does not exist' in result.stderr


def test_a_role_with_a_name_that_has_to_be_quoted_gets_the_rights(run: Run, database_url: str) -> None:
    for name in (f'PUBLIC "{uuid4().hex[:8]}"', "7" * 8, "-", "Current_User"):
        quoted = '"' + name.replace('"', '""') + '"'
        finish(execute(database_url, f"CREATE ROLE {quoted}"))
        try:
            result = run("migrate", "--grant-to", name, GATEWAY_DATABASE_URL=database_url)
            assert result.exit_code == 0, result.stderr
            assert has(database_url, name, "users", "SELECT")
        finally:
            finish(execute(database_url, f"DROP OWNED BY {quoted}", f"DROP ROLE {quoted}"))
