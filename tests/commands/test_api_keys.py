"""api-keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.support.commands import Run, refused
from tests.support.databases import execute, fetch, finish

NOBODY = "0b7d6f3e-6a43-4a5c-9d0e-5f1a2b3c4d5e"
"""A well-formed id that nothing has."""


ROOT = Path(__file__).parents[2]


def test_a_key_is_shown_once_listed_by_its_beginning_and_revoked(
    on: Run, user: str, organization: str, migrated_url: str
) -> None:
    made = on(
        *("api-keys", "create", "--user", "ADA@acme.example", "--organization", organization),
        *("--name", "ci", "--expires-at", "2999-12-31T23:59:59Z"),
    )
    key = made.stdout.strip()
    assert key.startswith("whm_")
    assert len(key) == 36
    assert made.stderr.startswith("key ")
    assert key not in made.stderr

    listed = on("api-keys", "list", "--organization", organization)
    (line,) = listed.stdout.splitlines()
    key_id, prefix, state, expires, used, name = line.split("\t")[:6]
    assert (prefix, state, expires, used, name) == (
        f"{key[:20]}…",
        "active",
        "2999-12-31T23:59:59Z",
        "never",
        "ci",
    )
    assert key not in listed.output

    assert on("api-keys", "revoke", key_id).exit_code == 0
    assert on("api-keys", "list", "--organization", organization).stdout.split("\t")[2] == "revoked"
    assert finish(fetch(migrated_url, f"SELECT user_id FROM api_keys WHERE id = '{key_id}'")) == UUID(user)  # noqa: S608 - ours


def test_an_expired_key_is_listed_as_such(on: Run, user: str, organization: str, migrated_url: str) -> None:
    on("api-keys", "create", "--user", "ada@acme.example", "--organization", organization, "--name", "old")
    finish(execute(migrated_url, "UPDATE api_keys SET expires_at = now() - interval '1 day'"))
    assert "\texpired\t" in on("api-keys", "list", "--organization", organization).stdout


@pytest.mark.parametrize(
    ("option", "value", "code", "error"),
    [
        ("--user", "nobody@acme.example", 1, "No user has the e-mail 'nobody@acme.example'"),
        ("--organization", NOBODY, 1, "Organization not found"),
        ("--organization", "nowhere", 1, "No organization has the slug or the name 'nowhere'"),
        ("--expires-at", "2000-01-01T00:00:00Z", 2, "--expires-at is in the past"),
        ("--expires-at", "2999-01-01", 2, "has no time zone"),
        ("--expires-at", "soon", 2, "is not a moment"),
    ],
)
def test_a_key_that_cannot_be_is_refused(
    option: str, value: str, code: int, error: str, on: Run, user: str, organization: str
) -> None:
    options = {"--user": "ada@acme.example", "--organization": organization, "--name": "x", option: value}
    result = on("api-keys", "create", *[part for pair in options.items() for part in pair])
    assert result.exit_code == code
    assert error in result.stderr
    assert result.stdout == ""


def test_a_key_of_a_stranger_to_the_organization_is_refused(on: Run, user: str) -> None:
    other = on("orgs", "create", "Other").stdout.strip()
    result = on("api-keys", "create", "--user", "ada@acme.example", "--organization", other, "--name", "x")
    refused(result, 1, "You are not a member of this organization")


def test_an_unknown_key_or_organization_is_told(on: Run) -> None:
    assert on("api-keys", "revoke", str(uuid4())).exit_code == 1
    refused(on("api-keys", "list", "--organization", str(uuid4())), 1, "Organization not found")


def test_each_filter_of_keys_leaves_out_the_others(
    on: Run, user: str, organization: str, migrated_url: str
) -> None:
    other = on("orgs", "create", "Other").stdout.strip()
    assert on("users", "add-to", user, "other", "--role", "agent").exit_code == 0
    made = {}
    for name, where, more in (
        ("lasting", "acme", ()),
        ("soon", "ACME", ("--expires-at", (datetime.now(UTC) + timedelta(days=3)).isoformat())),
        ("later", organization, ("--expires-at", (datetime.now(UTC) + timedelta(days=60)).isoformat())),
        ("elsewhere", other, ()),
        ("old", "acme", ()),
        ("gone", "acme", ()),
    ):
        made[name] = on(
            "api-keys", "create", "--user", user, "--organization", where, "--name", name, *more
        ).stdout.strip()
    finish(
        execute(migrated_url, "UPDATE api_keys SET expires_at = now() - interval '1 day' WHERE name = 'old'")
    )
    finish(execute(migrated_url, "UPDATE api_keys SET is_active = false WHERE name = 'gone'"))

    def names(*filters: str) -> set[str]:
        result = on("api-keys", "list", "--json", *filters)
        assert result.exit_code == 0, result.output
        return {row["name"] for row in json.loads(result.stdout)}

    assert names() == set(made)
    assert names("--organization", "other") == {"elsewhere"}
    assert names("--state", "active") == {"lasting", "soon", "later", "elsewhere"}
    assert names("--state", "expired") == {"old"}
    assert names("--state", "revoked") == {"gone"}
    assert names("--expiring", "7") == {"soon"}
    assert names("--expiring", "90", "--state", "revoked") == set()
    assert names("--user", "ada@acme.example", "--organization", "other") == {"elsewhere"}
    soon = made["soon"]
    for beginning in (soon[:9], soon[4:20], f"{soon[:20]}…"):
        assert names("--prefix", beginning) == {"soon"}
    assert names("--prefix", "%") == set(), "text, and no pattern"
    finish(execute(migrated_url, "UPDATE api_keys SET key_prefix = left(key_prefix, 8)"))
    assert names("--prefix", soon[:20]) == {"soon"}, "older rows have eight characters"
    assert on("api-keys", "list", "--prefix", soon).exit_code == 2, "a whole key is no argument"


def test_a_listed_key_says_whose_it_is_and_where(on: Run, user: str, organization: str) -> None:
    on("api-keys", "create", "--user", user, "--organization", "acme", "--name", "ci")
    (row,) = json.loads(on("api-keys", "list", "--json").stdout)
    assert (row["user_id"], row["email"], row["organization_id"], row["organization"]) == (
        user,
        "ada@acme.example",
        organization,
        "Acme",
    )
    assert (row["state"], row["expires_at"], row["last_used_at"]) == ("active", None, None)
