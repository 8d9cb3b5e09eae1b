"""Several processes behind one address: one port, one metrics page, one stop."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.admin import all_listening, ask_admin, deaths
from tests.support.calls import GET, get
from tests.support.peers import PATIENCE, Client
from tests.support.processes import STARTING, children, serving, stopped
from tests.support.worlds import NOWHERE, SECRET

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import World


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 -- a file of the kernel's
        return stat.read().rpartition(")")[2].split()[0] != "Z"


async def gone(pids: list[int]) -> None:
    async with asyncio.timeout(PATIENCE):
        while any(alive(pid) for pid in pids):
            await asyncio.sleep(0.05)


async def counted(admin: tuple[str, int]) -> dict[str, float]:
    """Requests answered so far, by worker."""
    _, page = await ask_admin(admin, "/metrics/workers")
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == "gateway_requests_total":
                worker = sample.labels["worker"]
                found[worker] = found.get(worker, 0) + sample.value
    return found


async def test_workers_share_the_port_and_one_page_counts_for_all(upstream: Upstream) -> None:
    async with serving(upstream, "--workers", "2") as (process, address, admin):
        await all_listening(admin, 2)
        for _ in range(60):  # new connections: the kernel spreads them
            async with Client(address) as client:
                assert (await client.exchange(GET)).status == 200
        by_worker = await counted(admin)
        assert sum(by_worker.values()) >= 60
        assert set(by_worker) == {"0", "1"}
        assert (await ask_admin(admin, "/livez"))[0] == 200
        status, page = await ask_admin(admin, "/status")
        assert (status, set(json.loads(page)["workers"])) == (200, {"0", "1"})
        workers = children(process.pid)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
        await gone(workers)


async def test_a_worker_that_dies_is_replaced(upstream: Upstream) -> None:
    async with serving(upstream, "--workers", "2") as (process, address, admin):
        await all_listening(admin, 2)
        first = children(process.pid)
        os.kill(first[0], signal.SIGKILL)
        async with asyncio.timeout(STARTING):
            while len(set(children(process.pid)) - set(first)) == 0:
                await asyncio.sleep(0.1)
        await all_listening(admin, 2)
        async with Client(address) as client:
            assert (await client.exchange(GET)).status == 200
        _, page = await ask_admin(admin, "/metrics")
        assert "\ngateway_worker_deaths_total 1.0\n" in page
        assert "\ngateway_workers_answering 2.0\n" in page


async def test_workers_live_on_while_their_parent_has_no_descriptor_left_to_ask_them_by(
    upstream: Upstream, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    async with serving(upstream, "--workers", "2", log=log, GATEWAY_TIMEOUT_WORKER_SECONDS="1") as running:
        process, address, admin = running
        await all_listening(admin, 2)
        workers = children(process.pid)
        most = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (1, most[1]))
        await asyncio.sleep(3)  # as long as three silences
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, most)
        await all_listening(admin, 2)
        assert children(process.pid) == workers
        assert "worker_silent" not in log.read_text()
        async with Client(address) as client:
            assert (await client.exchange(GET)).status == 200


async def test_workers_do_not_outlive_their_parent(upstream: Upstream) -> None:
    async with serving(upstream, "--workers", "2") as (process, _, admin):
        await all_listening(admin, 2)
        workers = children(process.pid)
        assert len(workers) == 2
        process.kill()
        await process.wait()
        await gone(workers)


async def test_workers_make_no_file_in_the_folder_of_temporary_files(
    upstream: Upstream, tmp_path: Path
) -> None:
    """So a cleaner of such files takes nothing away, and a parent that was killed leaves nothing behind."""
    folder = tmp_path / ("x" * 120)  # a socket could have no path in it
    folder.mkdir()
    async with serving(upstream, "--workers", "2", TMPDIR=str(folder)) as (process, _, admin):
        await all_listening(admin, 2)
        assert not list(folder.iterdir())
        folder.rmdir()
        first = children(process.pid)
        os.kill(first[0], signal.SIGKILL)
        async with asyncio.timeout(STARTING):
            while len(set(children(process.pid)) - set(first)) == 0:
                await asyncio.sleep(0.1)
        await all_listening(admin, 2)
        workers = children(process.pid)
        process.kill()
        await process.wait()
        await gone(workers)


async def test_the_records_of_several_workers_in_one_pipe_are_whole(
    upstream: Upstream, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    os.mkfifo(log)
    pipe = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    try:
        async with serving(upstream, "--workers", "2", log=log) as (_, address, admin):
            await all_listening(admin, 2)
            for _ in range(8):  # more than the pipe holds, and nobody reads it yet
                async with Client(address) as client:
                    for _ in range(40):
                        assert (await client.exchange(get("/" + "a" * 3000))).status == 200
            os.set_blocking(pipe, True)
            written = b""
            while written.count(b"a" * 3000) < 320:
                written += await asyncio.to_thread(os.read, pipe, 4_096)
    finally:
        os.close(pipe)
    records = [json.loads(line) for line in written.splitlines()[:-1]]
    assert sum(record["event"] == "request" for record in records) >= 319


async def test_a_reload_reaches_each_worker_that_has_begun_to_serve(
    upstream: Upstream, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    async with serving(upstream, "--workers", "2", log=log) as (process, _, admin):
        await all_listening(admin, 2)
        process.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(PATIENCE):
            while log.read_text().count('"event":"state"') < 2:
                await asyncio.sleep(0.05)
        assert await deaths(admin) == 0


async def test_explain_is_answered_by_any_worker_that_lives(upstream: Upstream) -> None:
    document = json.dumps({"method": "GET", "path": "/api/x"}).encode()
    question = (
        b"POST /explain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
    )
    async with serving(upstream, "--workers", "2") as (process, _, admin):
        await all_listening(admin, 2)
        for hung in (None, *children(process.pid)):
            with nullcontext() if hung is None else stopped(hung):
                async with Client(admin) as client:
                    answer = await client.exchange(question % (len(document), document))
            assert answer.status == 200, answer.body
            assert json.loads(answer.body)["verdict"]["status"] == 401


async def test_the_metric_of_readiness_is_zero_while_a_worker_hangs(upstream: Upstream, world: World) -> None:
    async with serving(upstream, "--workers", "2", GATEWAY_DATABASE_URL=world.url) as (process, _, admin):
        async with asyncio.timeout(STARTING):
            while "\ngateway_ready 1.0\n" not in (await ask_admin(admin, "/metrics"))[1]:
                await asyncio.sleep(0.1)
        assert (await ask_admin(admin, "/readyz"))[0] == 200
        with stopped(children(process.pid)[1]):
            assert (await ask_admin(admin, "/readyz"))[0] == 503
            _, page = await ask_admin(admin, "/metrics")
        assert "\ngateway_workers_answering 1.0\n" in page
        assert "\ngateway_ready 0.0\n" in page


async def test_a_worker_that_dies_while_another_one_keeps_the_page_waiting_counts_once(
    upstream: Upstream,
) -> None:
    async with serving(upstream, "--workers", "2") as (process, address, admin):
        await all_listening(admin, 2)
        for _ in range(60):
            async with Client(address) as client:
                assert (await client.exchange(GET)).status == 200
        asked = total(await ask_admin(admin, "/metrics"))
        first, second = sorted(children(process.pid))
        with stopped(second):
            page = asyncio.ensure_future(ask_admin(admin, "/metrics"))
            await asyncio.sleep(0.5)  # the first worker has answered by now
            os.kill(first, signal.SIGKILL)
            assert asked >= 60
            assert total(await page) == asked


def total(answer: tuple[int, str]) -> float:
    """The requests on a metrics page."""
    families = text_string_to_metric_families(answer[1])
    samples = [sample for family in families for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == "gateway_requests_total")


async def test_one_token_and_one_list_of_hosts_stand_before_all_of_them(upstream: Upstream) -> None:
    token = "an-admin-token-of-the-tests"
    request = "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}\r\n"
    proof = f"Authorization: Bearer {token}\r\n"

    async def status(path: str, host: str, lines: str = "") -> int:
        async with Client(admin) as client:
            return (await client.exchange(request.format(path, host, lines).encode())).status

    async with serving(upstream, "--workers", "2", GATEWAY_ADMIN_TOKEN=token) as (_, _, admin):
        await all_listening(admin, 2)
        for path in ("/metrics", "/status.json", "/nowhere"):
            assert await status(path, "127.0.0.1") == 401
            assert await status(path, "attacker.test", proof) == 421
        assert await status("/livez", "attacker.test") == 421
        assert await status("/livez", "127.0.0.1") == 200
        async with Client(admin) as client:
            page = (
                await client.exchange(request.format("/metrics", "localhost", proof).encode())
            ).body.decode()
    assert page.count("# TYPE gateway_admin_refusals_total counter") == 1
    assert '\ngateway_admin_refusals_total{reason="token"} 3.0\n' in page
    assert '\ngateway_admin_refusals_total{reason="host"} 4.0\n' in page


async def test_a_worker_that_hangs_is_killed_and_replaced(upstream: Upstream) -> None:
    silence = {"GATEWAY_TIMEOUT_WORKER_SECONDS": "1.5"}
    async with serving(upstream, "--workers", "2", log=None, **silence) as (process, address, admin):
        await all_listening(admin, 2)
        hung, other = children(process.pid)
        os.kill(hung, signal.SIGSTOP)
        async with asyncio.timeout(STARTING):
            while hung in (now := children(process.pid)) or len(now) < 2:
                await asyncio.sleep(0.1)
        assert other in children(process.pid), "the one that answers stays"
        await all_listening(admin, 2)
        assert await deaths(admin) == 1
        async with Client(address) as client:
            assert (await client.exchange(GET)).status == 200


async def test_a_worker_that_hangs_is_named_at_readyz(upstream: Upstream) -> None:
    async with serving(upstream, "--workers", "2", log=None) as (process, _, admin):
        await all_listening(admin, 2)
        hung = children(process.pid)[0]
        os.kill(hung, signal.SIGSTOP)
        async with Client(admin) as client:
            answer = await client.exchange(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        os.kill(hung, signal.SIGCONT)
    assert answer.status == 503
    assert {"worker": "does not answer"} in answer.json()["workers"].values()


@pytest.mark.parametrize("second", [False, True])
async def test_the_end_comes_whatever_a_worker_does(upstream: Upstream, second: bool, tmp_path: Path) -> None:
    drain = {"GATEWAY_TIMEOUT_DRAIN_SECONDS": "0.5" if not second else "600"}
    log = tmp_path / "log"
    async with serving(upstream, "--workers", "2", log=log, **drain) as (process, _, admin):
        await all_listening(admin, 2)
        workers = children(process.pid)
        os.kill(workers[0], signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        if second:
            await gone(workers[1:])
            process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), STARTING) == 1
        await gone(workers)
    assert '"event":"worker_killed"' in log.read_text()


@pytest.mark.parametrize("number", ["1", "2"])
@pytest.mark.parametrize("moment", [0.0, 0.3, 0.6, 1.0, 1.5])
async def test_sigterm_ends_a_gateway_at_any_moment_of_its_start(
    upstream: Upstream, number: str, moment: float
) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "GATEWAY_LISTEN": "127.0.0.1:0",
        "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
        "GATEWAY_DATABASE_URL": NOWHERE,
        "GATEWAY_JWT_SECRET": SECRET,
        "GATEWAY_UPSTREAM_URL": f"http://127.0.0.1:{upstream.port}",
        "GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS": "0",
    }
    arguments = (sys.executable, "-m", "gateway", "serve", "--workers", number)
    process = await asyncio.create_subprocess_exec(
        *arguments, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await asyncio.sleep(moment)
        workers = children(process.pid)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), STARTING) in (0, -signal.SIGTERM)
        await gone(workers)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
