"""quotas."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.commands import Run, refused

NOBODY = "0b7d6f3e-6a43-4a5c-9d0e-5f1a2b3c4d5e"
"""A well-formed id that nothing has."""


def listed(on: Run, *arguments: str, **more: str) -> Any:
    return json.loads(on("quotas", "list", "--json", *arguments, **more).stdout)


def test_a_quota_is_set_listed_and_cleared(on: Run, organization: str) -> None:
    whose = ("--organization", organization)
    assert on("quotas", "set", *whose, "--day", "500", "--month", "none").exit_code == 0
    day, month = listed(on, *whose, GATEWAY_QUOTA_ORGANIZATION_MONTH="9")
    assert (day["kind"], day["id"], day["name"]) == ("organization", organization, "Acme")
    assert (day["period"], day["used"], day["limit"], day["remaining"]) == ("day", 0, 500, 500)
    assert (month["period"], month["limit"], month["remaining"], month["from"]) == (
        "month",
        None,
        None,
        "own",
    )
    assert day["resets_at"].endswith("T00:00:00Z")
    text = on("quotas", "list").stdout.splitlines()[0].split("\t")
    assert text == ["organization", organization, "day", "0", "500", "own", "Acme"]
    assert on("quotas", "set", *whose, "--day", "0").exit_code == 0
    assert listed(on, *whose)[0]["limit"] == 0
    cleared = on("quotas", "clear", *whose)
    assert cleared.stderr == "cleared: day, month\n"
    assert listed(on, *whose) == []
    assert on("quotas", "clear", *whose).stderr == "it had no quotas of its own\n"


@pytest.mark.parametrize(
    ("whose", "message"),
    [("--organization", "Organization not found"), ("--key", "API key not found")],
)
def test_a_quota_of_nothing_is_refused(on: Run, whose: str, message: str) -> None:
    refused(on("quotas", "set", whose, NOBODY, "--day", "5"), 1, message)


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "--day", "5"),
        ("set", "--key", NOBODY, "--organization", NOBODY, "--day", "5"),
        ("set", "--key", NOBODY),
        ("set", "--key", NOBODY, "--day", "-1"),
        ("set", "--key", NOBODY, "--day", "1.5"),
        ("set", "--key", NOBODY, "--day", "٣"),
        ("set", "--key", NOBODY, "--month", str(2**53 + 1)),
        ("clear",),
    ],
)
def test_what_is_no_quota_is_refused_before_the_database_is_asked(
    on: Run, arguments: tuple[str, ...]
) -> None:
    result = on("quotas", *arguments, GATEWAY_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert result.exit_code == 2, result.output
