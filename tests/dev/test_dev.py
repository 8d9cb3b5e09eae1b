"""``whatomate-gateway dev`` as a person meets it: one command, lines to paste, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
END = "Press Ctrl-C to stop"


@dataclass
class Dev:
    """One run of the command in a folder of its own."""

    folder: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path, **environment: str) -> Dev:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
        ports = {"GATEWAY_LISTEN": "127.0.0.1:0", "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0"}
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "dev"],
                env={**clean, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **ports, **environment},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return cls(folder, process)

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text()

    def wait_until_up(self) -> Dev:
        deadline = time.monotonic() + 60
        while END not in self.out:
            assert self.process.poll() is None, self.err
            assert time.monotonic() < deadline, self.out + self.err
            time.sleep(0.05)
        return self

    @property
    def lines(self) -> str:
        """What is printed to be pasted."""
        return self.out[self.out.index("# register") : self.out.index(END)]

    def paste(self) -> list[Any]:
        """Run the printed lines verbatim and return each JSON document they print."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.lines],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        documents, rest = [], done.stdout.strip()
        while rest:
            document, end = json.JSONDecoder().raw_decode(rest)
            documents.append(document)
            rest = rest[end:].strip()
        return documents

    def told(self, name: str) -> str:
        found = re.search(rf"^{name} +(\S+)", self.out, re.MULTILINE)
        assert found is not None, self.out
        return found[1]

    def family(self) -> list[int]:
        """The process and everything it started, however deep."""
        parents: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] != "Z":
                parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        found = [self.process.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def running(pids: list[int]) -> list[int]:
    alive = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            alive.append(pid)
    return alive


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while left := running(pids):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.05)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="whatomate-dev-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)  # of a test that failed, a server may still be writing


@pytest.fixture
def dev(folder: Path) -> Iterator[Dev]:
    started = Dev.start(folder)
    yield started.wait_until_up()
    if started.process.poll() is None:
        started.process.kill()
        started.process.wait()


def headers(document: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in document["headers"]}


def test_the_printed_lines_work_when_pasted_and_the_upstream_sees_who_is_asking(dev: Dev) -> None:
    registered, by_token, by_key, switched = dev.paste()
    assert registered["status"] == "success"
    assert registered["data"]["user"]["role"]["name"] == "agent"

    first, second, third = headers(by_token), headers(by_key), headers(switched)
    assert (first["x-auth-method"], first["x-user-role"]) == ("jwt", "manager")
    assert first["x-user-email"] == "member@demo.example"
    assert "contacts:read" in first["x-user-permissions"].split(",")
    assert first["x-org-id"] == registered["data"]["user"]["organization_id"]

    assert (second["x-auth-method"], second["x-user-role"]) == ("api_key", "admin")
    assert second["x-auth-key-id"]

    assert third["x-user-id"] == first["x-user-id"]
    assert (third["x-org-id"] != first["x-org-id"], third["x-user-role"]) == (True, "agent")
    assert [document["path"] for document in (by_token, by_key, switched)] == ["/api/contacts"] * 3


@LINUX
def test_ctrl_c_stops_everything_and_leaves_no_process(dev: Dev) -> None:
    family = dev.family()
    postgres = int((dev.folder / ".data/postgres/cluster/postmaster.pid").read_text().split()[0])
    assert postgres in family
    assert dev.stop() == 0
    assert dev.err.splitlines()[-2:] == ["stopping", "stopped"]
    assert running(family) == []


@LINUX
def test_sigterm_does_the_same_and_kill_leaves_no_process_either(dev: Dev) -> None:
    family = dev.family()
    assert dev.stop(signal.SIGTERM) == 0
    assert running(family) == []
    again = Dev.start(dev.folder).wait_until_up()
    family = again.family()
    again.process.kill()
    again.process.wait()
    wait_until_gone(family)


