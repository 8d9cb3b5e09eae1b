"""TLS contexts that were replaced: nothing of them stays in memory."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref
from functools import partial
from typing import TYPE_CHECKING

import pytest

from gateway.wire.tls import UpstreamTls, UpstreamTlsTerms
from gateway.wire.tls_server import ServerTls, ServerTlsTerms
from tests.support.certificates import Authority
from tests.support.peers import PATIENCE, in_time

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _uncollected() -> Iterator[None]:
    """No collection comes by itself: what one has exempted is not searched by any."""
    gc.disable()
    yield
    gc.enable()


async def test_contexts_are_gone_when_their_files_have_changed_and_their_connections_have_ended(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    pair, other = authority.issue("one.test"), authority.issue("two.test")
    pairs = tuple((str(one.certificate), str(one.key)) for one in (pair, other))
    server = ServerTls(ServerTlsTerms(pairs))
    towards = UpstreamTls(
        UpstreamTlsTerms(authorities=str(authority.file), certificate=pairs[0][0], key=pairs[0][1])
    )
    replaced: list[weakref.ref[ssl.SSLContext]] = []
    for _ in range(2):
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        listening = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=server.context)
        port = listening.sockets[0].getsockname()[1]
        for _ in range(2):
            opened, _protocol = await loop.create_connection(
                partial(_Ending, ended),
                "127.0.0.1",
                port,
                ssl=towards.context,
                server_hostname="two.test",
            )
            towards.opened(opened)
            opened.close()
            await in_time(ended.wait())
        listening.close()
        await in_time(listening.wait_closed())
        replaced += [weakref.ref(server.context), weakref.ref(towards.context)]
        for file in (pairs[0][0], pairs[1][0]):
            os.utime(file)
        assert server.look()
        assert towards.look()
        del opened, _protocol, listening
    async with asyncio.timeout(PATIENCE):  # the server's ends of the connections are closed a moment later
        while any(one() is not None for one in replaced):
            await asyncio.sleep(0.01)
    assert towards.handshakes == 4


class _Ending(asyncio.Protocol):
    """Protocol that says when its connection has ended."""

    def __init__(self, ended: asyncio.Event) -> None:
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        self._ended.set()
