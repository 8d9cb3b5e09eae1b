"""migrate installs the triggers, leaves them out, and removes them: as an operator says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.store.triggers import TABLES
from tests.support.databases import fetch, finish

if TYPE_CHECKING:
    from tests.support.commands import Run


COUNT = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'gateway_changed_%'"


def test_triggers_come_with_the_schema_go_by_an_option_and_stay_away_by_a_setting(
    run: Run, database_url: str
) -> None:
    environment = {"GATEWAY_DATABASE_URL": database_url}
    without = environment | {"GATEWAY_DATABASE_TRIGGERS": "off"}
    assert run("migrate", **without).exit_code == 0
    assert finish(fetch(database_url, COUNT)) == 0
    assert run("migrate", "--check", **without).exit_code == 0
    assert run("migrate", "--check", **environment).stdout == "pending triggers\n"
    assert run("migrate", **environment).stdout == "applied triggers\n"
    assert finish(fetch(database_url, COUNT)) == 4 * len(TABLES)
    for said in ("removed the triggers\n", "there are no triggers\n"):
        result = run("migrate", "--remove-triggers", **environment)
        assert (result.exit_code, result.stderr) == (0, said)
        assert finish(fetch(database_url, COUNT)) == 0
