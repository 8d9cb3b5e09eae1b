"""A request that comes back to the gateway that forwarded it ends at its second pass."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.calls import ask, get, is_refusal
from tests.support.peers import Client, Upstream

if TYPE_CHECKING:
    from tests.support.worlds import Start


async def test_a_loop_ends_at_its_second_pass(start: Start) -> None:
    passes = 0
    tasks: set[asyncio.Task[None]] = set()

    async def back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send everything back to the gateway, as a proxy in between would."""
        nonlocal passes
        passes += 1
        there, here = await asyncio.open_connection(*gateway.address)
        for source, sink in ((reader, here), (there, writer)):
            task = asyncio.create_task(_copy(source, sink))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.wait(set(tasks))

    async with Upstream(script=back) as between:
        gateway = await start(upstream={"url": f"http://127.0.0.1:{between.port}"})
        is_refusal(await ask(gateway, get("/")), 508)
        assert passes == 1
        async with Client(gateway.admin_address) as admin:
            page = (await admin.exchange(get("/metrics"))).body
        assert b'reason="loop"' in page


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(65_536):
        sink.write(piece)
    sink.close()


async def test_a_gateway_behind_another_one_is_no_loop(start: Start, upstream: Upstream) -> None:
    inner = await start()
    outer = await start(upstream={"url": f"http://127.0.0.1:{inner.address[1]}"})
    answer = await ask(outer, get("/", "CDN-Loop: cdn.example; id=7"))
    assert answer.status == 200
    (seen,) = upstream.requests
    lines = [value for name, value in seen.lines if name.lower() == b"cdn-loop"]
    assert lines[0] == b"cdn.example; id=7"
    assert len(set(lines)) == len(lines) == 3


async def test_a_client_that_names_another_loop_is_served(start: Start, upstream: Upstream) -> None:
    gateway = await start()
    for line in (
        "CDN-Loop: whatomate-gateway",
        "CDN-Loop: whatomate-gateway; id=0123456789abcdef",
        "CDN-Loop:",
    ):
        assert (await ask(gateway, get("/", line))).status == 200
    assert len(upstream.requests) == 3
