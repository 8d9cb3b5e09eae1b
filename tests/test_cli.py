"""Every command and every way it refuses, against a real database."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner

from authcore.keys import KeyRing
from authcore.tokens import Tokens
from gateway.cli import main
from gateway.commands.serving import check_config
from tests.conftest import execute, fetch, finish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

    Run = Callable[..., Result]

ROOT = Path(__file__).parents[1]
SECRET = "a-secret-of-thirty-two-bytes-or-more-0123"
PREVIOUS = "the-secret-before-that-one-of-32-bytes-or-more"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command line in an empty folder, in an environment of GATEWAY_* names given as keywords."""
    monkeypatch.chdir(tmp_path)  # away from the developer's .env
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)

    def invoke(*arguments: str, typed: str = "", **environment: str) -> Result:
        return CliRunner().invoke(
            main,
            arguments,
            input=typed,
            env=dict(environment),
            catch_exceptions=False,
            prog_name="whatomate-gateway",
        )

    return invoke


@pytest.fixture
def on(run: Run, migrated_url: str) -> Run:
    """The same, with a migrated database configured."""

    def invoke(*arguments: str, **more: str) -> Result:
        return run(*arguments, **{"GATEWAY_DATABASE_URL": migrated_url, **more})

    return invoke


@pytest.fixture
def organization(on: Run) -> str:
    return on("orgs", "create", "Acme").stdout.strip()


@pytest.fixture
def user(on: Run, organization: str) -> str:
    arguments = (
        "--email",
        "ada@acme.example",
        "--name",
        "Ada",
        "--organization",
        organization,
        "--role",
        "admin",
    )
    return on("users", "create", *arguments, "--password-stdin", typed="correct horse\n").stdout.strip()


def refused(result: Result, code: int, *errors: str) -> None:
    """The result is a refusal: that exit code, those lines, nothing on standard output, no traceback."""
    assert result.exit_code == code, result.output
    assert [line for line in result.stderr.splitlines() if line.startswith("Error: ")] == [
        f"Error: {error}" for error in errors
    ]
    assert "Traceback" not in result.output


# -- configuration ----------------------------------------------------------------------------------------------


def test_check_config_reports_every_problem_and_exits_with_two(run: Run) -> None:
    result = run("check-config", GATEWAY_JWT_SECRET="short", GATEWAY_DATABASE_POOL_MAX="none")
    assert result.exit_code == 2
    names = [line.split(": ")[1] for line in result.stderr.splitlines()]
    assert names == [
        "GATEWAY_DATABASE_POOL_MAX",
        "GATEWAY_DATABASE_URL",
        "GATEWAY_JWT_SECRET",
        "GATEWAY_UPSTREAM_URL",
    ]
    assert result.stdout == ""


