"""A name in the handshake that is not ASCII: Python refuses it in a callback, and no traceback is written."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import Authority
from tests.support.peers import PATIENCE, Client
from tests.support.processes import serving
from tests.support.secured import GET, RawTls

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream

NAME = b"gateway.example"
TIMES = 20


async def test_a_server_name_that_is_not_ascii_is_one_event_and_no_traceback(
    tmp_path: Path, upstream: Upstream, capfd: pytest.CaptureFixture[str]
) -> None:
    authority, log = Authority(tmp_path), tmp_path / "log"
    pair = authority.issue(NAME.decode())
    files = {"GATEWAY_TLS_CERT_FILE": str(pair.certificate), "GATEWAY_TLS_KEY_FILE": str(pair.key)}
    async with serving(upstream, log=log, **files) as (_, address, _):
        for _ in range(TIMES):
            async with Client(address) as client:
                raw = RawTls(authority.client())
                with pytest.raises(ssl.SSLWantReadError):
                    raw.secured.do_handshake()
                await client.send(raw.outgoing.read().replace(NAME, b"\xffmark-of-client"))
                await client.closed()
        async with Client(address, authority.client()) as client:
            assert (await client.exchange(GET)).status == 200
        async with asyncio.timeout(PATIENCE):
            while b"exception_escaped" not in log.read_bytes():
                await asyncio.sleep(0.05)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (event,) = [line for line in lines if line["event"] == "exception_escaped"]
    assert event["error"] == "UnicodeDecodeError"
    assert b"mark-of-client" not in log.read_bytes()
    assert capfd.readouterr().err == ""
