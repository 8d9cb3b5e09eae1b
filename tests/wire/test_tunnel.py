"""A tunnel whose client is full before it begins, and one whose client leaves with bytes that were not passed on."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ssl import MemoryBIO, SSLWantReadError
from typing import TYPE_CHECKING, Any

from gateway.wire.deadlines import Deadlines
from gateway.wire.first_message_gate import FirstMessageGate
from gateway.wire.tunnel import Tunnel
from tests.fuzz.sockets import Given, Owner
from tests.support.certificates import Authority
from tests.support.sockets import frame

if TYPE_CHECKING:
    from pathlib import Path


class Secured(Given):
    """A transport with TLS whose reading is paused: what its client sends waits to be decrypted."""

    def __init__(self, authority: Authority) -> None:
        super().__init__()
        to, back = MemoryBIO(), MemoryBIO()
        server = authority.server("gateway.example").wrap_bio(to, back, server_side=True)
        self.client = authority.client().wrap_bio(back, to, server_hostname="gateway.example")
        for side in (self.client, server, self.client, server):
            with suppress(SSLWantReadError):
                side.do_handshake()
        self._server = server

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._server if name == "ssl_object" else super().get_extra_info(name, default)


def test_what_a_client_with_tls_sent_before_it_left_reaches_the_upstream(tmp_path: Path) -> None:
    near, far = Secured(Authority(tmp_path)), Given()
    Tunnel(Deadlines(), 60).join((near, Owner(full=False)), (far, Owner(full=False)))
    near.client.write(frame(b"last"))
    near.closing = True
    near.protocol.connection_lost(None)
    assert bytes(far.written) == frame(b"last")
    assert far.closing


def test_nothing_that_a_client_sent_before_it_was_let_in_reaches_the_upstream(tmp_path: Path) -> None:
    near, far = Secured(Authority(tmp_path)), Given()
    Tunnel(Deadlines(), 60).join(
        (near, Owner(full=False)), (far, Owner(full=False)), gate=FirstMessageGate(Deadlines(), None)
    )
    near.client.write(frame(b"not judged"))
    near.closing = True
    near.protocol.connection_lost(None)
    assert bytes(far.written) == b""
    assert far.closing


def test_a_side_that_lags_behind_at_the_101_holds_the_other_from_the_start() -> None:
    # It was told that it is full under another protocol, and a transport says so once.
    near, far = Given(), Given()
    tunnel = Tunnel(Deadlines(), 60)
    tunnel.join((near, Owner(full=True)), (far, Owner(full=False)), b"\x82\x7e")
    assert (near.reading, far.reading) == (True, False)
    near.protocol.resume_writing()
    assert (near.reading, far.reading) == (True, True)


def test_two_sides_that_keep_up_are_both_read() -> None:
    near, far = Given(), Given()
    near.reading = far.reading = False
    Tunnel(Deadlines(), 60).join((near, Owner(full=False)), (far, Owner(full=False)))
    assert (near.reading, far.reading) == (True, True)


def test_the_idle_timeout_is_counted_from_the_last_bytes() -> None:
    near, far = Given(), Given()
    deadlines = Deadlines()
    tunnel = Tunnel(deadlines, 60)
    tunnel.join((near, Owner(full=False)), (far, Owner(full=False)))
    deadlines.now = 59
    assert isinstance(far.protocol, asyncio.Protocol)
    far.protocol.data_received(frame(b"late"))
    for deadlines.now in (61, 119):
        sweep(tunnel, deadlines)
        assert not tunnel.idled
    deadlines.now = 120
    sweep(tunnel, deadlines)
    assert tunnel.idled
    assert near.closing
    assert far.closing
    assert bytes(near.written) == frame(b"late")


def sweep(tunnel: Tunnel, deadlines: Deadlines) -> None:
    """Do what the sweeper does with a deadline that has passed."""
    if tunnel.deadline is not None and tunnel.deadline <= deadlines.now:
        tunnel.deadline = None
        tunnel.expire()
