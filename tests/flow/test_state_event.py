"""SIGUSR1: each process writes the state of its connections, pools, routes and verdict cache into the log."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from tests.support.admin import all_listening
from tests.support.calls import get
from tests.support.peers import PATIENCE, Client, read_head
from tests.support.processes import serving

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start


def state_of(gate: Gateway) -> dict[str, Any]:
    with capture_logs() as events:
        gate.log_state()
    (event,) = events
    assert event["event"] == "state"
    return dict(event)


async def test_the_state_event_shows_what_each_connection_is_doing(upstream: Upstream, start: Start) -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    upstream.script = slowly
    gate = await start(public=("/*",))
    async with Client(gate.address) as client, Client(gate.address) as beginning:
        await beginning.send(b"GET /x HTTP/1.1\r\nHo")
        await client.send(get("/slow"))
        await asyncio.wait_for(asked.wait(), PATIENCE)
        state = state_of(gate)
        assert state["listener"].startswith("<listener open: 2 of ")
        assert sorted(state["clients"]) == [
            "<client 127.0.0.1 head, 0 queued>",
            "<client 127.0.0.1 serving, 0 queued>",
        ]
        (name,) = (name for name, busy in state["upstream_connections"].items() if busy)
        assert state["upstream_connections"][name] == ["<upstream connection awaiting, 1 served>"]
        assert "1 awaiting), 0 to lend, 0 exchanges waiting>" in state["pools"][name]
        assert state["tunnels"] == "<tunnels: 0>"
        assert state["routes"].startswith("<route table: ")
        assert state["identity"].startswith("<verdict cache: 0 principals")
        assert state["database"].startswith("<database pool: ")
        assert ", circuit " in state["database"]

        release.set()
        assert (await client.response()).status == 200
        state = state_of(gate)
        assert state["clients"] == ["<client 127.0.0.1 head, 0 queued>"]
        assert state["upstream_connections"][name] == []
        assert "1 idle), 1 to lend" in state["pools"][name]


async def test_sigusr1_makes_every_worker_write_its_state_and_go_on(
    upstream: Upstream, tmp_path: Path
) -> None:
    written = tmp_path / "log"
    async with serving(upstream, "--workers", "2", log=written) as (process, address, admin):
        await all_listening(admin, 2)
        process.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(PATIENCE):
            while True:
                lines = [json.loads(line) for line in written.read_text().splitlines()]
                states = [line for line in lines if line["event"] == "state"]
                if len(states) == 2:
                    break
                await asyncio.sleep(0.05)
        assert all(state["listener"].startswith("<listener open: ") for state in states)
        async with Client(address) as client:
            assert (await client.exchange(get("/"))).status == 200
        assert process.returncode is None
