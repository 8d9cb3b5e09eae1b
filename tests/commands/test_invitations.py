"""invitations."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.commands import SECRET, Run, refused
from tests.support.databases import execute, finish

WITH_SECRET = {"GATEWAY_JWT_SECRET": SECRET}


def test_an_invitation_is_shown_once_listed_and_revoked(on: Run, organization: str) -> None:
    made = on(
        *("invitations", "create", "--organization", organization, "--role", "manager"),
        *("--email", "ada@acme.example"),
        **WITH_SECRET,
    )
    assert made.exit_code == 0, made.output
    assert made.stdout.count(".") == 2
    assert made.stdout.strip() not in made.stderr
    (line,) = on("invitations", "list", "--organization", organization, **WITH_SECRET).stdout.splitlines()
    invitation, _, _, email = line.split("\t")
    assert email == "ada@acme.example"
    assert invitation in made.stderr
    assert (
        on("invitations", "revoke", invitation, "--organization", organization, **WITH_SECRET).exit_code == 0
    )
    assert on("invitations", "list", "--organization", organization, **WITH_SECRET).stdout == ""
    refused(
        on("invitations", "revoke", invitation, "--organization", organization, **WITH_SECRET),
        1,
        "Invitation not found",
    )


@pytest.mark.parametrize(
    ("option", "value", "code", "error"),
    [
        ("--organization", "6f2f0f0e-8a3c-4a56-9d5b-0f0f4a3c9e11", 1, "Organization not found"),
        ("--role", "emperor", 1, "Role not found"),
        ("--email", "nobody", 1, "Email is not acceptable"),
        ("--expires-at", "2000-01-01T00:00:00Z", 2, "--expires-at is in the past"),
    ],
)
def test_an_invitation_that_cannot_be_is_refused(
    option: str, value: str, code: int, error: str, on: Run, organization: str
) -> None:
    options = {"--organization": organization, option: value}
    result = on("invitations", "create", *[part for pair in options.items() for part in pair], **WITH_SECRET)
    assert result.exit_code == code
    assert error in result.stderr
    assert result.stdout == ""


def test_inviting_asks_for_the_secret_that_signs(on: Run, organization: str) -> None:
    result = on("invitations", "create", "--organization", organization)
    assert result.exit_code == 2
    assert "GATEWAY_JWT_SECRET" in result.stderr


def test_an_invitation_ends_by_the_databases_clock_and_not_by_this_machines(
    on: Run, organization: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    true, where = time.time, ("--organization", organization)
    monkeypatch.setattr(time, "time", lambda: true() - 30 * 86_400)
    assert on("invitations", "create", *where, **WITH_SECRET).exit_code == 0
    monkeypatch.undo()
    assert len(on("invitations", "list", *where, **WITH_SECRET).stdout.splitlines()) == 1


def test_the_list_has_all_of_them_and_not_the_thousand_that_an_answer_has(
    on: Run, organization: str, migrated_url: str
) -> None:
    made = (
        "INSERT INTO gateway_invitations (id, digest, organization_id, created_at, expires_at) SELECT "
        "gen_random_uuid(), sha256(n::text::bytea), o.id, now(), now() + interval '1 day' "
        "FROM organizations o, generate_series(1, 1003) n"
    )
    finish(execute(migrated_url, made))
    result = on("invitations", "list", "--organization", organization, "--json", **WITH_SECRET)
    assert len(json.loads(result.stdout)) == 1003
