"""Files that settings name: what is none or has no end is refused by name; pipes, and files from Windows, are read."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from config.files import MOST_MIB, read_file
from config.rereading import reread
from tests.config.loading import GOOD, load, problems_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENDLESS = "/dev/zero"


def folder(path: Path) -> None:
    path.mkdir()


def leading_nowhere(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def endless(path: Path) -> None:
    path.symlink_to(ENDLESS)


def too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MOST_MIB * 1024 * 1024 + 1)


NO_FILES: dict[Callable[[Path], None], str] = {
    folder: "Is a directory",
    leading_nowhere: "No such file or directory",
    endless: "it has more than 16 MiB",
    too_large: "it has more than 16 MiB",
}


@pytest.fixture(params=NO_FILES, ids=lambda make: make.__name__)
def refused(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """Something that cannot be read as a file is, and why."""
    make: Callable[[Path], None] = request.param
    path = tmp_path / ".env"
    make(path)
    return path, NO_FILES[make]


def test_an_env_file_is_refused(refused: tuple[Path, str]) -> None:
    path, why = refused
    assert problems_of({}, path.parent) == [f"{path}: cannot be read: {why}"]


def test_a_route_file_is_refused(refused: tuple[Path, str]) -> None:
    path, why = refused
    (problem,) = problems_of({"GATEWAY_ROUTES": str(path)})
    assert str(path) in problem
    assert why in problem


def test_the_file_of_a_setting_is_refused(refused: tuple[Path, str]) -> None:
    path, why = refused
    assert problems_of({"GATEWAY_JWT_ISSUER_FILE": str(path)}) == [
        f"GATEWAY_JWT_ISSUER_FILE: cannot read {path}: {why}"
    ]


@pytest.mark.parametrize("make", [leading_nowhere, endless, too_large])
def test_a_file_in_the_folder_of_secrets_is_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "GATEWAY_JWT_ISSUER"
    make(path)
    assert problems_of({"GATEWAY_SECRETS_DIR": str(tmp_path)}) == [
        f"GATEWAY_JWT_ISSUER: cannot read {path}: {NO_FILES[make]}"
    ]


def test_a_certificate_is_refused(refused: tuple[Path, str], tmp_path: Path) -> None:
    path, why = refused
    key = tmp_path / "key.pem"
    key.write_text("")
    found = problems_of({"GATEWAY_TLS_CERT_FILE": str(path), "GATEWAY_TLS_KEY_FILE": str(key)})
    assert any(str(path) in problem and why in problem for problem in found), found


def test_a_name_with_a_nul_is_refused() -> None:
    (problem,) = problems_of({"GATEWAY_JWT_ISSUER_FILE": "/run/is\0suer"})
    assert problem.endswith("its name has a NUL in it")


def test_no_env_file_is_no_problem(tmp_path: Path) -> None:
    assert load({}, tmp_path / "nowhere") == load({})


def test_a_file_of_the_largest_size_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(MOST_MIB * 1024 * 1024)
    assert len(read_file(path)) == MOST_MIB * 1024 * 1024


def write_once(path: Path, text: bytes) -> threading.Thread:
    """Have one reader of the pipe get `text`, as a password manager does that fills `.env` on demand."""
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(text,), daemon=True)
    writer.start()
    return writer


def test_an_env_file_may_be_a_pipe_that_is_filled_once(tmp_path: Path) -> None:
    writer = write_once(tmp_path / ".env", b"GATEWAY_JWT_ISSUER=piped\n")
    assert load({}, tmp_path).jwt.issuer == "piped"
    writer.join(10)
    assert not writer.is_alive()


def test_a_secret_that_came_through_a_pipe_is_not_waited_for_again(tmp_path: Path) -> None:
    name, path = "GATEWAY_DATABASE_URL", tmp_path / "secret"
    writer = write_once(path, b"postgresql://a@b/c\n")
    settings = load({f"{name}_FILE": str(path), **{of: GOOD[of] for of in GOOD if of != name}}, bare=True)
    writer.join(10)
    assert settings.database.url is not None
    assert reread(settings, name, settings.database.url.get_secret_value())() == "postgresql://a@b/c"


@pytest.mark.parametrize("text", [b"\xef\xbb\xbfGATEWAY_JWT_ISSUER=x\n", b"GATEWAY_JWT_ISSUER=x\r\n"])
def test_an_env_file_from_windows_is_read(tmp_path: Path, text: bytes) -> None:
    (tmp_path / ".env").write_bytes(text)
    assert load({}, tmp_path).jwt.issuer == "x"
