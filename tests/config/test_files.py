"""Files that settings name: what is none or has no end is refused by name; pipes, and files from Windows, are read."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from config import files
from config.files import MOST_MIB, read_file
from config.layers import read_env_file
from config.load import ConfigError, require_no_pipes
from config.rereading import reread
from tests.config.loading import GOOD, load, problems_of

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """Return a path that cannot be read as a file is, and the reason."""
    make: Callable[[Path], None] = request.param
    path = tmp_path / ".env"
    make(path)
    return path, NO_FILES[make]


def test_an_env_file_is_refused(refused: tuple[Path, str]) -> None:
    path, why = refused
    if path.is_dir():
        why = "it is a folder; Docker makes one where the file of a mount is missing"
    assert problems_of({}, path.parent) == [f"{path}: cannot be read: {why}"]


def test_a_virtual_environment_that_is_called_like_an_env_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    (tmp_path / ".env" / "pyvenv.cfg").touch()
    assert load({}, tmp_path) == load({})


def test_an_env_file_that_another_user_may_not_see_is_refused(tmp_path: Path) -> None:
    """A folder may be entered without the right to see what is in it, and then nothing is known of the file."""
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / ".env").write_text("GATEWAY_JWT_ISSUER=x\n")
    tmp_path.chmod(0o755)
    closed.chmod(0)
    ours = os.geteuid()
    try:
        if ours == 0:  # to root nothing is closed
            os.seteuid(65_534)
        found = problems_of({}, closed)
    finally:
        os.seteuid(ours)
        closed.chmod(0o700)
    assert found == [f"{closed}/.env: cannot be read: Permission denied"]


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


def test_a_folder_in_the_place_of_a_secret_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "GATEWAY_ADMIN_TOKEN"
    path.mkdir()
    (tmp_path / "backup").mkdir()
    (found,) = problems_of({"GATEWAY_SECRETS_DIR": str(tmp_path)})
    why = "it is a folder; Docker makes one where the file of a mount is missing"
    assert found.startswith(f"GATEWAY_ADMIN_TOKEN: cannot read {path}: {why}")


@pytest.mark.parametrize("content", ["", "\n"])
@pytest.mark.parametrize("name", ["GATEWAY_ADMIN_TOKEN", "GATEWAY_JWT_SECRET", "GATEWAY_HEADER_USER_ID"])
def test_an_empty_file_in_the_folder_of_secrets_is_refused(name: str, content: str, tmp_path: Path) -> None:
    """It would leave the admin listener without its token, for example."""
    (tmp_path / name).write_text(content)
    rest = {other: value for other, value in GOOD.items() if other != name}
    assert problems_of({**rest, "GATEWAY_SECRETS_DIR": str(tmp_path)}, bare=True) == [
        f"{name}: cannot read {tmp_path / name}: it is empty; write its value, or remove the file"
    ]


def test_an_empty_file_of_a_list_is_the_empty_list(tmp_path: Path) -> None:
    (tmp_path / "GATEWAY_PUBLIC_PATHS").write_text("\n")
    assert load({"GATEWAY_SECRETS_DIR": str(tmp_path)}).public_paths == ()


def test_a_certificate_is_refused(refused: tuple[Path, str], tmp_path: Path) -> None:
    path, why = refused
    key = tmp_path / "key.pem"
    key.write_text("")
    found = problems_of({"GATEWAY_TLS_CERT_FILE": str(path), "GATEWAY_TLS_KEY_FILE": str(key)})
    assert any(str(path) in problem and why in problem for problem in found), found


def test_what_is_read_more_than_once_may_be_no_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    why = "it is a pipe, and is read more than once; name a file"
    of_tls = problems_of({"GATEWAY_TLS_CERT_FILE": str(path), "GATEWAY_TLS_KEY_FILE": str(path)})
    assert any(problem.endswith(f"cannot be read: {why}") for problem in of_tls), of_tls
    (of_routes,) = problems_of({"GATEWAY_ROUTES": str(path)})
    assert of_routes == f"GATEWAY_ROUTES: cannot read {path}: {why}"
    url = f"{GOOD['GATEWAY_DATABASE_URL']}?sslrootcert={path}"
    (of_database,) = problems_of({"GATEWAY_DATABASE_URL": url})
    assert f"the file of sslrootcert cannot be read: {why}" in of_database


def test_the_file_of_a_database_url_is_the_one_that_libpq_would_read(tmp_path: Path) -> None:
    (tmp_path / "a+b.pem").touch()
    url = f"{GOOD['GATEWAY_DATABASE_URL']}?sslrootcert={tmp_path}/a+b.pem&sslmode=verify-full"
    assert load({"GATEWAY_DATABASE_URL": url}).database.url is not None


@pytest.mark.parametrize(
    "name",
    [
        "GATEWAY_JWT_ISSUER",
        "GATEWAY_JWT_ISSUER_FILE",
        "GATEWAY_SECRETS_DIR",
        "GATEWAY_JWT_KEYS_DIR",
        "GATEWAY_ROUTES",
    ],
)
def test_a_nul_is_refused_wherever_it_is_written(name: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{name}=/run/a\0b\n")
    assert problems_of({}, tmp_path) == [f"{name}: has a NUL in it"]


def test_a_nul_in_the_name_of_a_file_is_refused() -> None:
    url = f"{GOOD['GATEWAY_DATABASE_URL']}?sslrootcert=%00"
    (problem,) = problems_of({"GATEWAY_DATABASE_URL": url})
    assert "its name has a NUL in it" in problem
    with pytest.raises(OSError, match="NUL"):
        read_file(Path("a\0b"))


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


def test_a_pipe_that_nobody_writes_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PIPE_SECONDS", 0.1)
    os.mkfifo(tmp_path / ".env")
    why = "it is a pipe, and nobody wrote it to its end within 0.1 s"
    assert problems_of({}, tmp_path) == [f"{tmp_path}/.env: cannot be read: {why}"]


def test_a_pipe_without_an_end_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env")
    end = os.open(tmp_path / ".env", os.O_RDWR)
    with subprocess.Popen(["/bin/cat", ENDLESS], stdout=end) as endless_writer:
        os.close(end)
        assert problems_of({}, tmp_path) == [f"{tmp_path}/.env: cannot be read: it has more than 16 MiB"]
        endless_writer.kill()


def test_several_processes_do_not_share_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "issuer"
    writer = write_once(path, b"piped\n")
    settings = load({"GATEWAY_JWT_ISSUER_FILE": str(path)})
    writer.join(10)
    with pytest.raises(
        ConfigError, match=f"^GATEWAY_JWT_ISSUER: {path} is a pipe, which one process can read"
    ):
        require_no_pipes(settings)
    os.mkfifo(tmp_path / ".env")
    with pytest.raises(ConfigError, match=r"\.env is a pipe"):
        require_no_pipes(load(), tmp_path / ".env")
    require_no_pipes(load(), tmp_path / "nowhere")


def test_a_mark_that_windows_puts_before_a_text_is_no_part_of_a_value(tmp_path: Path) -> None:
    (tmp_path / "issuer").write_bytes(b"\xef\xbb\xbfx\r\n")
    assert load({"GATEWAY_JWT_ISSUER_FILE": str(tmp_path / "issuer")}).jwt.issuer == "x"


def test_lines_of_an_env_file_may_end_as_on_windows(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfGATEWAY_A=x\r\nGATEWAY_B='1\r\n2'\r\n")
    assert read_env_file(tmp_path / ".env").written == {"GATEWAY_A": "x", "GATEWAY_B": "1\n2"}


def test_a_name_stands_once_in_an_env_file(tmp_path: Path) -> None:
    for name in ("GATEWAY_JWT_ISSUER", "GATEWAY_JWT_ISSUER_FILE", "GATEWAY_SECRETS_DIR"):
        (tmp_path / ".env").write_text(f"{name}=/a\n{name}=/b\n")
        assert problems_of({}, tmp_path) == [
            f"{name}: is set in lines 1 and 2 of {tmp_path}/.env; keep one of them"
        ]


def test_a_file_of_the_folder_of_secrets_is_read_again_however_its_name_is_written(tmp_path: Path) -> None:
    path = tmp_path / "gateway_jwt_issuer"
    path.write_text("first\n")
    settings = load({"GATEWAY_SECRETS_DIR": str(tmp_path)})
    path.write_text("second\n")
    assert reread(settings, "GATEWAY_JWT_ISSUER", "first")() == "second"
