"""One client connection: deadlines that pass while the client is behind with an answer."""

from __future__ import annotations

from typing import Any

from tests.fuzz.stage import Stage, Wire

HIGH_WATER = 65_536


class Narrow(Wire):
    """A transport whose client has nearly too much to take, and takes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.size = HIGH_WATER - 1000
        self.aborted = False
        self.full = False
        self.client: Any = None

    def write(self, data: Any) -> None:
        super().write(data)
        self.size += len(data)
        if self.size > HIGH_WATER and not self.full:
            self.full = True
            self.client.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self.size

    def abort(self) -> None:
        super().abort()
        self.aborted = True


def test_a_client_that_has_just_become_full_has_its_own_time() -> None:
    stage = Stage(busy=True)
    client, wire = stage.listener.protocol(), Narrow()
    wire.client = client
    client.connection_made(wire)
    client.data_received(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 10\r\n\r\nabc")
    stage.upstream_sends(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n%b\r\n" % (b"x" * 0x2000)
    )
    assert not wire.full  # the piece waits for the end of the turn
    wire.client.deadline = None
    wire.client.expire()  # of the body that it still owes
    assert wire.full
    assert not wire.aborted
    assert wire.client.deadline is not None
    wire.client.expire()  # and of what it does not take
    assert wire.aborted


def answered(stage: Stage) -> Narrow:
    """Return the transport of a client that has had an answer, of which it may have taken nothing."""
    client, wire = stage.listener.protocol(), Narrow()
    wire.client = client
    client.connection_made(wire)
    client.data_received(b"GET / HTTP/1.1\r\nHost: e\r\n\r\n")
    stage.upstream_sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert wire.client.state == "idle"
    return wire


def test_an_answer_that_the_client_still_takes_is_not_cut_off_by_the_idle_time() -> None:
    wire = answered(Stage())
    for size in (30_000, 20_000, 1):
        wire.size = size  # it goes on taking
        wire.client.deadline = None
        wire.client.expire()
        assert not wire.aborted
        assert wire.client.deadline is not None
    wire.client.expire()  # it takes nothing any more
    assert wire.aborted


def test_an_idle_client_that_has_taken_its_answers_is_dropped() -> None:
    stage = Stage()
    wire = answered(stage)
    wire.size = 0
    wire.client.expire()
    assert wire.aborted
    assert stage.listener.counts.idled == 1
