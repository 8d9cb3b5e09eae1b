"""migrate, as an operator and as a probe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import execute, fetch, finish

if TYPE_CHECKING:
    from tests.commands.conftest import Run

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
