"""Exit codes: those of the documents, each by a command that really ends with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from gateway.cli import main
from gateway.commands import serving
from gateway.commands.failing import EXIT_CODES, AskingCommand
from gateway.entry import TERMINATED
from tests.support.commands import SECRET, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.commands import Run

ROOT = Path(__file__).parents[2]
NOWHERE = {"GATEWAY_DATABASE_URL": "postgresql://a@127.0.0.1:1/none", "GATEWAY_JWT_SECRET": SECRET}
SERVING = {**NOWHERE, "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:9"}


def leaves(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that is no group, by its words."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    for word, below in command.commands.items():
        yield from leaves(below, f"{name} {word}".strip())


def test_the_documents_have_the_codes_there_are() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", page, re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == EXIT_CODES
    assert sorted(EXIT_CODES) == [0, 1, 2, 3, TERMINATED]


def test_the_commands_that_ask_are_those_of_the_documents(run: Run) -> None:
    asking = {name for name, one in leaves(main, "") if isinstance(one, AskingCommand)}
    assert asking == {"audit", "audit-log verify", "explain", "migrate", "token inspect"}
    for page in (run("man", "--format", "markdown").stdout, run("man").stdout.replace("\\-", "-")):
        text = re.sub(r"\s+", " ", page)
        assert (
            "Commands that ask are audit, explain, token inspect, audit-log verify and migrate --check."
            in text
        )


@pytest.mark.parametrize(
    "line",
    [
        ("migrate", "--check"),
        ("audit-log", "verify"),
        ("explain", "--as", "agent@demo", "GET", "/api/users"),
        ("explain", "--gateway", "http://127.0.0.1:1", "GET", "/api/users"),
    ],
    ids=" ".join,
)
def test_a_command_that_asks_and_gets_no_answer_says_neither_yes_nor_no(
    run: Run, line: tuple[str, ...]
) -> None:
    result = run(*line, **SERVING)
    assert result.exit_code == 3, result.stderr
    assert (result.stdout, result.stderr.count("Error: ")) == ("", 1)


@pytest.mark.parametrize(
    "line",
    [
        ("migrate",),
        ("migrate", "--remove-triggers"),
        ("migrate", "--grant-to", "gateway", "--print-grants"),
        ("users", "list"),
        ("audit-log", "list"),
        ("health",),
    ],
    ids=" ".join,
)
def test_a_command_that_does_something_fails_with_1(run: Run, line: tuple[str, ...]) -> None:
    result = run(*line, **SERVING, GATEWAY_ADMIN_LISTEN="127.0.0.1:1")
    assert result.exit_code == 1, result.stderr
    assert (result.stdout, result.stderr.count("Error: ")) == ("", 1)


@pytest.mark.parametrize(
    "line",
    [("migrate", "--check"), ("audit-log", "verify"), ("explain", "GET", "/"), ("token", "inspect", "x")],
    ids=" ".join,
)
def test_a_command_that_asks_is_called_or_configured_wrongly_with_2(run: Run, line: tuple[str, ...]) -> None:
    assert run(*line, "--nonsense", **SERVING).exit_code == 2
    assert run(*line, **{**SERVING, "GATEWAY_NONSENSE": "1"}).exit_code == 2


@pytest.mark.parametrize(
    ("error", "words"), [(ZeroDivisionError, "ZeroDivisionError"), (KeyboardInterrupt, "Aborted!")]
)
def test_a_defect_or_an_interruption_is_no_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], words: str
) -> None:
    async def broken(*_: object, **__: object) -> list[str]:
        raise error

    monkeypatch.setattr(serving, "pending", broken)
    result = run("migrate", "--check", **NOWHERE)
    assert result.exit_code == 3
    assert words in result.stderr


def test_whether_migrations_are_pending_is_told_from_whether_the_database_answers(
    run: Run, database_url: str
) -> None:
    assert run("migrate", "--check", GATEWAY_DATABASE_URL=database_url).exit_code == 1
    assert run("migrate", GATEWAY_DATABASE_URL=database_url).exit_code == 0
    assert run("migrate", "--check", GATEWAY_DATABASE_URL=database_url).exit_code == 0
    assert run("migrate", "--check", **NOWHERE).exit_code == 3
    refused(
        run("migrate", "--check"),
        2,
        "GATEWAY_DATABASE_URL: required: the URL of Whatomate's PostgreSQL, postgresql://user:password@host:5432/name",
    )
