"""The first message of a WebSocket: put together from any pieces, or refused; no more held than there is room for."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.first_message import LARGEST, FirstMessage, Unreadable
from tests.support.sockets import BINARY, CLOSE, PING, PONG, TEXT, frame

KEYS = st.binary(min_size=4, max_size=4)
CONTROL = st.builds(
    lambda payload, opcode, key: frame(payload, opcode, key=key),
    st.binary(max_size=125),
    st.sampled_from([PING, PONG]),
    KEYS,
)


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, list[bytes], list[bytes]]:
    """A message, the control frames ahead of it, and its frames with others between."""
    payload = draw(st.binary(max_size=600) | st.sampled_from([b"x" * 126, b"y" * 4000]))
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=5)))
    pieces = [payload[begin:end] for begin, end in pairwise([0, *cuts, len(payload)])]
    frames = []
    for place, piece in enumerate(pieces):
        if place:
            frames += draw(st.lists(CONTROL, max_size=2))
        last = place == len(pieces) - 1
        frames.append(frame(piece, 0 if place else TEXT, final=last, key=draw(KEYS)))
    return payload, draw(st.lists(CONTROL, max_size=4)), frames


def feed(first: FirstMessage, piece: bytes) -> bytes:
    """Read `piece` as a transport does: never more than there is room for. What does not fit is left unread."""
    ahead = b""
    while piece and first.payload is None:
        room = first.room
        assert room
        size = min(len(room), len(piece))
        room[:size] = piece[:size]
        room.release()
        ahead += first.arrived(size)
        piece = piece[size:]
    return ahead


@given(messages(), st.binary(max_size=100), st.lists(st.integers(0, 10_000), max_size=40))
def test_a_message_is_read_whatever_its_frames_and_pieces(
    message: tuple[bytes, list[bytes], list[bytes]], behind: bytes, places: list[int]
) -> None:
    payload, ahead, frames = message
    stream = b"".join([*ahead, *frames, behind])
    first, passed, taken = FirstMessage(), b"", 0
    for begin, end in pairwise([0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]):
        if first.payload is None:
            passed += feed(first, stream[begin:end])
            taken = end
    assert first.payload == payload
    assert passed == b"".join(ahead)  # at once, and nothing else
    assert passed + first.held == stream[:taken]  # to the byte


@given(messages())
def test_byte_by_byte_it_is_whole_with_its_last_byte(message: tuple[bytes, list[bytes], list[bytes]]) -> None:
    payload, ahead, frames = message
    stream = b"".join([*ahead, *frames])
    first = FirstMessage()
    for at in range(len(stream)):
        assert first.payload is None
        feed(first, stream[at : at + 1])
    assert first.payload == payload


def read_by(step: int, stream: bytes) -> FirstMessage:
    """Return the parser of a first message after it has read a stream in steps of so many bytes."""
    first = FirstMessage()
    for at in range(0, len(stream), step):
        feed(first, stream[at : at + step])
    return first


def refused(stream: bytes) -> tuple[int, str]:
    """As what a stream is refused, in one piece and byte by byte."""
    found = []
    for step in (len(stream), 1):
        with pytest.raises(Unreadable) as refusal:
            read_by(step, stream)
        found.append((refusal.value.code, refusal.value.reason))
    assert found[0] == found[1]
    return found[0]


BAD = {
    "compressed": frame(b"x", flags=0x40),
    "a reserved bit": frame(b"x", flags=0x20),
    "another": frame(b"x", flags=0x10),
    "not masked": frame(b"x", masked=False),
    "a control frame not masked": frame(b"x", PING, masked=False),
    "a continuation of nothing": frame(b"x", 0),
    "a second beginning": frame(b"x", final=False) + frame(b"y"),
    "a second beginning, binary": frame(b"x", final=False) + frame(b"y", BINARY),
    "a reserved opcode": frame(b"x", 3),
    "a reserved control opcode": frame(b"x", 0xB),
    "a control frame in fragments": frame(b"x", PING, final=False),
    "a large control frame": frame(b"x" * 126, PING),
    "a compressed control frame": frame(b"x", PING, flags=0x40),
    "a length of two bytes that fits into one": b"\x81\xfe\x00\x01abcdx",
    "a length of eight bytes that fits into two": b"\x81\xff"
    + (300).to_bytes(8, "big")
    + b"abcd"
    + b"x" * 300,
    "a close between fragments": frame(b"x", final=False) + frame(b"\x03\xe8", CLOSE),
}


@pytest.mark.parametrize("stream", BAD.values(), ids=BAD)
def test_what_servers_read_differently_is_refused(stream: bytes) -> None:
    assert refused(stream) == (1002, "unreadable")


def test_a_binary_message_is_refused() -> None:
    assert refused(frame(b"{}", BINARY)) == (1003, "unreadable")


TOO_LARGE = {
    "in one frame": frame(b"x" * LARGEST),
    "as its length says": b"\x81\xfe\xff\xffabcd",
    "as its length says, in eight bytes": b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"abcd",
    "as a length of more than 63 bits says": b"\x81\xff" + b"\xff" * 8 + b"abcd",
    "in many frames": frame(b"x" * 1000, final=False) + frame(b"y" * 1000, 0, final=False) * 20,
    "in many empty frames": frame(b"", final=False) + frame(b"", 0, final=False) * 3000,
    "by what stands between": frame(b"", final=False) + frame(b"z" * 125, PING) * 130,
}


@pytest.mark.parametrize("stream", TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_does_not_fit_is_refused(stream: bytes) -> None:
    assert refused(stream) == (1009, "first_message_too_large")


def test_what_just_fits_is_read() -> None:
    payload = b"x" * (LARGEST - 8)
    first = FirstMessage()
    feed(first, frame(b"y" * 100, PING) * 300 + frame(payload))
    assert first.payload == payload
    assert len(first.held) == LARGEST


def test_nothing_follows_a_close() -> None:
    bye = frame(b"\x03\xe8", CLOSE)
    for stream in (bye + frame(b"x") * 5000, bye):
        for step in (1, 7, len(stream)):
            first, ahead = FirstMessage(), b""
            for at in range(0, len(stream), step):
                ahead += feed(first, stream[at : at + step])
            assert ahead == bye
            assert (first.left, first.payload, first.held) == (True, None, b"")


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_whatever_comes_is_a_message_or_waits_or_is_refused(pieces: list[bytes]) -> None:
    first, passed = FirstMessage(), b""
    for piece in pieces:
        try:
            passed += feed(first, piece)
        except Unreadable:
            return
        assert len(first.held) <= LARGEST
        if first.payload is not None:
            return
    if not first.left:
        assert passed + first.held == b"".join(pieces)
