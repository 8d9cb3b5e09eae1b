"""keys generate, keys list; and what check-config says of a key directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from authcore.crypto.pem import parse_pem
from tests.support.commands import SECRET, Run, refused

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "algorithm"),
    [((), "EdDSA"), (("--algorithm", "ES256"), "ES256"), (("--algorithm", "RS256"), "RS256")],
)
def test_a_key_is_made_for_its_owners_eyes_alone(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], algorithm: str
) -> None:
    result = run("keys", "generate", *arguments, "--out", "a.pem")
    assert result.exit_code == 0
    assert (tmp_path / "a.pem").stat().st_mode & 0o777 == 0o600
    key = parse_pem((tmp_path / "a.pem").read_bytes())
    assert (key.algorithm, key.private is not None) == (algorithm, True)
    assert result.stdout == f"{key.kid}\n"
    assert "PRIVATE" not in result.output


def test_a_file_is_never_written_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text("mine")
    refused(run("keys", "generate", "--out", "a.pem"), 1, "a.pem exists, and is left as it is")
    assert (tmp_path / "a.pem").read_text() == "mine"
    (tmp_path / "b.pem").symlink_to("a.pem")
    refused(run("keys", "generate", "--out", "b.pem"), 1, "b.pem exists, and is left as it is")
    refused(run("keys", "generate", "--out", "no/where.pem"), 1, "no/where.pem: No such file or directory")


def test_without_a_file_the_key_goes_to_standard_output(run: Run) -> None:
    result = run("keys", "generate")
    assert result.stderr == f"kid {parse_pem(result.stdout_bytes).kid}\n"


def test_the_list_tells_who_signs_and_nothing_private(run: Run, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    signs = run("keys", "generate", "--out", "keys/a.pem").stdout.strip()
    also = run("keys", "generate", "--algorithm", "ES256", "--out", "keys/b.pem").stdout.strip()
    (keys / "signing").write_text(signs)
    environment = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_JWT_KEYS_DIR": "keys"}
    result = run("keys", "list", **environment)
    assert result.stdout.splitlines() == [
        f"{signs}\tEdDSA\tsigns, verifies\ta.pem",
        "-\tHS256\tverifies\tGATEWAY_JWT_SECRET",
        f"{also}\tES256\tverifies\tb.pem",
    ]
    assert SECRET not in result.output
    alone = run("keys", "list", **environment, GATEWAY_JWT_SECRET_VERIFIES="off")
    assert "HS256" not in alone.stdout
    assert (
        run("keys", "list", GATEWAY_JWT_SECRET=SECRET).stdout
        == "-\tHS256\tsigns, verifies\tGATEWAY_JWT_SECRET\n"
    )


def test_a_directory_that_cannot_be_taken_is_a_wrong_configuration(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text("hunter2")
    environment = {
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_JWT_KEYS_DIR": str(tmp_path),
        "GATEWAY_DATABASE_URL": "postgresql://127.0.0.1:1/none",
        "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:1",
    }
    told = "GATEWAY_JWT_KEYS_DIR: a.pem: neither a PEM private key nor a PEM public key"
    for command in (("check-config",), ("keys", "list"), ("serve",)):
        refused(run(*command, **environment), 2, told)
    missing = {**environment, "GATEWAY_JWT_KEYS_DIR": "nowhere"}
    refused(
        run("check-config", **missing),
        2,
        "GATEWAY_JWT_KEYS_DIR: cannot read nowhere: No such file or directory",
    )


def test_contradictions_about_keys_are_told(run: Run) -> None:
    refused(
        run("keys", "list", GATEWAY_JWT_SECRET=SECRET, GATEWAY_JWT_SECRET_VERIFIES="off"),
        2,
        "GATEWAY_JWT_SECRET_VERIFIES: off needs GATEWAY_JWT_KEYS_DIR: else nothing would verify a token",
    )
    pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----"
    refused(
        run("keys", "list", GATEWAY_JWT_SECRET=pem),
        2,
        "GATEWAY_JWT_SECRET: is a PEM key; put it into GATEWAY_JWT_KEYS_DIR, and a secret here",
    )


def test_unusable_keys_are_named_beside_every_other_problem(run: Run, tmp_path: Path) -> None:
    for command in ("serve", "check-config"):
        result = run(command, GATEWAY_JWT_KEYS_DIR=str(tmp_path / "gone"), GATEWAY_JWT_SECRET="short")
        assert result.exit_code == 2
        lines = result.stderr.splitlines()
        assert lines[-1].startswith("Error: GATEWAY_JWT_KEYS_DIR: cannot read ")
        assert [line.split(": ")[1] for line in lines[:-1]] == [
            "GATEWAY_DATABASE_URL",
            "GATEWAY_JWT_SECRET",
            "GATEWAY_UPSTREAM_URL",
        ]
