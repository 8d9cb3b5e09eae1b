"""token inspect."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from uuid import UUID

import jwt
import pytest
from aiohttp import web

from authcore.crypto import jws
from authcore.crypto.keyring import KeyRing
from authcore.crypto.pem import generate_pem, parse_pem
from authcore.tokens.issuer import Tokens
from tests.support.commands import PREVIOUS, SECRET, Run, refused
from tests.support.issuers import AUDIENCE, ISSUER, Provider, by_ed25519, provider, two_keys

__all__ = ["provider"]
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
    lines = [f"Bearer {text}", f"Authorization: Bearer {text}", f"authorization:bearer  {text}", f'"{text}"']
    asked = [((text,), ""), (("-",), text + "\n"), *(((), f"{line}\n") for line in lines)]
    for arguments, typed in asked:
        result = run("token", "inspect", *arguments, typed=typed, GATEWAY_JWT_SECRET=SECRET)
        assert result.exit_code == 0, result.output
        lines = result.stdout.splitlines()
        assert lines[:3] == ["valid", "kind       access", "signature  genuine, by GATEWAY_JWT_SECRET"]
        assert "claim      email: ada@acme.example" in lines
        assert f"claim      organization_id: {UUID(int=2)}" in lines
        assert any(line.startswith("claim      exp: ") and line.endswith("+00:00)") for line in lines)
        assert SECRET not in result.output
        assert text.rpartition(".")[2] not in result.output


@pytest.mark.parametrize("now", [None, 1_000_000_000], ids=["valid", "expired"])
def test_inspecting_names_the_secret_that_proved_a_token(now: float | None, run: Run) -> None:
    older = "the-oldest-secret-of-32-bytes-or-more"
    environment = {
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_JWT_PREVIOUS_SECRETS": f"{SECRET},{PREVIOUS},{older}",
    }
    for secret, name in (
        (SECRET, "GATEWAY_JWT_SECRET"),
        (PREVIOUS, "GATEWAY_JWT_PREVIOUS_SECRETS, number 2"),
        (older, "GATEWAY_JWT_PREVIOUS_SECRETS, number 3"),
    ):
        result = run("token", "inspect", token(secret, now=now), **environment)
        assert result.exit_code == (1 if now else 0)
        assert result.stdout.splitlines()[2] == f"signature  genuine, by {name}"
        assert secret not in result.output


def test_inspecting_names_the_key_that_proved_a_token(run: Run, tmp_path: Path) -> None:
    kids = two_keys(tmp_path)
    parsed = [parse_pem((tmp_path / name).read_bytes()) for name in ("a.pem", "b.pem")]
    environment = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_JWT_KEYS_DIR": str(tmp_path)}
    claims = {"user_id": str(UUID(int=1)), "organization_id": str(UUID(int=2)), "email": "a@b.example"}
    for kid, key, name in zip(kids, parsed, ("a.pem", "b.pem"), strict=True):
        times = {"iss": "whatomate", "exp": int(time.time()) + 60, "token_use": "access"}
        result = run("token", "inspect", jws.sign({**claims, **times}, key), **environment)
        assert result.exit_code == 0, result.output
        assert f"genuine, by the key {kid} ({name} in GATEWAY_JWT_KEYS_DIR)" in result.stdout


async def test_inspecting_names_the_key_and_the_key_set_of_a_foreign_issuer(
    run: Run, provider: Provider
) -> None:
    environment = {
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_ISSUER_URL": ISSUER,
        "GATEWAY_ISSUER_JWKS_URL": provider.url,
        "GATEWAY_ISSUER_AUDIENCE": AUDIENCE,
    }
    provider.keys["other"] = generate_pem("RS256")

    async def inspected(token: str) -> list[str]:
        return (await asyncio.to_thread(run, "token", "inspect", token, **environment)).stdout.splitlines()

    proved = "signature  genuine, by the key first (GATEWAY_ISSUER_JWKS_URL)"
    assert (await inspected(provider.token()))[::2][:2] == ["valid", proved]
    provider.keys["newest"] = generate_pem("EdDSA")
    newest = by_ed25519(
        {"alg": "Ed25519", "kid": "newest"},
        jwt.decode(provider.token(), options={"verify_signature": False}),
        provider.keys["newest"],
    )
    assert (await inspected(newest))[::2][:2] == ["valid", proved.replace("first", "newest")]
    assert (await inspected(provider.token(exp=1)))[::2][:2] == ["not valid: it has expired", proved]
    assert (await inspected(provider.token(aud="another")))[0].startswith("not valid: its audience is not in")
    forged = f"{provider.token('other').rpartition('.')[0]}.{provider.token().rpartition('.')[2]}"
    assert (await inspected(forged))[0] == "not valid: its signature is by no key of its issuer's key set"
    token = provider.token()
    provider.answer = lambda: web.Response(status=500)
    (first, _, third) = (await inspected(token))[:3]
    assert first == "not valid: its issuer's key set does not tell: the key set's server answered 500"
    assert third.startswith("signature  NOT genuine")


@pytest.mark.parametrize(
    "typed", ["", "\n", "Bearer \n", "Authorization: \n"], ids=["closed", "line", "scheme", "field"]
)
def test_inspecting_nothing_says_so_and_how_to_pass_a_token_on(typed: str, run: Run) -> None:
    result = run("token", "inspect", "-", typed=typed, GATEWAY_JWT_SECRET=SECRET)
    assert result.exit_code == 2
    assert "Error: no token was given" in result.stderr
    assert "kubectl exec" in result.stderr
    assert "-i" in result.stderr
    assert result.stdout == ""


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


def test_a_token_without_an_end_is_refused(run: Run) -> None:
    result = run("token", "inspect", typed="x" * 65_537, GATEWAY_JWT_SECRET=SECRET)
    refused(result, 2, "standard input: this has more than 65,536 characters")
