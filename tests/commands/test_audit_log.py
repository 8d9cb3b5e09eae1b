"""audit-log: what commands have changed, by whom; and the check of the chain."""

from __future__ import annotations

import inspect
import json
import os
import pwd
import socket
from typing import TYPE_CHECKING, Any

import pytest

from authcore.accounts.administration import Administration
from authcore.accounts.user_administration import UserAdministration
from gateway.commands.recorded_services import RecordedAdministration, RecordedUserAdministration
from tests.support.commands import SECRET, refused
from tests.support.databases import execute, finish

if TYPE_CHECKING:
    from tests.support.commands import Run

READS = {
    *("user", "organization", "organizations", "users", "profile", "sessions", "api_keys"),
    *("find_user", "list_api_keys", "find_api_keys", "find_api_key", "list_quotas"),
}
EMAIL = "ada@acme.example"


def rows(on: Run, *arguments: str) -> Any:
    result = on("audit-log", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def events(on: Run) -> list[str]:
    return [row["event"] for row in reversed(rows(on))]


@pytest.mark.parametrize(
    ("service", "recorded"),
    [(Administration, RecordedAdministration), (UserAdministration, RecordedUserAdministration)],
)
def test_each_method_that_changes_something_is_recorded(service: type, recorded: type) -> None:
    changing = {
        name
        for name, _ in inspect.getmembers(service, inspect.isfunction)
        if not name.startswith("_") and name not in READS
    }
    assert changing
    assert changing <= set(vars(recorded))


def test_what_commands_change_is_recorded_with_the_operator(on: Run, user: str, organization: str) -> None:
    on("users", "add-to", user, on("orgs", "create", "Other").stdout.strip(), "--role", "agent")
    on("users", "set-password", user, "--password-stdin", typed="another password")
    on("users", "role", user, "Other", "manager")
    on("users", "remove-from", user, "Other")
    on("users", "disable", user, "--even-last")
    on("users", "enable", user)
    on("sessions", "end", "--user", user)
    key = ("api-keys", "create", "--user", EMAIL, "--organization", organization, "--name", "ci")
    assert on(*key).exit_code == 0
    (made,) = rows(on, "--event", "create_api_key")
    on("api-keys", "revoke", made["target"])
    on("quotas", "set", "--organization", organization, "--day", "5")
    on("quotas", "clear", "--organization", organization)
    on("quotas", "clear", "--organization", organization)
    on("users", "vouch", "--email", EMAIL)
    invite = on("invitations", "create", "--organization", organization, GATEWAY_JWT_SECRET=SECRET)
    assert invite.exit_code == 0, invite.output
    (invitation,) = rows(on, "--event", "create_invitation")
    revoked = ("invitations", "revoke", invitation["target"], "--organization", organization)
    assert on(*revoked, GATEWAY_JWT_SECRET=SECRET).exit_code == 0
    assert events(on) == [
        *("create_organization", "create_user", "create_organization", "add_member", "set_password"),
        *("change_role", "remove_member", "disable_user", "enable_user", "end_sessions"),
        *("create_api_key", "revoke_api_key", "set_quota", "clear_quota", "vouch_for_users"),
        *("create_invitation", "revoke_invitation"),
    ]
    name = pwd.getpwuid(os.getuid()).pw_name
    for row in rows(on):
        assert row["operator"].endswith(f"{name} on {socket.gethostname()}")
        assert (row["outcome"], row["user_id"], row["address"]) == ("success", None, None)
    (created,) = rows(on, "--event", "create_user")
    assert (created["target"], created["email"], created["organization_id"]) == (user, EMAIL, organization)
    assert created["details"] == {"role": "admin", "is_super_admin": False}
    text = on("audit-log", "--json").stdout
    for planted in ("correct horse", "another password", invite.stdout.strip(), on(*key).stdout.strip()):
        assert planted not in text


def test_what_changes_nothing_is_not_recorded(on: Run, user: str) -> None:
    before = len(rows(on))
    for command in (
        ("users", "list"),
        ("users", "disable", user),  # the last one
        ("users", "unlock", "--email", "nobody@example.com"),
        ("api-keys", "revoke", "0b7d6f3e-6a43-4a5c-9d0e-5f1a2b3c4d5e"),
        ("audit-log", "verify"),
    ):
        on(*command)
    assert len(rows(on)) == before


def test_migrating_is_recorded(run: Run, database_url: str) -> None:
    assert run("migrate", GATEWAY_DATABASE_URL=database_url).exit_code == 0
    assert run("migrate", GATEWAY_DATABASE_URL=database_url).exit_code == 0

    def on(*arguments: str, **_: str) -> Any:
        return run(*arguments, GATEWAY_DATABASE_URL=database_url)

    (row,) = rows(on)
    assert row["event"] == "migrate"
    assert "0028_gateway_audit_functions" in row["details"]["applied"]


def test_with_the_table_off_commands_record_nothing(on: Run, organization: str) -> None:
    assert on("orgs", "create", "Other", GATEWAY_AUDIT_TABLE="off").exit_code == 0
    assert [row["target"] for row in rows(on)] == [organization]


def test_a_change_that_cannot_be_recorded_is_done_and_says_so(on: Run, migrated_url: str) -> None:
    finish(execute(migrated_url, "ALTER FUNCTION gateway_audit_write RENAME TO gone"))
    result = on("orgs", "create", "Other")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: done, but not recorded in the audit trail: ")
    assert "Other" in on("orgs", "list").stdout


def test_records_are_filtered_and_printed_in_a_line_each(on: Run, user: str, organization: str) -> None:
    on("users", "disable", user, "--even-last")
    first = on("audit-log").stdout.splitlines()[0].split("\t")
    assert (first[0], first[2:5], first[8]) == ("3", ["disable_user", "success", "-"], user)
    assert [row["event"] for row in rows(on, "--user", user)] == ["disable_user", "create_user"]
    assert [row["event"] for row in rows(on, "--user", EMAIL)] == ["disable_user", "create_user"]
    assert [row["event"] for row in rows(on, "--organization", "acme")] == [
        "create_user",
        "create_organization",
    ]
    assert [row["seq"] for row in rows(on, "list", "--limit", "1")] == [3]
    assert [row["seq"] for row in rows(on, "--before", "3", "--limit", "1")] == [2]
    assert len(rows(on, "--since", "1h")) == 3
    assert rows(on, "--until", "1h") == []
    assert rows(on, "--outcome", "refused") == []
    assert rows(on, "--email", "nobody@example.com") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--since", "yesterday"),
        ("--since", "2026-11-28T03:00:00"),
        ("--since", "9999999d"),
        ("--event", "nothing"),
        ("--since", "1h", "--until", "2h"),
        ("--since", "2026-11-28T03:00:00Z", "--until", "2026-11-28T03:00:00Z"),
        ("--limit", "0"),
        ("--before", "0"),
        ("verify", "--expect", "1"),
        ("verify", "--expect", f"1:{'x' * 64}"),
        ("nothing",),
    ],
)
def test_a_mistake_in_a_filter_is_named(on: Run, arguments: tuple[str, ...]) -> None:
    assert on("audit-log", *arguments).exit_code == 2


def test_verifying_says_how_many_rows_are_right_and_names_the_first_that_is_not(
    on: Run, user: str, migrated_url: str
) -> None:
    on("users", "enable", user)
    good = on("audit-log", "verify")
    assert (good.exit_code, good.stdout.startswith("3 rows are as they were written; the last is 3:")) == (
        0,
        True,
    )
    noted = good.stdout.split()[-1]
    assert on("audit-log", "verify", "--expect", noted).exit_code == 0
    lie = f"3:{'0' * 64}"
    refused(
        on("audit-log", "verify", "--expect", lie),
        1,
        "the audit trail is broken: row 3 has another hash than the expected one: the chain was written anew",
    )
    finish(
        execute(
            migrated_url,
            "ALTER TABLE gateway_audit DISABLE TRIGGER ALL",
            "UPDATE gateway_audit SET operator = 'somebody else' WHERE seq = 2",
        )
    )
    broken = "row 2, or the hash of row 1, is not what was written"
    refused(on("audit-log", "verify"), 1, f"the audit trail is broken: {broken}")
    result = on("audit-log", "verify", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["broken"] == broken