def test_a_restart_keeps_users_organizations_and_the_key(dev: Dev) -> None:
    newcomer, _, key_before, switched_before = dev.paste()
    password = dev.told("password")
    assert dev.stop() == 0
    again = Dev.start(dev.folder).wait_until_up()
    try:
        assert again.told("password") == password
        _, _, key_after, switched_after = again.paste()
        for name in ("x-user-id", "x-org-id", "x-auth-key-id", "x-api-key"):
            assert headers(key_after)[name] == headers(key_before)[name]
        assert headers(switched_after)["x-org-id"] == headers(switched_before)["x-org-id"]
        login = json.dumps({"email": newcomer["data"]["user"]["email"], "password": password}).encode()
        request = urllib.request.Request(
            f"{again.told('gateway')}/api/auth/login", login, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.load(answer)["data"]["user"]["id"] == newcomer["data"]["user"]["id"]
        with urllib.request.urlopen(again.told("admin"), timeout=10) as answer:
            assert answer.status == 200
    finally:
        again.stop()


def test_secrets_are_for_their_owner_alone_and_made_anew_for_each_folder(dev: Dev) -> None:
    kept = {path.name: path for path in (dev.folder / ".data").iterdir() if path.is_file()}
    assert set(kept) == {"jwt-secret", "demo-password", "demo-api-key"}
    for path in kept.values():
        assert path.stat().st_mode & 0o777 == 0o600
    assert len(kept["jwt-secret"].read_text().strip()) >= 32
    assert kept["jwt-secret"].read_text().strip() not in dev.out + dev.err


def test_a_second_run_over_the_same_data_says_who_has_it(dev: Dev) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "dev", "--data-dir", str(dev.folder / ".data")],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "GATEWAY_LISTEN": "127.0.0.1:0",
            "GATEWAY_ADMIN_LISTEN": ":0",
        },
        cwd=dev.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"is in use by process {dev.process.pid}" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_that_is_taken_is_told_and_nothing_is_left_running(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        started = Dev.start(folder, GATEWAY_LISTEN=address)
        assert started.process.wait(60) == 1
    assert started.err.splitlines()[-1].startswith(f"Error: GATEWAY_LISTEN={address}: ")
    assert "Traceback" not in started.err
    assert not (folder / ".data/postgres/cluster/postmaster.pid").exists()


def test_configured_urls_are_used_instead_of_the_stand_ins(folder: Path, database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        url = f"http://127.0.0.1:{upstream.getsockname()[1]}"
        started = Dev.start(
            folder, GATEWAY_DATABASE_URL=database_url, GATEWAY_UPSTREAM_URL=url
        ).wait_until_up()
        try:
            assert started.told("upstream") == url
            assert not (folder / ".data/postgres").exists()
        finally:
            assert started.stop() == 0


def test_a_database_of_another_data_folder_is_told_apart(folder: Path, database_url: str) -> None:
    Dev.start(folder, GATEWAY_DATABASE_URL=database_url).wait_until_up().stop()
    shutil.rmtree(folder / ".data")
    again = Dev.start(folder, GATEWAY_DATABASE_URL=database_url)
    assert again.process.wait(60) == 1
    assert "demo users whose password is not the one in" in again.err
    assert "Traceback" not in again.err


def test_a_key_that_was_revoked_is_replaced(folder: Path, database_url: str) -> None:
    Dev.start(folder, GATEWAY_DATABASE_URL=database_url).wait_until_up().stop()
    before = (folder / ".data/demo-api-key").read_text()
    from tests.conftest import execute, finish  # noqa: PLC0415 - the one test that needs it

    finish(execute(database_url, "UPDATE api_keys SET is_active = false"))
    again = Dev.start(folder, GATEWAY_DATABASE_URL=database_url).wait_until_up()
    try:
        assert (folder / ".data/demo-api-key").read_text() != before
        _, _, by_key, _ = again.paste()
        assert headers(by_key)["x-auth-method"] == "api_key"
    finally:
        again.stop()


def test_a_configuration_that_cannot_be_used_is_told_before_anything_starts(folder: Path) -> None:
    started = Dev.start(folder, GATEWAY_DATABASE_POOL_MAX="many", GATEWAY_JWT_SECRET="short")
    assert started.process.wait(30) == 2
    assert [line.split(": ")[1] for line in started.err.splitlines()] == [
        "GATEWAY_DATABASE_POOL_MAX",
        "GATEWAY_JWT_SECRET",
    ]
    assert not (folder / ".data").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_as_root_in_a_closed_folder_the_way_out_is_told(folder: Path) -> None:
    folder.chmod(0o700)
    started = Dev.start(folder)
    assert started.process.wait(30) == 1
    assert f"may not enter {folder}. Choose a data folder outside of it" in started.err
    assert "--data-dir" in started.err
