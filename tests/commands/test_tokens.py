"""token inspect."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import UUID

import pytest

from authcore.crypto.keyring import KeyRing
from authcore.tokens.issuer import Tokens
from tests.support.commands import PREVIOUS, SECRET, Run

ROOT = Path(__file__).parents[2]


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
