"""Configuration of commands: the settings that each asks for, and how a failure is reported."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from gateway.cli import main
from gateway.commands.checking import check_config
from tests.support.commands import ENOUGH, PREVIOUS, SECRET, Run, refused
from tests.support.databases import execute, finish

NOBODY = "0b7d6f3e-6a43-4a5c-9d0e-5f1a2b3c4d5e"
"""A well-formed id that nothing has."""


ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize("place", range(3))
def test_an_argument_that_is_not_utf_8_is_refused_by_its_number(run: Run, place: int) -> None:
    arguments = ["token", "inspect", "a.b"]
    arguments[place] += "hunter2\udcff"
    result = run(*arguments, GATEWAY_JWT_SECRET=SECRET)
    refused(result, 2, f"argument {place + 1} is not UTF-8 text")
    assert "hunter2" not in result.output


@pytest.mark.parametrize("typed", ["", " \n", "Bearer \n"])
def test_a_proof_without_a_token_says_so(run: Run, typed: str) -> None:
    environment = {
        "GATEWAY_DATABASE_URL": "postgresql://db/whatomate",
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:1",
    }
    result = run("check-config", "--token", "-", typed=typed, **environment)
    assert result.exit_code == 2
    assert "Error: --token: no token was given" in result.stderr
    assert result.stdout == ""


def test_check_config_takes_a_preset_and_a_route_file(run: Run, tmp_path: Path) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text("routes:\n  - {name: open, match: {path: /open}, auth: public}\n")
    for more in ({}, {"GATEWAY_PRESET": "whatomate"}, {"GATEWAY_ROUTES": str(routes)}):
        assert run("check-config", **ENOUGH, **more).exit_code == 0
    routes.write_text("routes:\n  - {name: ours, match: {path: /api/auth/login}, auth: public}\n")
    result = run("check-config", **ENOUGH, GATEWAY_ROUTES=str(routes))
    assert result.exit_code == 2
    assert "/api/auth/login is answered by the gateway itself" in result.stderr


def test_check_config_warns_where_whatomates_pages_cannot_sign_in(run: Run) -> None:
    warning = "warning: GATEWAY_COOKIES: off, and Whatomate's pages sign in by cookies alone"
    for more, warned in (
        ({"GATEWAY_PRESET": "whatomate"}, True),
        ({"GATEWAY_PRESET": "whatomate", "GATEWAY_COOKIES": "on"}, False),
        ({}, False),
    ):
        assert (warning in run("check-config", **ENOUGH, **more).stderr) is warned


def test_check_config_warns_where_pages_of_other_origins_cannot_sign_in(run: Run) -> None:
    warning = (
        "warning: GATEWAY_CORS_CREDENTIALS: off, so pages of GATEWAY_CORS_ORIGINS may neither sign in here"
    )
    pages = {"GATEWAY_CORS_ORIGINS": "https://app.example.com"}
    for more, warned in (
        ({"GATEWAY_COOKIES": "on", **pages}, True),
        ({"GATEWAY_COOKIES": "on", **pages, "GATEWAY_CORS_CREDENTIALS": "on"}, False),
        ({"GATEWAY_COOKIES": "on"}, False),
        (pages, False),
    ):
        assert (warning in run("check-config", **ENOUGH, **more).stderr) is warned


def test_check_config_shows_what_holds_and_no_secret(run: Run) -> None:
    result = run(
        "check-config",
        GATEWAY_DATABASE_URL="postgresql://u:hunter2@db/whatomate",
        GATEWAY_JWT_SECRET=SECRET,
        GATEWAY_JWT_PREVIOUS_SECRETS=PREVIOUS,
        GATEWAY_UPSTREAM_URL="http://app:3000",
        GATEWAY_TRUSTED_PROXIES="10.0.0.0/8,192.0.2.0/24",
    )
    assert result.exit_code == 0
    shown = dict(line.split("=", 1) for line in result.stdout.splitlines())
    assert shown["GATEWAY_JWT_SECRET"] == shown["GATEWAY_DATABASE_URL"] == "(hidden)"
    assert shown["GATEWAY_JWT_PREVIOUS_SECRETS"] == "(1 hidden)"
    assert shown["GATEWAY_TRUSTED_PROXIES"] == "10.0.0.0/8,192.0.2.0/24"
    assert shown["GATEWAY_LISTEN"] == "0.0.0.0:8080"
    assert shown["GATEWAY_LOG_ACCESS"] == "true"
    assert shown["GATEWAY_TIMEOUT_DRAIN_SECONDS"] == "30"
    for secret in ("hunter2", SECRET, PREVIOUS):
        assert secret not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("migrate",),
        ("orgs", "create", "Acme"),
        ("api-keys", "revoke", NOBODY),
        ("api-keys", "list", "--organization", NOBODY),
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


def test_a_database_url_that_the_driver_cannot_read_is_told_without_its_password(run: Run) -> None:
    result = run(
        "migrate", GATEWAY_DATABASE_URL="postgresql://u:hunter2@127.0.0.1:1/x?sslnegotiation=hunter2"
    )
    refused(result, 2, "GATEWAY_DATABASE_URL: the database driver cannot read it")
    assert "hunter2" not in result.output


def test_the_version_and_the_commands_are_told(run: Run) -> None:
    assert run("--version").stdout.startswith("whatomate-gateway, version ")
    text = run("-h").stdout
    for command in ("serve", "dev", "migrate", "check-config", "orgs", "users", "api-keys", "token"):
        assert f"\n  {command} " in text


def test_every_command_says_what_it_is_for() -> None:
    for command in main.commands.values():
        assert command.help, command.name
    assert main.commands["check-config"] is check_config


GOOD = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:3000"}


def near(service: str) -> dict[str, str]:
    """Return a good configuration, with an upstream that takes connections."""
    return {**GOOD, "GATEWAY_UPSTREAM_URL": f"http://{service}"}


def test_with_connect_what_serves_is_found_in_order(run: Run, migrated_url: str, service: str) -> None:
    urls = dict.fromkeys(
        ("GATEWAY_DATABASE_URL", "GATEWAY_DATABASE_LISTEN_URL", "GATEWAY_MIGRATE_DATABASE_URL"), migrated_url
    )
    result = run("check-config", "--connect", **near(service), **urls)
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("url", "what", "advice"),
    [
        ("postgresql://127.0.0.1:1/w", "does not answer", "check that PostgreSQL runs"),
        ("postgresql://gateway@nowhere.invalid/w", "does not answer", "check the host name"),
        ("{server}/not_there", 'database "not_there" does not exist', "check the name of the database"),
        ("nobody@{database}", 'role "nobody" does not exist', "check user and password"),
    ],
)
def test_with_connect_what_keeps_it_from_serving_is_named_with_what_to_do(
    run: Run, database_url: str, service: str, url: str, what: str, advice: str
) -> None:
    parts = urlsplit(database_url)
    if url.startswith("nobody@"):
        url = urlunsplit(parts._replace(netloc="nobody@"))
    url = url.replace("{database}", database_url).replace(
        "{server}/not_there", urlunsplit(parts._replace(path="/not_there"))
    )
    result = run("check-config", "--connect", **near(service), GATEWAY_DATABASE_URL=url)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: GATEWAY_DATABASE_URL: ")
    assert what in result.stderr
    assert advice in result.stderr
    assert "Traceback" not in result.output


def test_with_connect_each_missing_right_is_named(run: Run, migrated_url: str, service: str) -> None:
    role = f"lesser_{uuid4().hex[:8]}"
    finish(execute(migrated_url, f"CREATE ROLE {role} LOGIN"))
    try:
        assert run("migrate", "--grant-to", role, GATEWAY_DATABASE_URL=migrated_url).exit_code == 0
        own = urlunsplit(urlsplit(migrated_url)._replace(netloc=f"{role}@"))
        assert run("check-config", "--connect", **near(service), GATEWAY_DATABASE_URL=own).exit_code == 0
        finish(execute(migrated_url, f"REVOKE INSERT ON gateway_sessions, users FROM {role}"))
        result = run("check-config", "--connect", **near(service), GATEWAY_DATABASE_URL=own)
        assert result.exit_code == 2
        assert "its user lacks INSERT on users, INSERT on gateway_sessions; let the owner" in result.stderr
    finally:
        finish(execute(migrated_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}"))


def test_with_connect_a_database_that_is_not_migrated_is_named(
    run: Run, database_url: str, service: str
) -> None:
    result = run("check-config", "--connect", **near(service), GATEWAY_DATABASE_URL=database_url)
    assert result.exit_code == 2
    assert "migrations are pending: 0001_" in result.stderr
    assert "run migrate" in result.stderr


ISSUER = {
    "GATEWAY_DATABASE_URL": "postgresql://u@db/whatomate",
    "GATEWAY_JWT_SECRET": SECRET,
    "GATEWAY_UPSTREAM_URL": "http://app:3000",
    "GATEWAY_ISSUER_URL": "https://id.example",
    "GATEWAY_ISSUER_JWKS_URL": "https://id.example/certs",
    "GATEWAY_ISSUER_AUDIENCE": "whatomate",
}


def test_an_issuer_by_e_mail_and_open_registration_are_named_together(run: Run) -> None:
    result = run("check-config", **ISSUER)
    assert result.exit_code == 0
    assert (
        "warning: GATEWAY_ISSUER_URL: users are found by e-mail while GATEWAY_REGISTRATION=open"
        in result.stderr
    )
    for other in ({"GATEWAY_REGISTRATION": "invite"}, {"GATEWAY_ISSUER_CLAIM_USER_ID": "sub"}):
        assert "found by e-mail" not in run("check-config", **ISSUER, **other).stderr
    assert "found by e-mail" not in run("check-config", **{**ISSUER, "GATEWAY_ISSUER_URL": ""}).stderr


def test_unproved_e_mails_and_open_registration_are_no_configuration(run: Run) -> None:
    result = run("check-config", **ISSUER, GATEWAY_ISSUER_UNPROVED_EMAIL="on")
    assert result.exit_code == 2
    assert "GATEWAY_ISSUER_UNPROVED_EMAIL: on with GATEWAY_REGISTRATION=open" in result.stderr
    agreed = run("check-config", **ISSUER, GATEWAY_ISSUER_UNPROVED_EMAIL="on", GATEWAY_REGISTRATION="closed")
    assert agreed.exit_code == 0


def test_a_foreign_token_fits_into_a_head(run: Run) -> None:
    result = run("check-config", **ISSUER, GATEWAY_ISSUER_TOKEN_BYTES="32768")
    assert result.exit_code == 2
    assert (
        "GATEWAY_ISSUER_TOKEN_BYTES: 32768 should be less than GATEWAY_LIMIT_HEAD_BYTES, 32768"
        in result.stderr
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve",),
        ("serve", "--workers", "2"),
        ("check-config",),
        ("migrate", "--check"),
        ("dev",),
        ("token", "inspect"),
        ("keys", "list"),
        ("orgs", "create", "Acme"),
        ("routes", "list"),
        ("explain", "GET", "/"),
        ("quotas", "list"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("place", ["environment", ".env", "secrets folder"])
def test_no_command_runs_beside_a_mistyped_setting(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], place: str
) -> None:
    environment = {**GOOD, "GATEWAY_DATABASE_URL": "postgresql://u@127.0.0.1:1/w"}
    name = "GATEWAY_REGISTRATOIN"
    if place == "environment":
        environment[name] = "closed"
    elif place == ".env":
        (tmp_path / ".env").write_text(f"{name}=closed\n")
    else:
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets" / name).write_text("closed\n")
        environment["GATEWAY_SECRETS_DIR"] = str(tmp_path / "secrets")
    result = run(*arguments, **environment)
    assert result.exit_code == 2
    assert f"Error: {name}: no such setting (" in result.stderr
    assert "did you mean GATEWAY_REGISTRATION?" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("name", ["GATEWAY_JWT_SECRET", "GATEWAY_JWT_PREVIOUS_SECRETS"])
def test_a_secret_of_public_examples_is_warned_of_and_not_printed(run: Run, name: str) -> None:
    published = "your-super-secret-jwt-key-change-in-production"
    result = run("check-config", **{**ENOUGH, name: published})
    assert result.exit_code == 0, result.stderr
    assert f"warning: {name}: stands in Whatomate's public examples" in result.stderr
    assert published not in result.output
    assert "public examples" not in run("check-config", **ENOUGH).stderr


@pytest.mark.parametrize(
    ("name", "value", "warning"),
    [
        ("GATEWAY_JWT_SECRET", f'"{SECRET}"', "has quotation marks around it"),
        ("GATEWAY_JWT_SECRET", f"{SECRET}\n", "begins or ends with a space or a line end"),
        ("GATEWAY_JWT_PREVIOUS_SECRETS", f"{SECRET},'{PREVIOUS}'", "has quotation marks around it"),
        ("GATEWAY_JWT_ISSUER", "'whatomate'", "has quotation marks around it"),
        ("GATEWAY_PROTECTED_PATHS", "", "is empty, so no path needs a credential"),
        ("GATEWAY_CORS_CREDENTIALS", "on", "has no effect while GATEWAY_CORS_ORIGINS names nobody"),
        ("GATEWAY_COOKIE_DOMAIN", "example.com", "has no effect while GATEWAY_COOKIES is off"),
        ("GATEWAY_SIGNED_KEY", SECRET, "has no effect while GATEWAY_SIGNED_IDENTITY is off"),
        ("GATEWAY_ISSUER_AUDIENCE", "me", "has no effect while GATEWAY_ISSUER_URL is not set"),
    ],
)
def test_check_config_warns_of_a_value_that_is_probably_not_what_was_meant(
    name: str, value: str, warning: str, run: Run
) -> None:
    result = run("check-config", **{**ENOUGH, name: value})
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith(f"warning: {name}: {warning}")
    assert SECRET not in result.output


def test_check_config_does_not_warn_of_values_that_may_be_meant(run: Run) -> None:
    meant = {
        "GATEWAY_ADMIN_TOKEN": f" {SECRET}\n",
        "GATEWAY_JWT_ISSUER": "it's",
        "GATEWAY_PROTECTED_PATHS": "/*",
        "GATEWAY_DATABASE_PASSWORD": "'",
    }
    assert run("check-config", **ENOUGH, **meant).stderr == ""


def test_check_config_prints_each_setting_on_one_line_and_unrounded(run: Run) -> None:
    odd = {"GATEWAY_JWT_ISSUER": "a\nGATEWAY_SHADOW=true\x1b[2J", "GATEWAY_WS_MAX_SECONDS": "1234567.5"}
    lines = run("check-config", **ENOUGH, **odd).stdout.splitlines()
    assert "GATEWAY_JWT_ISSUER=a\\nGATEWAY_SHADOW=true\\x1b[2J" in lines
    assert "GATEWAY_SHADOW=false" in lines
    assert "GATEWAY_SHADOW=true" not in lines
    assert "GATEWAY_WS_MAX_SECONDS=1234567.5" in lines
