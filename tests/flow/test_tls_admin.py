"""The admin listener by TLS: probes and scrapes of it, and its certificate when that is renewed."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import Authority
from tests.support.peers import PATIENCE, Client
from tests.support.processes import PROCESS_SECONDS, serving
from tests.support.secured import GET

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start

LIVE = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


async def test_the_admin_listener_speaks_tls_and_takes_a_renewed_certificate(
    start: Start, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    pair, later = authority.issue("127.0.0.1", "old.example"), authority.issue("127.0.0.1", "new.example")
    gateway = await start(
        admin={"tls_cert_file": str(pair.certificate), "tls_key_file": str(pair.key)},
    )

    async def given() -> list[str]:
        async with Client(gateway.admin_address, authority.client(), "127.0.0.1") as client:
            assert (await client.exchange(LIVE)).status == 200
            certificate = client.writer.get_extra_info("ssl_object").getpeercert()
            return [name for _, name in certificate["subjectAltName"]]

    assert "old.example" in await given()
    pair.overwrite(later)
    async with asyncio.timeout(PATIENCE):
        while "new.example" not in await given():
            await asyncio.sleep(0.05)
    with pytest.raises((OSError, ssl.SSLError, asyncio.IncompleteReadError)):
        async with Client(gateway.admin_address) as client:
            await client.exchange(LIVE)
    async with Client(gateway.address) as client:
        assert (await client.exchange(GET)).status == 200, "the public port is as it was"


async def test_the_probe_and_the_parent_of_workers_speak_it_too(upstream: Upstream, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("127.0.0.1")
    files = {
        "GATEWAY_ADMIN_TLS_CERT_FILE": str(pair.certificate),
        "GATEWAY_ADMIN_TLS_KEY_FILE": str(pair.key),
    }
    async with serving(upstream, "--workers", "2", log=None, **files) as (_, _, admin):
        async with Client(admin, authority.client(), "127.0.0.1") as client:
            assert (await client.exchange(LIVE)).status == 200
        probe = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "health"),
            env={**os.environ, **files, "GATEWAY_ADMIN_LISTEN": f"{admin[0]}:{admin[1]}"},
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PROCESS_SECONDS):
            printed, _ = await probe.communicate()
        assert (probe.returncode, printed) == (0, b"ok\n")
