"""Every error says what to do next, and what takes long says that it goes on."""

from __future__ import annotations

import os
import pty
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import authcore.errors
from authcore.errors import AuthError
from gateway.commands.advice import NEXT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.commands import Run

ROOT = Path(__file__).parents[2]
ORGANIZATION = "00000000-0000-4000-8000-000000000000"

OF_REQUESTS = re.compile(
    r"Credential|Token|Ticket|Refresh|Login|ApiKey(?!Unknown)|Session|Permission|Invitation|Registration"
)
NEVER_OF_COMMANDS = {
    "UserDisabled",
    "Throttled",
    "CurrentPasswordWrong",
    "InviterUnfit",
    "CurrentPasswordIncorrect",
    "PasswordMissing",
    "SubjectUnknown",
}
"""What only a request is told; no command signs anybody in."""


def test_every_error_that_a_command_can_meet_has_its_advice() -> None:
    kinds = [getattr(authcore.errors, name) for name in authcore.errors.__all__]
    errors = [
        kind
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, AuthError) and kind is not AuthError
    ]
    assert len(errors) > 30
    for kind in errors:
        name = kind.__name__
        if (
            OF_REQUESTS.match(name)
            or name in NEVER_OF_COMMANDS
            or name in {"IssuerUnavailable", "StoreUnavailable"}
        ):
            continue
        assert any(one in NEXT for one in kind.__mro__), f"{name}: what is its operator to do?"


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (
            ("users", "create", "--email", "a@b.example", "--name", "A", "--organization", ORGANIZATION),
            "orgs create",
        ),
        (
            ("api-keys", "create", "--user", "a@b.example", "--organization", ORGANIZATION, "--name", "n"),
            "users create",
        ),
        (("api-keys", "revoke", ORGANIZATION), "api-keys list"),
    ],
)
def test_what_is_not_found_is_told_with_the_command_that_finds_or_makes_it(
    on: Run, arguments: tuple[str, ...], advice: str
) -> None:
    more = ("--generate-password",) if "users" in arguments else ()
    result = on(*arguments, *more)
    assert result.exit_code == 1
    assert f"`{advice}" in result.stderr


def test_a_database_that_does_not_answer_is_told_with_what_to_check(run: Run) -> None:
    result = run("orgs", "create", "Acme", GATEWAY_DATABASE_URL="postgresql://a@127.0.0.1:1/none")
    assert result.exit_code == 1
    assert "check that PostgreSQL runs, and that GATEWAY_DATABASE_URL names it" in result.stderr


def test_an_address_that_is_taken_is_told_with_the_setting_to_change(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for workers in ("1", "2"):
            done = subprocess.run(
                [sys.executable, "-m", "gateway", "serve", "--workers", workers],
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "GATEWAY_LISTEN": "127.0.0.1:0",
                    "GATEWAY_ADMIN_LISTEN": address,
                    "GATEWAY_DATABASE_URL": "postgresql://a@127.0.0.1:1/none",
                    "GATEWAY_JWT_SECRET": "s" * 40,
                    "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:9",
                },
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 1
            assert "set GATEWAY_ADMIN_LISTEN to another address" in done.stderr


def test_a_line_of_the_env_file_that_cannot_be_read_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GATEWAY_LISTEN=:1\nGATEWAY_JWT_ISSUER='hunter2\nGATEWAY_LOG_LEVEL\n")
    result = run("check-config")
    assert result.exit_code == 2
    assert ".env, line 2: cannot be read; write NAME=value" in result.stderr
    assert "hunter2" not in result.output


def test_other_lines_of_the_env_file_are_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# ours\n\nexport OTHER\nexport GATEWAY_LOG_LEVEL=debug\nA='b c'\n")
    assert "line" not in run("check-config").stderr


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never says a word: a database that hangs."""
    held = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"postgresql://a@127.0.0.1:{server.getsockname()[1]}/none"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for one in held:
        one.close()


def test_what_takes_longer_than_a_second_says_so_in_lines(run: Run, silent: str) -> None:
    result = run("migrate", "--check", GATEWAY_DATABASE_URL=silent)
    assert result.exit_code == 1
    assert re.search(r"^waiting for the database: \d+ s$", result.stderr, re.MULTILINE)


def test_on_a_terminal_the_seconds_are_counted_in_place(silent: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "migrate", "--check"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "GATEWAY_DATABASE_URL": silent},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait(60) == 1
    assert re.search(rb"\r\x1b\[Kwaiting for the database: \d+ s\r\x1b\[K", shown)


def test_what_is_quick_says_nothing(on: Run) -> None:
    result = on("migrate", "--check")
    assert "waiting" not in result.stderr
