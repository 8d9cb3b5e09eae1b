"""The frame tracker against a parser that reads whole streams the plain way."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.frames import Frames, close_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTHS = [0, 1, 4, 124, 125, 126, 127, 128, 300, 65_535, 65_536, 70_000]


def frame(opcode: int, length: int, *, masked: bool, final: bool = True) -> bytes:
    """A frame as RFC 6455 section 5.2 draws it."""
    mask = 0x80 if masked else 0
    if length < 126:
        size = struct.pack("!B", mask | length)
    elif length < 65_536:
        size = struct.pack("!BH", mask | 126, length)
    else:
        size = struct.pack("!BQ", mask | 127, length)
    return (
        bytes([(0x80 if final else 0) | opcode])
        + size
        + (b"\x88\x7f\x00\xff" if masked else b"")
        + b"\x88" * length
    )


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    one = st.builds(
        frame,
        st.sampled_from([0, 1, 2, 8, 9, 10]),
        st.sampled_from(LENGTHS) | st.integers(0, 600),
        masked=st.booleans(),
        final=st.booleans(),
    )
    return draw(st.lists(one, min_size=1, max_size=8))


def ends(frames: list[bytes]) -> list[int]:
    at, found = 0, []
    for one in frames:
        at += len(one)
        found.append(at)
    return found


def cut(stream: bytes, places: list[int]) -> Iterator[tuple[int, bytes]]:
    for begin, end in pairwise([0, *sorted({place % (len(stream) + 1) for place in places}), len(stream)]):
        yield end, stream[begin:end]


@given(streams(), st.lists(st.integers(0, 200_000), max_size=40))
def test_a_tracker_knows_after_every_piece_whether_it_is_between_frames(
    frames: list[bytes], places: list[int]
) -> None:
    stream, boundaries = b"".join(frames), {0, *ends(frames)}
    tracker = Frames()
    for end, piece in cut(stream, places):
        tracker.feed(piece)
        assert tracker.between == (end in boundaries)
    assert tracker.closed == any(one[0] & 15 == 8 for one in frames)


@given(streams())
def test_a_tracker_knows_after_every_byte_whether_it_is_between_frames(frames: list[bytes]) -> None:
    stream, boundaries = b"".join(frames)[:2000], {0, *ends(frames)}
    tracker = Frames()
    for at in range(len(stream)):
        tracker.feed(stream[at : at + 1])
        assert tracker.between == (at + 1 in boundaries)


@given(streams(), st.integers(0, 200_000), st.lists(st.integers(0, 200_000), max_size=10))
def test_a_tracker_finds_the_end_of_the_frame_under_way(
    frames: list[bytes], start: int, places: list[int]
) -> None:
    """From anywhere, in whatever pieces: what belongs to the present frame, and not a byte of the next."""
    stream = b"".join(frames)
    start %= len(stream)
    wanted = min(end for end in ends(frames) if end > start)
    tracker = Frames()
    tracker.feed(stream[:start])
    rest, taken = stream[start:], 0
    for _, piece in cut(rest, places):
        if not piece:
            continue
        taken += tracker.feed_one(piece)
        if tracker.between:
            break
    assert start + taken == wanted


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_bytes_that_are_no_frames_do_no_harm(pieces: list[bytes]) -> None:
    tracker = Frames()
    for piece in pieces:
        tracker.feed(piece)
        assert tracker.between in {True, False}


@pytest.mark.parametrize(("code", "reason"), [(4401, "session ended"), (1001, ""), (4401, "x" * 500)])
def test_a_close_frame_is_one_frame_that_says_what_it_should(code: int, reason: str) -> None:
    for masked in (False, True):
        made = close_frame(code, reason, masked=masked)
        tracker = Frames()
        assert tracker.feed_one(made + b"\x81\x00") == len(made)
        assert tracker.closed
        assert made[0] == 0x88
        assert bool(made[1] & 0x80) == masked
        payload = made[2:]
        if masked:
            key, payload = payload[:4], payload[4:]
            payload = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
        assert len(payload) <= 125  # section 5.5
        assert payload == code.to_bytes(2, "big") + reason.encode()[:123]
