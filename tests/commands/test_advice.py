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
from gateway.commands.progress import working
from tests.support.processes import PROCESS_SECONDS
from tests.support.terminals import all_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.commands import Run

ROOT = Path(__file__).parents[2]
ORGANIZATION = "00000000-0000-4000-8000-000000000000"

OF_REQUESTS = re.compile(
    r"Credential|Token|Ticket|Refresh|Login|ApiKey(?!Unknown)|Session|Permission|Invitation|Registration|Sso"
)
NEVER_OF_COMMANDS = {
    "UserDisabled",
    "Throttled",
    "CurrentPasswordWrong",
    "InviterUnfit",
    "CurrentPasswordIncorrect",
    "PasswordMissing",
    "SubjectUnknown",
    "QuotaExceeded",
    "QuotaUnknown",
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


def waits(number: int, ended: threading.Event) -> Callable[[threading.Event, float], bool]:
    """A wait that passes at once: `number` times the operation goes on, then it has `ended`."""
    left = number

    def wait(_: threading.Event, __: float) -> bool:
        nonlocal left
        left -= 1
        if left < 0:
            ended.set()
        return left < 0

    return wait


def test_what_takes_longer_than_a_second_says_so_in_fewer_and_fewer_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    over = threading.Event()
    with working("waiting", waits(4, over)):
        assert over.wait(PROCESS_SECONDS)
    assert capsys.readouterr().err == "waiting: 1 s\nwaiting: 3 s\nwaiting: 7 s\nwaiting: 15 s\n"


def test_on_a_terminal_the_seconds_are_counted_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    over = threading.Event()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with working("waiting", waits(5, over)):
            assert over.wait(PROCESS_SECONDS)
    shown = all_of(ours)
    os.close(ours)
    counted = "".join(f"\r\x1b[Kwaiting: {seconds} s" for seconds in (1, 2, 2, 2))
    assert shown == f"{counted}\r\x1b[K"


def test_a_command_that_waits_for_a_database_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and never says a word
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "migrate", "--check"],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "GATEWAY_DATABASE_URL": f"postgresql://a@127.0.0.1:{silent.getsockname()[1]}/none",
            },
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        with process:
            assert process.stderr is not None
            said = process.stderr.readline()
            process.kill()
    assert said == b"waiting for the database: 1 s\n"


def test_what_is_quick_says_nothing(on: Run) -> None:
    result = on("migrate", "--check")
    assert "waiting" not in result.stderr