def test_check_config_shows_what_holds_and_no_secret(run: Run) -> None:
    result = run(
        "check-config",
        GATEWAY_DATABASE_URL="postgresql://u:hunter2@db/whatomate",
        GATEWAY_JWT_SECRET=SECRET,
        GATEWAY_JWT_PREVIOUS_SECRETS=PREVIOUS,
        GATEWAY_UPSTREAM_URL="http://app:3000",
        GATEWAY_TRUSTED_PROXIES="10.0.0.0/8,192.0.2.0/24",
        GATEWAY_LISTENN="oops",
    )
    assert result.exit_code == 0
    shown = dict(line.split("=", 1) for line in result.stdout.splitlines())
    assert shown["GATEWAY_JWT_SECRET"] == shown["GATEWAY_DATABASE_URL"] == "(hidden)"
    assert shown["GATEWAY_JWT_PREVIOUS_SECRETS"] == "(1 hidden)"
    assert shown["GATEWAY_TRUSTED_PROXIES"] == "10.0.0.0/8,192.0.2.0/24"
    assert shown["GATEWAY_LISTEN"] == "0.0.0.0:8080"
    assert shown["GATEWAY_LOG_ACCESS"] == "true"
    assert shown["GATEWAY_TIMEOUT_DRAIN_SECONDS"] == "30"
    assert "did you mean GATEWAY_LISTEN?" in result.stderr
    for secret in ("hunter2", SECRET, PREVIOUS):
        assert secret not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("migrate",),
        ("orgs", "create", "Acme"),
        ("api-keys", "revoke", str(uuid4())),
        ("api-keys", "list", "--organization", str(uuid4())),
    ],
)
def test_a_command_asks_for_the_database_alone(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: GATEWAY_DATABASE_URL: required")
    assert len(result.stderr.splitlines()) == 1


def test_a_database_that_is_away_is_told_without_its_password(run: Run, tmp_path: Path) -> None:
    result = run(
        "orgs", "create", "Acme", GATEWAY_DATABASE_URL=f"postgresql://u:hunter2@/x?host={tmp_path}/none"
    )
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: the database does not answer: ")
    assert "hunter2" not in result.output
    assert "Traceback" not in result.output


def test_the_version_and_the_commands_are_told(run: Run) -> None:
    assert run("--version").stdout.startswith("whatomate-gateway, version ")
    text = run("-h").stdout
    for command in ("serve", "dev", "migrate", "check-config", "orgs", "users", "api-keys", "token"):
        assert f"\n  {command} " in text


def test_every_command_says_what_it_is_for() -> None:
    for command in main.commands.values():
        assert command.help, command.name
    assert main.commands["check-config"] is check_config


# -- migrate ----------------------------------------------------------------------------------------------------


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


# -- organizations and users ------------------------------------------------------------------------------------


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
    from authcore.passwords import Passwords  # noqa: PLC0415 - the one test that needs it

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
        ({"--organization": str(uuid4())}, "correct horse", "Organization not found"),
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


# -- API keys ---------------------------------------------------------------------------------------------------


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
    key_id, prefix, state, expires, used, name = line.split("\t")
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
        ("--user", "nobody@acme.example", 1, "User not found"),
        ("--organization", str(uuid4()), 1, "Organization not found"),
        ("--organization", "acme", 2, "Invalid value for '--organization': 'acme' is not a valid UUID."),
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


# -- token inspect ----------------------------------------------------------------------------------------------


def token(secret: str = SECRET, *, now: float | None = None, email: str = "ada@acme.example") -> str:
    tokens = Tokens(
        KeyRing(secret.encode()),
        issuer="whatomate",
        leeway_seconds=0,
        access_seconds=3600,
        refresh_seconds=7200,
    )
    return tokens.issue_access(
        user_id=UUID(int=1),
        organization_id=UUID(int=2),
        email=email,
        role_id=None,
        is_super_admin=False,
        now=time.time() if now is None else now,
    )


def test_a_valid_token_is_explained_without_signature_and_secret(run: Run) -> None:
    text = token()
    for arguments, typed in (((text,), ""), (("-",), text + "\n"), ((), f"Bearer {text}\n")):
        result = run("token", "inspect", *arguments, typed=typed, GATEWAY_JWT_SECRET=SECRET)
        assert result.exit_code == 0, result.output
        lines = result.stdout.splitlines()
        assert lines[:3] == ["valid", "kind       access", "signature  genuine"]
        assert "claim      email: ada@acme.example" in lines
        assert f"claim      organization_id: {UUID(int=2)}" in lines
        assert any(line.startswith("claim      exp: ") and line.endswith("+00:00)") for line in lines)
        assert SECRET not in result.output
        assert text.rpartition(".")[2] not in result.output


def test_a_token_of_a_previous_secret_is_valid(run: Run) -> None:
    environment = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_JWT_PREVIOUS_SECRETS": PREVIOUS}
    assert run("token", "inspect", token(PREVIOUS), **environment).exit_code == 0


@pytest.mark.parametrize(
    ("text", "reason", "signature"),
    [
        (token(now=1_000_000_000), "it has expired", "genuine"),
        (token(PREVIOUS), "its signature is by none of the configured secrets", "NOT genuine"),
        ("nonsense", "it is not a ", "NOT genuine"),
    ],
    ids=["expired", "forged", "nonsense"],
)
def test_a_token_that_is_not_valid_is_told_why_and_exits_with_one(
    text: str, reason: str, signature: str, run: Run
) -> None:
    result = run("token", "inspect", text, GATEWAY_JWT_SECRET=SECRET)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"not valid: {reason}")
    assert lines[2].startswith(f"signature  {signature}")


def test_a_token_cannot_write_to_the_terminal(run: Run) -> None:
    result = run("token", "inspect", token(email="\x1b[2J\u202e@acme"), GATEWAY_JWT_SECRET=SECRET)
    assert r"email: \u001b[2J\u202e@acme" in result.stdout
    assert "\x1b" not in result.output


def test_inspecting_needs_the_secret(run: Run) -> None:
    result = run("token", "inspect", "x")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: GATEWAY_JWT_SECRET: required")


# -- serve, as a process ----------------------------------------------------------------------------------------


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return clean | {
        "PYTHONPATH": str(ROOT),
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:9",
        "GATEWAY_LISTEN": "127.0.0.1:0",
        "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
    }


@pytest.fixture
def served(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--migrate"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def test_serve_migrates_listens_and_leaves_on_sigterm_with_zero(served: subprocess.Popen[str]) -> None:
    for event in events(served):
        if event["event"] == "listening":
            break
    host, port = event["admin"]
    with urllib.request.urlopen(f"http://{host}:{port}/readyz", timeout=10) as answer:
        assert answer.status == 200
    served.send_signal(signal.SIGTERM)
    assert [event["event"] for event in events(served)][-1] == "stopped"
    assert served.wait(10) == 0


def test_serve_says_which_setting_names_an_address_that_is_taken(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = subprocess.run(
            [sys.executable, "-m", "gateway", "serve"],
            env=environment | {"GATEWAY_LISTEN": address},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: GATEWAY_LISTEN={address}: ")


def test_serve_does_not_start_on_a_short_secret(environment: dict[str, str], tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gateway", "serve"],
        env=environment | {"GATEWAY_JWT_SECRET": "short"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("Error: GATEWAY_JWT_SECRET: only 5 bytes long")
    assert result.stdout == ""
