"""``whatomate-gateway dev`` as a person meets it: one command, lines to paste, Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.dev.folder import claim_folder, shared_folder
from gateway.dev.programs import PostgresError
from gateway.dev.upstream import DemoUpstream
from tests.dev.running import Dev, dev_over, headers, made_folder, running, started_in, wait_until_gone
from tests.support.databases import execute, finish
from tests.support.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
END = "Press Ctrl-C to stop"


@pytest.fixture
def folder() -> Iterator[Path]:
    with made_folder() as made:
        yield made


@pytest.fixture
def dev(folder: Path) -> Iterator[Dev]:
    """A run of the test's own, to be stopped."""
    with started_in(folder) as started:
        yield started


@pytest.fixture(scope="module")
def running_dev() -> Iterator[Dev]:
    """A run that the tests of this module share, and leave running."""
    with made_folder() as made, started_in(made, "--sign") as started:
        yield started


def test_the_printed_lines_work_when_pasted_and_the_upstream_sees_who_is_asking(running_dev: Dev) -> None:
    registered, by_token, by_key, switched, why = running_dev.paste()
    assert registered["status"] == "success"
    assert registered["data"]["user"]["role"]["name"] == "agent"

    first, second, third = headers(by_token), headers(by_key), headers(switched)
    assert (first["x-auth-method"], first["x-user-role"]) == ("jwt", "manager")
    assert first["x-user-email"] == "member@demo.example"
    assert "contacts:read" in first["x-user-permissions"].split(",")
    assert first["x-identity"].count(".") == 2  # by a key of the folder's own
    assert first["x-org-id"] == registered["data"]["user"]["organization_id"]

    assert (second["x-auth-method"], second["x-user-role"]) == ("api_key", "admin")
    assert second["x-auth-key-id"]

    assert third["x-user-id"] == first["x-user-id"]
    assert (third["x-org-id"] != first["x-org-id"], third["x-user-role"]) == (True, "agent")
    assert [document["path"] for document in (by_token, by_key, switched)] == ["/api/contacts"] * 3
    assert why["verdict"]["missing"] == ["api_keys:read"]


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
    newcomer, _, key_before, switched_before, _ = dev.paste()
    password = dev.told("password")
    assert dev.stop() == 0
    again = Dev.start(dev.folder).wait_until_up()
    try:
        assert again.told("password") == password
        _, _, key_after, switched_after, _ = again.paste()
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


def test_secrets_are_for_their_owner_alone_and_never_printed(running_dev: Dev) -> None:
    kept = {path.name: path for path in (running_dev.folder / ".data").iterdir() if path.is_file()}
    assert set(kept) == {"jwt-secret", "demo-password", "demo-api-key", "identity-key.pem"}
    for path in kept.values():
        assert path.stat().st_mode & 0o777 == 0o600
    assert len(kept["jwt-secret"].read_text().strip()) >= 32
    assert kept["jwt-secret"].read_text().strip() not in running_dev.out + running_dev.err


def test_a_second_run_over_the_same_data_says_who_has_it(running_dev: Dev) -> None:
    done = dev_over(running_dev.folder / ".data")
    assert done.returncode == 1
    assert f"is in use by process {running_dev.process.pid}" in done.stderr
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
    finish(execute(database_url, "UPDATE api_keys SET is_active = false"))
    again = Dev.start(folder, GATEWAY_DATABASE_URL=database_url).wait_until_up()
    try:
        assert (folder / ".data/demo-api-key").read_text() != before
        _, _, by_key, *_ = again.paste()
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


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


@AS_ROOT
def test_as_root_in_a_closed_folder_the_data_goes_where_postgresql_can_enter(folder: Path) -> None:
    folder.chmod(0o700)
    run = folder / "checkout"  # a new place, so that its folder in /var/tmp is a new one too
    run.mkdir()
    chosen = shared_folder(run)
    try:
        started = Dev.start(run).wait_until_up()
        assert started.stop() == 0
        assert started.err.startswith(f"data goes to {chosen}, since PostgreSQL")
        assert not (run / ".data").exists()
        assert (chosen / "postgres" / "cluster").is_dir()
        assert (chosen / "jwt-secret").stat().st_mode & 0o777 == 0o600
    finally:
        shutil.rmtree(chosen, ignore_errors=True)


@AS_ROOT
def test_as_root_a_closed_folder_that_was_named_is_refused_with_the_line_to_type_and_left_empty(
    folder: Path,
) -> None:
    folder.chmod(0o700)
    done = dev_over(folder / "below" / "data")
    assert done.returncode == 1
    assert f"may not enter {folder}. Choose a data folder outside of it" in done.stderr
    assert 'make run ARGS="--data-dir ' in done.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("made", ["link", "file", "open folder"])
def test_a_folder_among_everybodys_that_is_not_this_users_alone_is_refused(folder: Path, made: str) -> None:
    claimed = folder / "claimed"
    if made == "link":
        claimed.symlink_to(folder)
    elif made == "file":
        claimed.touch()
    else:
        claimed.mkdir()
        claimed.chmod(0o777)
    with pytest.raises(PostgresError, match="is not a folder of this user alone: remove it"):
        claim_folder(claimed)
    claimed.rmdir() if made == "open folder" else claimed.unlink()
    assert claim_folder(claimed) == claim_folder(claimed), "it is made once, and used again"


def test_without_curl_the_printed_lines_bring_a_stand_in(folder: Path) -> None:
    programs = folder / "programs"
    programs.mkdir()
    (programs / "bash").symlink_to(program("bash"))
    (programs / "python3").symlink_to(Path(sys.executable).resolve())
    started = Dev.start(folder, PATH=str(programs)).wait_until_up()
    try:
        assert "# curl is not installed here" in started.out
        registered, by_token, by_key, switched, why = started.paste(str(programs))
    finally:
        started.stop()
    assert registered["status"] == "success"
    assert headers(by_token)["x-auth-method"] == "jwt"
    assert headers(by_key)["x-auth-method"] == "api_key"
    assert headers(switched)["x-user-role"] == "agent"
    assert why["verdict"]["missing"] == ["api_keys:read"]


async def test_the_demo_upstream_shows_a_request_as_it_was_received() -> None:
    upstream = await DemoUpstream.start()
    try:
        reader, writer = await asyncio.open_connection(*upstream.address)
        writer.write(
            b"PUT /a%2Fb/../c?x=1&x=%20 HTTP/1.1\r\nHost: a\r\nX-Same: 1\r\nx-same: 2\r\n"
            b"Content-Length: 5\r\nConnection: close\r\n\r\nhello"
        )
        _, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    finally:
        await upstream.stop()
    assert json.loads(body) == {
        "method": "PUT",
        "path": "/a%2Fb/../c",
        "query": "x=1&x=%20",
        "headers": [
            ["Host", "a"],
            ["X-Same", "1"],
            ["x-same", "2"],
            ["Content-Length", "5"],
            ["Connection", "close"],
        ],
        "body": "hello",
    }


def test_a_folder_that_cannot_be_made_is_told(folder: Path) -> None:
    (folder / "file").write_text("in the way")
    done = dev_over(folder / "file" / "below")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


@LINUX
def test_the_death_of_its_postgresql_ends_it_and_is_told(dev: Dev) -> None:
    postgres = int((dev.folder / ".data/postgres/cluster/postmaster.pid").read_text().split()[0])
    os.kill(postgres, signal.SIGKILL)
    assert dev.process.wait(60) == 1
    assert "PostgreSQL ended by itself" in dev.err
    assert "Traceback" not in dev.err
