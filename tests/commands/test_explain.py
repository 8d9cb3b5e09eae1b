"""whatomate-gateway explain: by the settings and the database, with no gateway running."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.commands import SECRET, refused

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from tests.support.commands import Run

ROUTES = """
routes:
  - {name: users, auth: required, require: ["users:read"], match: {path: /api/users}}
  - {name: rest, auth: public, match: {path: "/*"}}
"""
BASE = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:1"}


def explain(on: Run, *arguments: str, **more: str) -> Result:
    return on("explain", *arguments, **{**BASE, **more})


def routes(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return {"GATEWAY_ROUTES": str(tmp_path / "routes.yaml")}


def test_of_a_permitted_caller_explain_prints_what_the_upstream_gets(
    on: Run, user: str, organization: str, tmp_path: Path
) -> None:
    result = explain(on, "--as", "ada@acme", "GET", "/api/users", **routes(tmp_path))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:5] == [
        "request     GET /api/users",
        "route       users (required; all of users:read) to upstream",
        "credential  jwt",
        f"caller      ada@acme.example (admin) in organization {organization}",
        "verdict     may pass",
    ]
    assert f"            X-User-ID: {user}" in lines
    assert "            Authorization: (redacted)" in lines
    assert "eyJ" not in result.output


def test_of_a_refused_caller_explain_prints_what_is_missing(
    on: Run, organization: str, tmp_path: Path
) -> None:
    arguments = (
        "--email",
        "bob@acme.example",
        "--name",
        "Bob",
        "--organization",
        organization,
        "--password-stdin",
    )
    assert on("users", "create", *arguments, typed="correct horse\n").exit_code == 0
    result = explain(on, "--as", "bob@acme.example", "get", "/api/users", **routes(tmp_path))
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-2:] == [
        "verdict     refused with 403: Missing permission users:read",
        "missing     all of users:read",
    ]
    told = json.loads(
        explain(on, "--json", "--as", "bob@acme", "GET", "/api/users", **routes(tmp_path)).stdout
    )
    assert told["verdict"]["missing"] == ["users:read"]
    assert told["principal"]["role"] == "agent"


def test_an_organization_is_named_by_id_slug_or_name(
    on: Run, user: str, organization: str, tmp_path: Path
) -> None:
    for named in (organization, "acme", "ACME"):
        result = explain(
            on, "--as", "ada@acme.example", "--organization", named, "GET", "/api/users", **routes(tmp_path)
        )
        assert (result.exit_code, f"in organization {organization}" in result.stdout) == (0, True), (
            result.output
        )
    refused(
        explain(on, "--as", "ada@acme", "--organization", "nowhere", "GET", "/api/users", **routes(tmp_path)),
        3,
        "No organization has the slug or the name 'nowhere'; `orgs list` shows those there are",
    )


def test_nobody_asks_unless_said_otherwise(on: Run, tmp_path: Path) -> None:
    result = explain(on, "GET", "/api/users", **routes(tmp_path))
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "verdict     refused with 401: Missing authorization"
    assert explain(on, "GET", "/", **routes(tmp_path)).exit_code == 0
    result = explain(on, "--header", "X-API-Key: nonsense", "GET", "/api/users", **routes(tmp_path))
    assert result.stdout.splitlines()[-1] == "verdict     refused with 401: Invalid API key"


def test_an_options_request_that_the_gateway_answers_is_explained(on: Run, tmp_path: Path) -> None:
    for arguments in (("--header", "Max-Forwards: 0", "OPTIONS", "/api/users"), ("OPTIONS", "*")):
        result = explain(on, *arguments, **routes(tmp_path))
        assert result.exit_code == 0, result.output
        assert (
            result.stdout.splitlines()[-1] == "verdict     answered by the gateway: the methods that it takes"
        )


def test_what_cannot_be_asked_is_said(on: Run, user: str, tmp_path: Path) -> None:
    refused(
        explain(on, "--as", "eve@acme", "GET", "/"),
        3,
        "Nobody is called 'eve@acme': give an e-mail address, a user id, or name@organization",
    )
    refused(explain(on, "--client", "x", "GET", "/"), 2, "client: Input is not a valid IPv4 address")
    refused(explain(on, "G T", "/"), 2, "method should be a method, such as GET")
    (tmp_path / "bad.yaml").write_text("routes: [{name: x}]\n")
    result = explain(on, "GET", "/", GATEWAY_ROUTES=str(tmp_path / "bad.yaml"))
    assert result.exit_code != 0
    assert "bad.yaml:1" in result.stderr


def test_a_database_that_is_away_is_said(run: Run) -> None:
    away = {**BASE, "GATEWAY_DATABASE_URL": "postgresql://gateway@127.0.0.1:1/none"}
    result = run("explain", "--as", "ada@acme", "GET", "/", **away)
    assert result.exit_code == 3
    assert "the database does not answer" in result.stderr


def test_what_is_no_admin_listener_is_said(run: Run) -> None:
    result = run("explain", "--gateway", "http://127.0.0.1:1", "GET", "/")
    assert result.exit_code == 3
    assert "http://127.0.0.1:1 does not answer as a gateway's admin listener" in result.stderr
    assert run("explain", "--gateway", "file:///etc", "GET", "/").exit_code == 2
