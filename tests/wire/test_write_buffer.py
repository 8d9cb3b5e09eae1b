"""Small writes leave together, in order, before anything is done to their transport."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.deadlines import Deadlines
from gateway.wire.write_buffer import LARGEST, MOST, WriteBatch, WriteBuffer

if TYPE_CHECKING:
    from collections.abc import Callable


class Told(asyncio.Transport):
    """A transport that notes what it is told, in order."""

    def __init__(self, name: str = "", log: list[tuple[str, object]] | None = None) -> None:
        super().__init__()
        self.name = name
        self.log: list[tuple[str, object]] = [] if log is None else log
        self.over = False

    def write(self, data: Any) -> None:
        self.log.append((self.name or "write", bytes(data)))

    def is_closing(self) -> bool:
        return self.over

    def close(self) -> None:
        self.over = True
        self.log.append(("close", None))

    def abort(self) -> None:
        self.over = True
        self.log.append(("abort", None))

    def get_write_buffer_size(self) -> int:
        return sum(len(said) for _, said in self.log if isinstance(said, bytes))


class Turns:
    """A loop that turns when it is told to."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []
        self.write_batch = WriteBatch(self.due.append)

    def turn(self) -> None:
        due, self.due[:] = list(self.due), []
        for call in due:
            call()


def test_what_is_written_leaves_at_the_end_of_the_turn() -> None:
    turns, transport = Turns(), Told()
    WriteBuffer(turns.write_batch, transport).write(b"a")
    assert transport.log == []
    turns.turn()
    assert transport.log == [("write", b"a")]


def test_all_transports_are_written_to_in_one_turn_that_is_asked_for_once() -> None:
    turns = Turns()
    log: list[Any] = []
    for name in "abc":
        WriteBuffer(turns.write_batch, Told(name, log)).write(b"x")
    assert len(turns.due) == 1
    turns.turn()
    assert log == [("a", b"x"), ("b", b"x"), ("c", b"x")]


def test_what_is_written_in_the_next_turn_is_not_forgotten() -> None:
    turns, transport = Turns(), Told()
    buffer = WriteBuffer(turns.write_batch, transport)
    for piece in (b"a", b"b"):
        buffer.write(piece)
        turns.turn()
    assert transport.log == [("write", b"a"), ("write", b"b")]


def test_pieces_of_one_turn_leave_in_one_write() -> None:
    turns, transport = Turns(), Told()
    buffer = WriteBuffer(turns.write_batch, transport)
    buffer.write(b"head ")
    buffer.write(b"body")
    turns.turn()
    assert transport.log == [("write", b"head body")]


def test_a_large_piece_does_not_wait_and_pushes_out_what_does() -> None:
    transport = Told()
    buffer = WriteBuffer(Turns().write_batch, transport)
    buffer.write(b"head")
    buffer.write(b"x" * LARGEST)
    assert transport.log == [("write", b"head"), ("write", b"x" * LARGEST)]


def test_nothing_that_waits_is_lost_when_the_transport_is_closed_dropped_measured_or_given_away() -> None:
    for leave in (
        lambda buffer: buffer.close(Deadlines()),
        WriteBuffer.abort,
        WriteBuffer.buffered,
        WriteBuffer.give_away,
    ):
        transport = Told()
        buffer = WriteBuffer(Turns().write_batch, transport)
        buffer.write(b"last words")
        left = leave(buffer)
        assert transport.log[0] == ("write", b"last words"), leave
        assert left in (None, len(b"last words"), transport), leave


def test_what_waits_is_dropped_with_its_transport_when_that_is_asked_for() -> None:
    turns, transport = Turns(), Told()
    buffer = WriteBuffer(turns.write_batch, transport)
    buffer.write(b"never mind")
    buffer.drop()
    turns.turn()
    assert transport.log == [("abort", None)]


def test_a_burst_does_not_wait_for_its_last_one() -> None:
    turns = Turns()
    log: list[Any] = []
    for number in range(MOST + 1):
        WriteBuffer(turns.write_batch, Told(str(number), log)).write(b"x")
    assert len(log) == MOST
    turns.turn()
    assert [name for name, _ in log] == [str(number) for number in range(MOST + 1)]


async def test_a_transport_that_raises_keeps_nobody_else_waiting() -> None:
    class Broken(Told):
        def write(self, data: Any) -> None:
            raise RuntimeError(f"of all things: {bytes(data)!r}")

    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    turns, broken, other = Turns(), Broken(), Told()
    buffers = [WriteBuffer(turns.write_batch, transport) for transport in (broken, other)]
    for buffer in buffers:
        buffer.write(b"x")
    turns.turn()
    assert other.log == [("write", b"x")]
    assert broken.log == [("abort", None)]
    assert [str(context["exception"]) for context in told] == ["of all things: b'x'"]
    buffers[1].write(b"y")
    turns.turn()
    assert other.log[-1] == ("write", b"y")


def test_a_transport_that_is_closing_is_not_written_to() -> None:
    turns, transport = Turns(), Told()
    buffer = WriteBuffer(turns.write_batch, transport)
    buffer.write(b"too late")
    transport.over = True
    turns.turn()
    buffer.write(b"x" * (LARGEST + 1))
    assert transport.log == []


@given(st.lists(st.one_of(st.integers(1, 3 * LARGEST // 2), st.just(0)), max_size=40))
def test_order_is_kept_and_never_more_than_a_little_waits(steps: list[int]) -> None:
    # A number is a piece of so many bytes; 0 ends a turn.
    turns, transport = Turns(), Told()
    buffer = WriteBuffer(turns.write_batch, transport)
    written = b""
    for number, size in enumerate(steps):
        if size:
            piece = bytes([number % 256]) * size
            written += piece
            buffer.write(piece)
            assert len(written) - transport.get_write_buffer_size() <= LARGEST
        else:
            turns.turn()
            assert transport.get_write_buffer_size() == len(written)
    turns.turn()
    assert b"".join(said for _, said in transport.log if isinstance(said, bytes)) == written
