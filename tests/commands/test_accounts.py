"""orgs and users."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from authcore.passwords.hasher import Passwords
from authcore.store.attempt_rows import AttemptLimits, NewAttempt
from tests.support.commands import Run, refused
from tests.support.databases import execute, fetch, finish
from tests.support.domain import open_store

NOBODY = "0b7d6f3e-6a43-4a5c-9d0e-5f1a2b3c4d5e"
"""A well-formed id that nothing has."""


ROOT = Path(__file__).parents[2]


def test_an_organization_is_made_with_its_roles_and_its_id_is_the_output(on: Run, migrated_url: str) -> None:
    made = UUID(on("orgs", "create", "Acme", "--slug", "acme").stdout.strip())
    assert finish(fetch(migrated_url, "SELECT id FROM organizations WHERE slug = 'acme'")) == made
    roles = finish(fetch(migrated_url, "SELECT string_agg(name, ' ' ORDER BY name) FROM custom_roles"))
    assert roles == "admin agent manager"


def test_a_slug_is_taken_once(on: Run) -> None:
    assert on("orgs", "create", "Acme", "--slug", "acme").exit_code == 0
    result = on("orgs", "create", "Acme", "--slug", "acme")
    assert result.exit_code == 1
    assert "slug" in result.stderr.lower()
    assert on("orgs", "create", "Acme").exit_code == 0, "without one a free slug is made"


def test_a_user_is_made_with_the_password_from_standard_input(on: Run, user: str, migrated_url: str) -> None:
    row = finish(fetch(migrated_url, "SELECT id FROM users WHERE email = 'ada@acme.example'"))
    assert row == UUID(user)


def test_a_user_is_made_with_the_password_typed_twice(on: Run, organization: str) -> None:
    arguments = (
        "users",
        "create",
        "--email",
        "bo@acme.example",
        "--name",
        "Bo",
        "--organization",
        organization,
    )
    result = on(*arguments, typed="battery staple\nbattery staple\n")
    assert result.exit_code == 0
    UUID(result.stdout.strip())
    assert "battery" not in result.output
    differing = on(*arguments, typed="battery staple\nanother one\n")
    assert differing.exit_code == 1


def test_a_made_password_is_shown_and_can_be_signed_in_with(
    on: Run, organization: str, migrated_url: str
) -> None:
    arguments = (
        "users",
        "create",
        "--email",
        "bo@acme.example",
        "--name",
        "Bo",
        "--organization",
        organization,
    )
    result = on(*arguments, "--generate-password", "--super-admin")
    _, password = result.stdout.splitlines()
    assert len(password) >= 20
    assert (
        finish(fetch(migrated_url, "SELECT is_super_admin FROM users WHERE email = 'bo@acme.example'"))
        is True
    )
    assert finish(_signs_in(migrated_url, "bo@acme.example", password))
    assert not finish(_signs_in(migrated_url, "bo@acme.example", password + "x"))


async def _signs_in(url: str, email: str, password: str) -> bool:
    stored = await fetch(url, f"SELECT password_hash FROM users WHERE email = '{email}'")  # noqa: S608 - ours
    passwords = Passwords(min_length=8, cost=4, workers=1, queue=1)
    try:
        return await passwords.verify(password, stored)
    finally:
        passwords.close()


@pytest.mark.parametrize(
    ("changed", "password", "error"),
    [
        ({}, "short", "Password must be at least 8 characters"),
        ({}, "x" * 73, "Password must be at most 72 bytes"),
        ({"--email": "ADA@acme.example"}, "correct horse", "An account with this email already exists."),
        ({"--organization": NOBODY}, "correct horse", "Organization not found"),
        ({"--role": "emperor"}, "correct horse", "role"),
        ({"--email": "nobody"}, "correct horse", "mail"),
    ],
)
def test_a_user_that_cannot_be_is_refused(
    changed: dict[str, str], password: str, error: str, on: Run, user: str, organization: str
) -> None:
    options = {"--email": "bo@acme.example", "--name": "Bo", "--organization": organization, **changed}
    arguments = [part for pair in options.items() for part in pair]
    result = on("users", "create", *arguments, "--password-stdin", typed=password)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert error.lower() in result.stderr.lower()
    assert result.stdout == ""


def test_two_ways_of_giving_the_password_are_refused(run: Run) -> None:
    options = ("--email", "a@b.c", "--name", "A", "--organization", str(uuid4()))
    result = run("users", "create", *options, "--password-stdin", "--generate-password")
    refused(result, 2, "--password-stdin and --generate-password exclude each other")


def test_a_password_without_an_end_is_refused(run: Run) -> None:
    options = ("--email", "a@b.c", "--name", "A", "--organization", str(uuid4()))
    result = run("users", "create", *options, "--password-stdin", typed="x" * 65_537)
    refused(result, 2, "--password-stdin: this has more than 65,536 characters")


def test_an_operator_can_let_somebody_sign_in_at_once(on: Run, migrated_url: str) -> None:
    async def fail(times: int) -> bool:
        store = await open_store(migrated_url)
        try:
            now = datetime.now(UTC)
            attempt = NewAttempt(
                email="Ada@acme.example", address="192.0.2.1", network="192.0.2.1", at=now, known_since=now
            )
            turns = [
                await store.reserve_attempt(attempt, AttemptLimits(hold_seconds=0)) for _ in range(times)
            ]
            other = replace(attempt, email="bob@acme.example")
            await store.reserve_attempt(other, AttemptLimits())
            return turns[-1].reserved is not None
        finally:
            await store.close()

    assert on("users", "unlock", "--email", "ada@acme.example").stderr.strip() == "nothing had failed"
    assert not finish(fail(6))
    assert on("users", "unlock", "--email", " ADA@acme.example").stderr.strip() == "forgotten"
    assert finish(fail(1))
    left = finish(fetch(migrated_url, "SELECT round(max(level)) FROM gateway_sign_in_failures"))
    assert left >= 6  # the address's own


def test_an_operator_vouches_for_accounts_by_e_mail_or_for_those_of_an_organization(
    on: Run, migrated_url: str
) -> None:
    organization = on("orgs", "create", "Acme").stdout.strip()
    made = (
        "INSERT INTO users (organization_id, email, full_name) SELECT id, local || '@acme.example', 'N' "
        "FROM organizations, unnest(ARRAY['ada', 'bob', 'cy']) local"
    )
    noted = "INSERT INTO gateway_account_origins SELECT id, email, 'registration' FROM users WHERE email LIKE 'cy%'"
    finish(execute(migrated_url, made, noted))
    assert (
        on("users", "vouch", "--email", " ADA@acme.example").stderr.strip() == "vouched for 1 of 1 accounts"
    )
    assert (
        on("users", "vouch", "--organization", organization).stderr.strip() == "vouched for 2 of 3 accounts"
    )
    proved = (
        "SELECT string_agg(email, ' ' ORDER BY email) FROM gateway_account_origins WHERE origin = 'operator'"
    )
    assert finish(fetch(migrated_url, proved)) == "ada@acme.example bob@acme.example"
    nobody = on("users", "vouch", "--email", "nobody@acme.example")
    assert nobody.exit_code == 1
    assert "no account has that e-mail" in nobody.stderr
    assert on("users", "vouch").exit_code == 2
