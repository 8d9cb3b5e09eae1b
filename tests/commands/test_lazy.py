"""The command line imports what a command needs, and nothing for what needs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

import pytest

from gateway.cli import COMMANDS, main
from tests.support.processes import PROCESS_SECONDS

HEAVY: Final = ("aiohttp", "asyncpg", "pydantic", "jwt", "bcrypt", "orjson", "config", "authcore")


def imported_by(*arguments: str, completing: str | None = None) -> set[str]:
    """Run the command line in a process of its own, and return the packages that it has imported."""
    program = (
        "import json, sys\n"
        "from gateway.entry import main\n"
        "try:\n    main('whatomate-gateway')\n"
        "finally:\n    print(json.dumps([one.partition('.')[0] for one in sys.modules]), file=sys.stderr)\n"
    )
    environment = (
        {}
        if completing is None
        else {
            "_WHATOMATE_GATEWAY_COMPLETE": "bash_complete",
            "COMP_WORDS": completing,
            "COMP_CWORD": "1",
        }
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={"PYTHONPATH": ":".join(one for one in sys.path if one), **environment},
        capture_output=True,
        text=True,
        timeout=PROCESS_SECONDS,
        check=True,
    )
    assert done.stdout
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_what_needs_no_command_imports_none(option: str) -> None:
    assert not imported_by(option) & set(HEAVY)


def test_completion_of_the_first_word_imports_no_command() -> None:
    assert not imported_by(completing="whatomate-gateway us") & set(HEAVY)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_with_the_words_of_its_own_help(name: str) -> None:
    assert main.commands[name].name == name
    assert main.commands[name].get_short_help_str(limit=1000) == COMMANDS[name].meaning
