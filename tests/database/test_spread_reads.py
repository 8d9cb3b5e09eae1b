"""Pgpool-II before a primary and a standby: where it reads from the standby, nobody is served by what that says."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import pytest

from tests.database.gateways import status_of, status_of_sign_in
from tests.database.servers import START_SECONDS, Server, own, spawn
from tests.support.admin import is_pushed, readiness
from tests.support.databases import execute
from tests.support.processes import eventually
from tests.support.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.worlds import Start, World

# The folder of sockets has another name since 4.4.
_CONFIGURATION: Final = """
backend_clustering_mode = 'streaming_replication'
listen_addresses = ''
port = 9999
socket_dir = '{folder}'
unix_socket_directories = '{folder}'
pcp_listen_addresses = ''
pcp_socket_dir = '{folder}'
wd_ipc_socket_dir = '{folder}'
pid_file_name = '{folder}/pid'
logdir = '{folder}'
backend_hostname0 = '{primary.socket}'
backend_port0 = 5432
backend_weight0 = 0
backend_hostname1 = '{standby.socket}'
backend_port1 = 5432
backend_weight1 = 1
sr_check_user = 'gateway'
sr_check_period = 1
num_init_children = 32
load_balance_mode = {spreads}
"""


def _answers(folder: Path) -> bool:
    """Return whether a statement that writes reaches the primary, which the pooler has to find first."""
    psql = [program("psql"), "-h", str(folder), "-p", "9999", "-U", "gateway", "-d", "postgres", "-tAc"]
    asked = "SELECT txid_current() > 0 AND NOT pg_is_in_recovery()"
    with suppress(subprocess.TimeoutExpired):
        found = subprocess.run([*psql, asked], capture_output=True, text=True, check=False, timeout=30)
        return found.stdout.strip() == "t"
    return False


@contextmanager
def pgpool(folder: Path, primary: Server, standby: Server, spreads: str) -> Iterator[str]:
    """Run Pgpool-II before both servers; yields its URL."""
    path = program("pgpool") if shutil.which("pgpool") else program("/usr/sbin/pgpool")
    folder.mkdir(mode=0o755)
    own(folder)
    text = _CONFIGURATION.format(folder=folder, primary=primary, standby=standby, spreads=spreads)
    files = {"conf": text, "hba": "local all all trust\n", "pcp": ""}
    for name, content in files.items():
        (folder / name).write_text(content)
        own(folder / name)
    places = [
        part
        for name, option in zip(files, ("-f", "-a", "-F"), strict=True)
        for part in (option, f"{folder}/{name}")
    ]
    process = spawn([path, "-n", *places])
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(folder):
            assert process.poll() is None, "pgpool did not start"
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield f"postgresql://gateway@/postgres?host={folder}&port=9999"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(START_SECONDS)


@pytest.fixture
def migrated_url(pair: list[Server]) -> str:
    return pair[0].url()


async def test_a_pooler_that_reads_from_a_standby_is_refused_by_name(
    folder: Path, pair: list[Server], world: World, start: Start
) -> None:
    primary, standby = pair
    with pgpool(folder / "b", primary, standby, "on") as pooled:
        gateway = await start(pooled)
        page = await readiness(gateway)
        assert page["checks"]["database"].startswith("refuses (pooler): a pooler reads from another server")
        assert "load_balance_mode" in page["checks"]["database"]
        assert page["revocation"]["changes"] != "pushed"
        token = world.token(world.agent)
        assert [await status_of(gateway, token), await status_of_sign_in(gateway)] == [503, 503]
        await gateway.stop()


async def test_a_pooler_that_reads_from_the_primary_is_served_by(
    folder: Path, pair: list[Server], world: World, start: Start
) -> None:
    primary, standby = pair
    with pgpool(folder / "b", primary, standby, "off") as pooled:
        gateway = await start(pooled, identity={"cache_seconds": 3600})
        token = world.token(world.agent)
        await eventually(lambda: is_pushed(gateway))
        assert [await status_of(gateway, token), await status_of_sign_in(gateway)] == [200, 200]
        await execute(standby.url(), "SELECT pg_wal_replay_pause()")
        await world.sql("UPDATE users SET is_active = false WHERE email = 'agent@example.com'")

        async def refused() -> bool:
            return await status_of(gateway, token) == 401

        await eventually(refused)
        await gateway.stop()
