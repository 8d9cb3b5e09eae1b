"""A tunnel whose client is full before it begins."""

from __future__ import annotations

from gateway.wire.deadlines import Deadlines
from gateway.wire.tunnel import Tunnel
from tests.fuzz.sockets import Given, Owner


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
