"""settings: what can be set, in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from config.layers import FIELDS
from tests.support.commands import Run, refused

if TYPE_CHECKING:
    from click.testing import Result


def names(result: Result) -> set[str]:
    return {line.split()[0] for line in result.stdout.splitlines() if line.startswith("GATEWAY_")}


def test_every_setting_is_listed_with_its_default_and_unit(run: Run) -> None:
    result = run("settings")
    assert names(result) == set(FIELDS)
    assert "GATEWAY_LISTEN  (list; default 0.0.0.0:8080)" in result.stdout
    assert "GATEWAY_DATABASE_URL  (text; required)" in result.stdout


def test_words_narrow_the_list(run: Run) -> None:
    assert names(run("settings", "DRAIN", "delay")) == {"GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS"}
    refused(
        run("settings", "drain", "elephant"),
        1,
        "no setting has drain and elephant in its name or meaning; try one word less",
    )


def test_the_schema_keeps_secrets_apart(run: Run) -> None:
    found = json.loads(run("settings", "--format", "schema").stdout)
    shown, secret = (set(found[part]["properties"]) for part in ("config", "secrets"))
    assert shown | secret == set(FIELDS)
    assert not shown & secret
    assert {"GATEWAY_DATABASE_URL", "GATEWAY_JWT_SECRET", "GATEWAY_JWT_PREVIOUS_SECRETS"} <= secret
    assert not [name for name in shown if "SECRET" in name and "VERIFIES" not in name]
