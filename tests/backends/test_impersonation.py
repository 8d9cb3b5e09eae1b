"""dev --as: what a service under test is sent in the name of somebody who is made up, while nothing runs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from authcore.crypto.pem import generate_pem, parse_pem
from authcore.permissions import ROLES
from gateway.dev.folder import shared_folder
from tests.backends.services import KEY_SET, python_command, serving
from tests.support.commands import Run, refused, run
from tests.support.peers import Upstream
from tests.support.ports import free_port
from tests.support.programs import program
from whatomate_identity import Identity, IdentityRejected, KeySet, Verifier
from whatomate_identity.verifier import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["run"]

SECONDS = 60
AS = ("dev", "--data-dir", ".data", "--as", "agent@demo")
SIGNED = (*AS, "--sign", "--json")


def made(run: Run, *arguments: str, **environment: str) -> dict[str, Any]:
    result = run(*AS, "--json", *arguments, **environment)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def verified(document: dict[str, Any], target: str = "/", method: str = "GET", **options: Any) -> Identity:
    keys = KeySet("http://gateway" + KEY_SET, fetch=lambda: json.dumps(document["jwks"]).encode())
    headers = [(name.encode(), value.encode()) for name, value in document["headers"].items()]
    return Verifier(keys, **{"audience": "upstream", **options}).verify(
        method, path_of(target.encode()), headers
    )


def test_a_service_is_sent_what_the_gateway_would_send_of_such_a_caller(run: Run) -> None:
    document = made(run)
    sent = document["headers"]
    assert sent["X-User-Email"] == "agent@demo.example"
    assert (sent["X-User-Role"], sent["X-Auth-Method"], sent["X-User-Super-Admin"]) == (
        "agent",
        "jwt",
        "false",
    )
    assert set(sent["X-User-Permissions"].split(",")) == ROLES["agent"].permissions
    assert "X-Identity" not in sent
    assert {"X-User-ID", "X-Org-ID", "X-User-Role-ID", "X-User-Name", "X-Request-ID"} <= set(sent)
    again = made(run)["headers"]
    assert {**again, "X-Request-ID": ""} == {**sent, "X-Request-ID": ""}  # the same ids each time
    other = made(run, "--as", "manager@demo")["headers"]
    assert other["X-Org-ID"] == sent["X-Org-ID"]
    assert other["X-User-ID"] != sent["X-User-ID"]
    assert set(other["X-User-Permissions"].split(",")) == ROLES["manager"].permissions


def test_every_part_of_a_caller_can_be_said(run: Run) -> None:
    home = "22222222-2222-4222-8222-222222222222"
    document = made(
        run, "--sign", "--name", "Zoë 李", "--role", "auditor", "--permissions", "chat:read, contacts:read",
        "--organization", home, "--auth", "api_key", "--super-admin", "--audience", "billing", "--method", "delete",
        "--path", "/café/7?page=2", "--seconds", "90",
    )  # fmt: skip
    identity = verified(document, "/caf%C3%A9/7", "DELETE", audience="billing")
    assert (identity.name, identity.role, identity.organization_id) == ("Zoë 李", "auditor", home)
    assert identity.permissions == frozenset({"chat:read", "contacts:read"})
    assert (identity.auth_method, identity.is_super_admin) == ("api_key", True)
    assert identity.key_id == document["headers"]["X-Auth-Key-ID"]
    assert identity.request_id == document["headers"]["X-Request-ID"]
    assert abs(identity.expires_at - time.time() - 90) < 60
    assert "X-User-Permissions" not in made(run, "--permissions", "")["headers"]
    assert "X-User-Name" not in made(run, "--name", "")["headers"]
    assert verified(made(run, "--sign", "--name", "")).name == ""
    assert verified(made(run, "--sign", "--permissions", "")).permissions == frozenset()


def test_a_key_is_made_once_where_none_is_configured_and_never_shown(run: Run, tmp_path: Path) -> None:
    first = run(*SIGNED)
    file = tmp_path / ".data" / "identity-key.pem"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().splitlines()[1] not in first.output
    document = json.loads(first.stdout)
    assert verified(document).email == "agent@demo.example"
    assert document["jwks"] == json.loads((tmp_path / ".data" / "identity-jwks.json").read_text())
    assert str(tmp_path / ".data" / "identity-jwks.json") in first.stderr
    assert made(run, "--sign")["jwks"] == document["jwks"]
    assert made(run)["jwks"] == {"keys": []}


def test_what_is_not_signed_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    result = run("dev", "--as", "agent@demo")
    assert result.exit_code == 0
    assert "X-User-Email: agent@demo.example\n" in result.stdout
    assert "--sign" in result.stderr
    assert not list(tmp_path.iterdir())
    assert not shared_folder(tmp_path).exists()


def test_the_key_that_is_configured_signs_as_it_would_serve(run: Run, tmp_path: Path) -> None:
    key = generate_pem("EdDSA")
    document = made(
        run,
        GATEWAY_SIGNED_IDENTITY="EdDSA",
        GATEWAY_SIGNED_KEY=key.decode(),
        GATEWAY_SIGNED_ISSUER="ours",
        GATEWAY_HEADER_USER_ID="X-Me",
        GATEWAY_UPSTREAM_IDENTITY="user_id,identity",
    )
    assert [one["kid"] for one in document["jwks"]["keys"]] == [parse_pem(key).kid]
    assert set(document["headers"]) == {"X-Me", "X-Identity", "X-Request-ID"}
    assert verified(document, issuer="ours").user_id == document["headers"]["X-Me"]
    assert not (tmp_path / ".data").exists()


def test_an_identity_that_has_expired_can_be_made(run: Run) -> None:
    with pytest.raises(IdentityRejected, match="expired"):
        verified(made(run, "--sign", "--seconds", "-60"))


def test_a_header_can_be_added_or_be_a_lie(run: Run) -> None:
    document = made(run, "--sign", "--header", "x-user-id=somebody else", "--header", "Accept=text/html")
    assert document["headers"]["x-user-id"] == "somebody else"
    assert document["headers"]["Accept"] == "text/html"
    assert "X-User-ID" not in document["headers"]
    assert verified(document).user_id != "somebody else"


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("--as", "agent"), 1, "--as 'agent' should be name@organization"),
        (("--as", "agent@demo", "--path", "/a//b"), 1, "the gateway would send no such request"),
        (("--as", "agent@demo", "--path", "/%2561"), 1, "the gateway would send no such request"),
        (("--as", "agent@demo", "--path", "bills"), 1, "the gateway would send no such request: a path begins with /"),
        (("--as", "agent@demo", "--path", ""), 1, "the gateway would send no such request: a path begins with /"),
        (("--as", "agent@demo", "--url", "http://h:1/base"), 1, "--url 'http://h:1/base' should be http://host:port"),
        (("--as", "agent@demo", "--url", "http://h:1?a=b"), 1, "--url 'http://h:1?a=b' should be http://host:port"),
        (("--as", "agent@demo", "--url", "http://h:port"), 1, "--url 'http://h:port' should be http://host:port"),
        (("--as", "agent@demo", "--url", "ftp://h"), 1, "--url 'ftp://h' should be http://host:port"),
        (("--as", "agent@demo\n"), 1, "the gateway would send no such request"),
        (("--as", "agent@demo", "--serve-keys", ":0"), 1, "--serve-keys has no public keys to serve"),
        (("--as", "agent@demo", "--header", "nonsense"), 2, "Invalid value for '--header': 'nonsense' should be"),
        (("--as", "agent@demo", "--header", "A=b\r\nC: d"), 2, "Invalid value for '--header'"),
        (("--as", "agent@demo", "--method", "GET /"), 2, "Invalid value for '--method'"),
        (("--as", "agent@demo", "--serve-keys", "here"), 2, "Invalid value for '--serve-keys'"),
        (("--path", "/bills"), 2, "--path goes with --as WHO"),
        (("--json",), 2, "--json goes with --as WHO"),
        (("--header", "A=b"), 2, "--header goes with --as WHO"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_refused_in_one_line(
    run: Run, arguments: tuple[str, ...], code: int, error: str
) -> None:
    result = run("dev", "--data-dir", ".data", *arguments)
    assert result.exit_code == code
    (line,) = [one for one in result.stderr.splitlines() if one.startswith("Error: ")]
    assert line.startswith(f"Error: {error}")
    assert "Traceback" not in result.output


@pytest.mark.parametrize("url", ["http://[::1]:3000", "http://[::1]:3000/", "[::1]:3000"])
def test_a_line_of_curl_sends_the_very_path_that_was_asked_for(run: Run, url: str) -> None:
    (line,) = made(run, "--url", url, "--path", "/bills/7?page=2")["curl"]
    assert "http://[::1]:3000/bills/7?page=2" in shlex.split(line)


def test_a_reader_who_has_seen_enough_is_no_reason_to_choose_another_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gateway", *AS]
    environment = {"PYTHONPATH": ":".join(one for one in sys.path if one)}
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=write,
            stderr=subprocess.PIPE,
            timeout=SECONDS,
            check=False,
        )
    finally:
        os.close(write)
    assert done.returncode == 1
    assert done.stderr == b""


@pytest.fixture
def key_server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A run that serves its keys: their URL, and the lines of curl that it has printed."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "gateway", *AS, "--sign", "--name", "Zoë"),
        *("--url", f"http://127.0.0.1:{port}", "--path", "/bills/7?page=2", "--serve-keys", "127.0.0.1:0"),
    ]
    environment = {"PYTHONPATH": ":".join(one for one in sys.path if one), "PYTHONUNBUFFERED": "1"}
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=out, stderr=err)
    try:
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(r"serving it at (\S+),", (tmp_path / "err").read_text())):
            assert process.poll() is None, (tmp_path / "err").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        lines = [line for line in (tmp_path / "out").read_text().splitlines() if line.startswith("curl ")]
        yield found[1], lines
        process.terminate()
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait(SECONDS)


def output_of(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
    return done.stdout.decode()


async def test_the_lines_of_curl_try_a_service_that_runs(key_server: tuple[str, list[str]]) -> None:
    curl = program("curl")
    keys_url, lines = key_server
    (port,) = {int(found[1]) for line in lines if (found := re.search(r"127\.0\.0\.1:(\d+)/", line))}
    async with serving(python_command("aiohttp"), port, keys_url, "upstream"):
        answers = [await asyncio.to_thread(output_of, curl, *shlex.split(line)[1:]) for line in lines]
    assert [answer.split()[1] for answer in answers] == ["200", "401", "401"]
    assert json.loads(answers[0].splitlines()[-1])["name"] == "Zoë"


async def test_the_line_for_a_head_comes_to_an_end(run: Run) -> None:
    port = free_port()
    lines = made(run, "--sign", "--method", "HEAD", "--url", f"127.0.0.1:{port}")["curl"]
    async with Upstream(port=port):
        for line in lines:
            answer = await asyncio.to_thread(output_of, program("curl"), *shlex.split(line)[1:])
            assert answer.startswith("HTTP/1.1 200 OK")


def test_refusals_of_the_configuration_are_those_of_every_command(run: Run) -> None:
    result = run(*SIGNED, GATEWAY_SIGNED_IDENTITY="EdDSA")
    refused(result, 2, "GATEWAY_SIGNED_KEY: required with GATEWAY_SIGNED_IDENTITY=EdDSA")


def test_a_key_that_cannot_sign_is_found_before_anything_serves(run: Run) -> None:
    needed = {
        "GATEWAY_DATABASE_URL": "postgresql://x@127.0.0.1/x",
        "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:3000",
    }
    for key in (generate_pem("RS256"), b"-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n"):
        result = run(
            "check-config",
            **needed,
            GATEWAY_JWT_SECRET="a-secret-of-thirty-two-bytes-or-more-0123",
            GATEWAY_SIGNED_IDENTITY="EdDSA",
            GATEWAY_SIGNED_KEY=key.decode(),
        )
        assert result.exit_code == 2
        (line,) = [one for one in result.stderr.splitlines() if one.startswith("Error: ")]
        assert line.startswith("Error: GATEWAY_SIGNED_KEY: ")
        assert "nonsense" not in result.output
