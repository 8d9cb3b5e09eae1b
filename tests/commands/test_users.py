"""users list, show, disable, enable, set-password, add-to, remove-from, role; sessions list and end; orgs list."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from authcore.passwords.hasher import Passwords
from tests.support.commands import refused
from tests.support.databases import execute, fetch, finish

if TYPE_CHECKING:
    from click.testing import Result

    from tests.support.commands import Run

EMAIL = "ada@acme.example"
NOBODY = "0b7d6f3e-6a43-4a5c-9d0e-5f1a2b3c4d5e"
"""A well-formed id that nothing has."""


@pytest.fixture
def second(on: Run, organization: str) -> str:
    """Another admin, so that the first is not the last."""
    arguments = ("--email", "bo@acme.example", "--name", "Bo", "--organization", organization)
    made = on("users", "create", *arguments, "--role", "admin", "--password-stdin", typed="correct horse")
    return made.stdout.strip()


def read(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_users_are_listed_by_e_mail_with_their_role_and_as_json(
    on: Run, user: str, second: str, organization: str
) -> None:
    lines = [line.split("\t") for line in on("users", "list").stdout.splitlines()]
    assert [line[:6] for line in lines] == [
        [user, EMAIL, "Ada", "yes", "no", "admin"],
        [second, "bo@acme.example", "Bo", "yes", "no", "admin"],
    ]
    rows = read(on("users", "list", "--json"))
    assert [row["email"] for row in rows] == [EMAIL, "bo@acme.example"]
    assert rows[0]["organization_id"] == organization
    assert rows[0]["has_password"] is True
    assert rows[0]["sso_provider"] is None


def test_each_filter_of_users_leaves_out_the_others(on: Run, user: str, second: str) -> None:
    other = on("orgs", "create", "Other").stdout.strip()
    on("users", "add-to", second, "other", "--role", "agent")
    on("users", "disable", user)

    def emails(*filters: str) -> list[str]:
        return [row["email"] for row in read(on("users", "list", "--json", *filters))]

    assert emails("--state", "active") == ["bo@acme.example"]
    assert emails("--state", "disabled") == [EMAIL]
    assert emails("--organization", "OTHER") == ["bo@acme.example"]
    assert emails("--organization", other, "--state", "disabled") == []
    assert emails("--search", "ADA@") == [EMAIL]
    assert emails("--super-admin") == []
    assert read(on("users", "list", "--json", "--organization", other))[0]["role"] == "agent"


def test_a_user_is_shown_with_memberships_and_holdings(on: Run, user: str, organization: str) -> None:
    on("orgs", "create", "Other", "--slug", "other")
    on("users", "add-to", EMAIL, "other", "--role", "manager")
    on("api-keys", "create", "--user", EMAIL, "--organization", organization, "--name", "ci")
    shown = read(on("users", "show", "ADA@acme.example", "--json"))
    assert shown["id"] == user
    assert (shown["sessions"], shown["api_keys"]) == (0, 1)
    roles = {one["organization"]: one["role"] for one in shown["memberships"]}
    assert roles == {"Acme": "admin", "Other": "manager"}
    text = on("users", "show", user).stdout
    assert "as manager" in text
    assert f"({organization}, default) as admin" in text


def test_a_user_is_switched_off_and_on(on: Run, user: str, second: str, migrated_url: str) -> None:
    assert second
    state = "SELECT is_active FROM users WHERE email = 'ada@acme.example'"
    assert on("users", "disable", EMAIL).exit_code == 0
    assert finish(fetch(migrated_url, state)) is False
    assert on("users", "enable", user).exit_code == 0
    assert finish(fetch(migrated_url, state)) is True


@pytest.mark.parametrize(
    "change",
    [
        ("users", "disable", EMAIL),
        ("users", "remove-from", EMAIL, "acme"),
        ("users", "role", EMAIL, "acme", "agent"),
    ],
    ids=" ".join,
)
def test_the_last_who_may_manage_an_organization_is_not_taken_from_it_silently(
    on: Run, user: str, change: tuple[str, ...], migrated_url: str
) -> None:
    before = read(on("users", "show", user, "--json"))
    refused(on(*change), 1, "Nobody who may manage users would be left in Acme")
    assert read(on("users", "show", user, "--json")) == before, "nothing has changed"
    assert on(*change, "--even-last").exit_code == 0
    assert read(on("users", "show", user, "--json")) != before
    if change[1] == "remove-from":
        marked = "SELECT count(*) FROM user_organizations WHERE deleted_at IS NOT NULL"
        assert finish(fetch(migrated_url, marked)) == 1


def test_the_last_super_admin_is_not_switched_off_silently(on: Run, user: str, organization: str) -> None:
    assert user
    arguments = ("--email", "root@acme.example", "--name", "Root", "--organization", organization)
    on("users", "create", *arguments, "--super-admin", "--password-stdin", typed="correct horse")
    refused(on("users", "disable", "root@acme.example"), 1, "No active super admin would be left")
    assert on("users", "disable", "root@acme.example", "--even-last").exit_code == 0


def test_an_inactive_admin_does_not_count_as_another(on: Run, user: str, second: str) -> None:
    on("users", "disable", second)
    refused(on("users", "disable", user), 1, "Nobody who may manage users would be left in Acme")


def test_a_role_is_one_of_the_organization_alone(on: Run, user: str, second: str, migrated_url: str) -> None:
    other = on("orgs", "create", "Other").stdout.strip()
    of_other = f"organization_id = '{other}' AND name = 'agent'"
    theirs = finish(fetch(migrated_url, f"SELECT id FROM custom_roles WHERE {of_other}"))  # noqa: S608 - ours
    for role in ("emperor", str(theirs)):
        refused(on("users", "role", EMAIL, "acme", role), 1, f"The organization has no role '{role}'")
    refused(on("users", "role", EMAIL, "other", "agent"), 1, "The user is not a member of this organization")
    assert second
    assert on("users", "role", EMAIL, "acme", "agent").exit_code == 0
    assert read(on("users", "list", "--json", "--search", "ada"))[0]["role"] == "agent"
    own = "SELECT r.name FROM users u JOIN custom_roles r ON r.id = u.role_id WHERE u.email = 'ada@acme.example'"
    assert finish(fetch(migrated_url, own)) == "agent", "servers from before memberships read this one"
    assert UUID(user)


def test_a_home_without_a_row_is_removed_for_good_and_can_be_joined_again(
    on: Run, user: str, second: str, migrated_url: str
) -> None:
    assert second
    finish(
        execute(
            migrated_url,
            f"DELETE FROM user_organizations WHERE user_id = '{user}'",  # noqa: S608 - ours
            "DELETE FROM gateway_former_memberships",
        )
    )
    assert len(read(on("users", "show", user, "--json"))["memberships"]) == 1, "older databases have no rows"
    assert on("users", "remove-from", user, "acme").exit_code == 0
    assert read(on("users", "show", user, "--json"))["memberships"] == []
    refused(on("users", "remove-from", user, "acme"), 1, "The user is not a member of this organization")
    assert on("users", "add-to", user, "acme", "--role", "agent").exit_code == 0
    refused(on("users", "add-to", user, "acme"), 1, "The user is a member of this organization already")
    assert read(on("users", "show", user, "--json"))["memberships"][0]["role"] == "agent"


def test_a_password_is_read_from_standard_input_or_typed_twice_or_made(
    on: Run, user: str, migrated_url: str
) -> None:
    def signs_in(password: str) -> bool:
        return finish(_signs_in(migrated_url, password))

    first = on("users", "set-password", user, "--password-stdin", typed="a new password\n")
    assert first.exit_code == 0
    assert first.stdout == ""
    assert signs_in("a new password")
    typed = on("users", "set-password", EMAIL, typed="another password\nanother password\n")
    assert typed.exit_code == 0, typed.output
    assert "another" not in typed.output
    assert signs_in("another password")
    made = on("users", "set-password", EMAIL, "--generate-password").stdout.strip()
    assert signs_in(made)
    refused(
        on("users", "set-password", EMAIL, "--password-stdin", typed="short"),
        1,
        "Password must be at least 8 characters",
    )
    assert signs_in(made)
    assert on("users", "set-password", EMAIL, "a-password-as-an-argument").exit_code == 2


def test_an_account_without_a_password_is_given_one(on: Run, user: str, migrated_url: str) -> None:
    for nothing in ("NULL", "''"):
        finish(execute(migrated_url, f"UPDATE users SET password_hash = {nothing}"))  # noqa: S608 - ours
        assert read(on("users", "list", "--json"))[0]["has_password"] is False
        assert on("users", "set-password", user, "--password-stdin", typed="a new password").exit_code == 0
        assert finish(_signs_in(migrated_url, "a new password"))


async def _signs_in(url: str, password: str) -> bool:
    stored = await fetch(url, "SELECT password_hash FROM users WHERE email = 'ada@acme.example'")
    passwords = Passwords(min_length=8, cost=4, workers=1, queue=1)
    try:
        return await passwords.verify(password, stored)
    finally:
        passwords.close()


def test_a_name_that_more_than_one_has_is_refused_with_the_candidates(
    on: Run, user: str, migrated_url: str
) -> None:
    one, other = (on("orgs", "create", "Twins").stdout.strip() for _ in range(2))
    result = on("users", "add-to", user, "Twins")
    assert result.exit_code == 1
    assert one in result.stderr
    assert other in result.stderr
    assert "name one by its id" in result.stderr
    finish(
        execute(
            migrated_url,
            "INSERT INTO users (organization_id, email, full_name) "
            "SELECT organization_id, 'ADA@ACME.example', 'Twin' FROM users",
        )
    )
    mixed = on("users", "show", "Ada@acme.example")
    assert mixed.exit_code == 1
    assert "ADA@ACME.example" in mixed.stderr
    assert user in mixed.stderr
    assert read(on("users", "show", EMAIL, "--json"))["id"] == user, "a spelling that is exact is no doubt"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("users", "show", "nobody@acme.example"), "No user has the e-mail 'nobody@acme.example'"),
        (("users", "disable", NOBODY), "User not found"),
        (("users", "enable", "a\0b"), "No user has the e-mail 'a\\x00b'"),
        (
            ("users", "list", "--organization", "nowhere"),
            "No organization has the slug or the name 'nowhere'",
        ),
        (("users", "remove-from", EMAIL, NOBODY), "Organization not found"),
        (
            ("sessions", "list", "--user", "nobody@acme.example"),
            "No user has the e-mail 'nobody@acme.example'",
        ),
        (("sessions", "end", NOBODY), "Session not found"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else None,
)
def test_what_is_not_there_is_named(on: Run, user: str, arguments: tuple[str, ...], error: str) -> None:
    assert user
    refused(on(*arguments), 1, error)


def test_one_session_or_those_of_a_user_are_ended_and_not_both(on: Run) -> None:
    for arguments in ((), (str(uuid4()), "--user", EMAIL), ("--user", EMAIL, "--provider", "google")):
        refused(
            on("sessions", "end", *arguments),
            2,
            "name one session by its ID, a user by --user, or a provider by --provider",
        )


def test_organizations_are_listed_by_name(on: Run, user: str, organization: str) -> None:
    assert user
    on("orgs", "create", "aardvark", "--slug", "first")
    lines = [line.split("\t") for line in on("orgs", "list").stdout.splitlines()]
    assert [line[1:5] for line in lines] == [["first", "aardvark", "0", "0"], ["acme", "Acme", "1", "0"]]
    rows = read(on("orgs", "list", "--json"))
    assert rows[1]["id"] == organization
    assert list(rows[1]) == ["id", "slug", "name", "members", "api_keys", "created_at"]


def test_what_stands_in_the_database_cannot_forge_lines_columns_or_a_terminal(
    on: Run, migrated_url: str
) -> None:
    on("orgs", "create", "Acme", "--slug", "acme")
    finish(execute(migrated_url, "UPDATE organizations SET name = E'a\\tb\\n\\x1b[2Jc\\u202e'"))
    (line,) = on("orgs", "list").stdout.splitlines()
    assert line.split("\t")[2] == r"a\tb\n\x1b[2Jc\u202e"
