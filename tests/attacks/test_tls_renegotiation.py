"""A client of TLS 1.2 that wants to negotiate anew, which costs it little and a server much (CVE-2011-1473)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.certificates import Authority
from tests.support.peers import PATIENCE
from tests.support.programs import program
from tests.support.secured import GET, counted, listener_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start


async def test_renegotiation_is_refused(start: Start, tmp_path: Path, upstream: Upstream) -> None:
    authority = Authority(tmp_path)
    gateway = await start(tls=listener_of(authority.issue("gateway.example")))
    host, port = gateway.address
    client = await asyncio.create_subprocess_exec(
        *(
            program("openssl"),
            "s_client",
            "-connect",
            f"{host}:{port}",
            "-tls1_2",
            "-servername",
            "gateway.example",
        ),
        *("-CAfile", str(authority.file)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            printed = b""
            while b"Verify return code: 0" not in printed:
                printed += await client.stdout.read(65_536)
            client.stdin.write(b"R\n")
            await client.stdin.drain()
            client.stdin.write(GET)
            await client.stdin.drain()
            rest = await client.stdout.read()
            await client.wait()
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()
    assert b"RENEGOTIATING" in rest
    assert b"no renegotiation" in rest.lower()
    assert not upstream.requests
    assert counted(gateway, "gateway_tls_handshakes_total", resumed="no") == 1
