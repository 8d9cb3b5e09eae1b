"""Lists: every one has --json, with the fields that its page says; a table on a terminal, tabs elsewhere."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from gateway.cli import main
from gateway.commands.listing import aligned, text_of
from gateway.commands.tree import described
from tests.support.commands import SECRET
from tests.support.processes import PROCESS_SECONDS
from tests.support.terminals import all_of

if TYPE_CHECKING:
    from tests.support.commands import Run

ROOT: Final = Path(__file__).parents[2]
WITH_FIELDS: Final = {one.name: one for one in described(main) if one.fields}


def test_whatever_lists_has_json_and_its_fields_are_described() -> None:
    for one in described(main):
        if one.words and one.words[-1] == "list":
            assert one.fields, f"{one.name} does not say what its rows are"
        if one.fields:
            assert "--json" in {names for names, _ in one.options}, one.name
            names = [field.name for field in one.fields]
            assert len(names) == len(set(names))
            assert all(field.meaning for field in one.fields)
    assert len(WITH_FIELDS) >= 9


@pytest.mark.parametrize("name", WITH_FIELDS)
def test_rows_as_json_have_the_fields_of_the_page_in_their_order(
    name: str, on: Run, user: str, organization: str, tmp_path: Path
) -> None:
    secret = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_PRESET": "whatomate", "GATEWAY_LIMITS_USER": "5/s"}
    secret["GATEWAY_UPSTREAM_URL"] = "http://127.0.0.1:9"
    on("api-keys", "create", "--user", user, "--organization", "acme", "--name", "ci")
    on("invitations", "create", "--organization", organization, **secret)
    on("quotas", "set", "--organization", "acme", "--day", "5")
    where = ("--organization", "acme") if name.startswith("invitations") else ()
    result = on(*name.split(), "--json", *where, **secret)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert isinstance(rows, list)
    assert rows or name in {"sessions list", "limits refused"}, "the list is tried with something in it"
    expected = [field.name for field in WITH_FIELDS[name].fields]
    assert all(list(row) == expected for row in rows)
    in_table = [field for field in WITH_FIELDS[name].fields if field.in_table]
    for line in on(*name.split(), *where, **secret).stdout.splitlines():
        assert len(line.split("\t")) == len(in_table)
    assert tmp_path


def test_on_a_terminal_a_list_is_a_table_with_a_head(on: Run, organization: str, migrated_url: str) -> None:
    assert on("orgs", "list").stdout.startswith(organization)
    master, slave = pty.openpty()
    try:
        with os.fdopen(slave, "wb") as terminal:
            subprocess.run(
                [sys.executable, "-m", "gateway", "orgs", "list"],
                cwd="/",
                env={"PYTHONPATH": str(ROOT), "PATH": os.defpath, "GATEWAY_DATABASE_URL": migrated_url},
                stdout=terminal,
                stderr=subprocess.DEVNULL,
                timeout=PROCESS_SECONDS,
                check=True,
            )
        head, row = all_of(master).splitlines()
    finally:
        os.close(master)
    assert head.split() == ["id", "slug", "name", "members", "api_keys", "created_at"]
    assert "\t" not in head + row
    assert row.index("acme") == head.index("slug")
    assert row.index("Acme") == head.index("name")


def test_columns_stand_below_each_other_whatever_the_width_of_letters() -> None:
    assert aligned([["a", "b"], ["李四", "x"], ["Zoe\u0308", "y"]]) == ["a     b", "李四  x", "Zoe\u0308   y"]
    assert text_of(None, "never") == "never"
    assert text_of("") == "-"
    assert text_of(0) == "0"
    assert text_of("a\x1b[2J\u2028") == r"a\x1b[2J\u2028"


def test_settings_and_the_matrix_are_json_too(run: Run) -> None:
    rows = json.loads(run("settings", "drain", "--json").stdout)
    assert {row["name"] for row in rows} >= {"GATEWAY_TIMEOUT_DRAIN_SECONDS"}
    assert all(row["meaning"] for row in rows)
    found = json.loads(run("routes", "matrix", "--json", GATEWAY_PRESET="whatomate").stdout)
    assert {"endpoint", "needs", "admin", "agent"} <= set(found[0])
