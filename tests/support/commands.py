"""The command line in an empty folder, and what its refusals look like."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a-secret-of-thirty-two-bytes-or-more-0123"


ENOUGH = {
    "GATEWAY_DATABASE_URL": "postgresql://u@db/whatomate",
    "GATEWAY_JWT_SECRET": SECRET,
    "GATEWAY_UPSTREAM_URL": "http://app:3000",
}
"""What serving needs to be told, and nothing that answers."""

PREVIOUS = "the-secret-before-that-one-of-32-bytes-or-more"


Run = Callable[..., Result]


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


def refused(result: Result, code: int, *errors: str) -> None:
    """The result is a refusal: that exit code, those lines, nothing on standard output, no traceback.

    What to do next may follow, behind a semicolon (tests/commands/test_advice.py).
    """
    assert result.exit_code == code, result.output
    printed = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(printed) == len(errors), printed
    for line, error in zip(printed, errors, strict=True):
        assert f"{line}; ".startswith(f"Error: {error}; "), line
    assert "Traceback" not in result.output
