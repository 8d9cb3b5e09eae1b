"""One upstream connection: what comes before it was asked for, and what a connection that is going does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.wire.deadlines import Deadlines
from gateway.wire.drive import CallbackDrive
from gateway.wire.faults import UpstreamLost
from gateway.wire.known_heads import KnownHeads
from gateway.wire.messages import RequestHead
from gateway.wire.upstream import UpstreamConnection
from gateway.wire.write_buffer import WriteBatch
from tests.fuzz.stage import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.wire.messages import ResponseHead

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Asked:
    """An upstream connection on which one request was sent, and what its exchange was told."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []
        self.wire = Wire()
        self.lost: list[UpstreamConnection] = []
        self.connection = UpstreamConnection(
            Deadlines(), WriteBatch(self.due.append), KnownHeads(), self.lost.append
        )
        self.connection.connection_made(self.wire)
        self.heads: list[ResponseHead] = []
        self.errors: list[Exception] = []
        self.ask()

    def ask(self) -> None:
        self.connection.send(
            b"GET / HTTP/1.1\r\nHost: e\r\n",
            RequestHead(method=b"GET", target=b"/"),
            [],
            complete=True,
            head_timeout=1,
            body_timeout=1,
        )
        CallbackDrive(self._await(), lambda _: None).start()

    async def _await(self) -> None:
        try:
            self.heads.append(await self.connection.response())
        except UpstreamLost as lost:
            self.errors.append(lost)

    def turn(self) -> None:
        due, self.due[:] = list(self.due), []
        for call in due:
            call()


def test_an_answer_that_comes_before_its_request_has_left_is_nobodys() -> None:
    asked = Asked()
    asked.connection.data_received(ANSWER)
    assert asked.heads == []
    assert asked.wire.closing
    asked.turn()
    assert bytes(asked.wire.written) == b""  # it goes out on another connection, once, or not at all
    assert not asked.connection.reusable
    asked.connection.connection_lost(None)
    assert [type(error) for error in asked.errors] == [UpstreamLost]
    assert not asked.connection.touched  # so a safe request may be sent again, elsewhere
    assert len(asked.lost) == 1


def test_an_answer_that_comes_behind_its_request_is_its_own() -> None:
    asked = Asked()
    asked.turn()
    assert bytes(asked.wire.written).startswith(b"GET / HTTP/1.1\r\n")
    asked.connection.data_received(ANSWER)
    assert [head.status for head in asked.heads] == [200]
    assert asked.connection.reusable


def test_the_second_request_of_a_connection_is_held_to_the_same_law() -> None:
    asked = Asked()
    asked.turn()
    asked.connection.data_received(ANSWER)
    asked.connection.become_idle(1)
    asked.ask()
    asked.connection.data_received(ANSWER)
    assert len(asked.heads) == 1
    assert asked.wire.closing


def test_a_request_on_a_connection_that_is_closing_is_lost_not_stuck() -> None:
    asked = Asked()
    asked.turn()
    asked.connection.data_received(ANSWER)
    asked.connection.become_idle(1)
    asked.wire.closing = True  # the loop has seen the end, and says so in its next turn
    asked.ask()
    asked.turn()
    asked.connection.connection_lost(None)
    assert [type(error) for error in asked.errors] == [UpstreamLost]


@pytest.mark.parametrize("reason", [None, ConnectionResetError()])
def test_a_request_that_never_left_is_lost_with_its_connection(reason: Exception | None) -> None:
    asked = Asked()
    asked.wire.closing = True
    asked.connection.connection_lost(reason)
    asked.turn()
    assert [type(error) for error in asked.errors] == [UpstreamLost]
    assert bytes(asked.wire.written) == b""


def test_a_chunk_extension_that_is_cut_by_the_first_read_is_fed_once() -> None:
    head, body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3;e=1\r\nabc\r\n0\r\n\r\n"
    for cut in range(len(body)):
        asked = Asked()
        asked.turn()
        asked.connection.data_received(head + body[:cut])
        asked.connection.data_received(body[cut:])
        assert (b"".join(asked.connection.take()), asked.connection.complete) == (b"abc", True), cut
        assert asked.connection.reusable
