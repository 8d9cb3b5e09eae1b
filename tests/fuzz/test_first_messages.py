"""First messages of a WebSocket's client: any goes on as it came, or control frames alone do."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.sockets import first_bytes
from tests.support.sockets import frame

TEXTS = st.sampled_from(
    [
        b'{"type":"auth","payload":{"token":"good"}}',
        b'{"type":"auth","payload":{"token":"bad"}}',
        b'{"type":"auth","payload":{"token":"good","Token":"bad"}}',
        b'{"type":"ping"}',
        b"x" * 17_000,
    ]
)
FRAMES = st.builds(
    lambda payload, opcode, final, masked, flags, key: frame(
        payload, opcode, final=final, masked=masked, flags=flags, key=key
    ),
    TEXTS | st.binary(max_size=130),
    st.sampled_from([0, 1, 1, 2, 8, 9, 10, 11]),
    final=st.sampled_from([True, True, False]),
    masked=st.sampled_from([True] * 9 + [False]),
    flags=st.sampled_from([0] * 9 + [0x40]),
    key=st.binary(min_size=4, max_size=4),
)


@st.composite
def split(draw: st.DrawFn) -> bytes:
    """A message that authenticates, in fragments with pings between."""
    text = b'{"type":"auth","payload":{"token":"good"}}'
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces = [text[begin:end] for begin, end in pairwise([0, *cuts, len(text)])]
    return b"".join(
        frame(piece, 0 if place else 1, final=place == len(pieces) - 1) + b"\x89\x80abcd" * (place % 2)
        for place, piece in enumerate(pieces)
    )


STREAMS = st.lists(FRAMES | split(), max_size=8).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(STREAMS, st.lists(st.integers(0, 40_000), max_size=12))
def test_frames_of_any_kind_in_any_pieces(stream: bytes, places: list[int]) -> None:
    cuts = sorted(place % (len(stream) + 1) for place in places)
    first_bytes([stream[begin:end] for begin, end in pairwise([0, *cuts, len(stream)])])


@settings(max_examples=300, deadline=None)
@given(split(), STREAMS, st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=3))
def test_a_corrupted_message_goes_on_whole_or_not_at_all(
    message: bytes, behind: bytes, places: list[tuple[int, int]]
) -> None:
    changed = bytearray(message)
    for place, byte in places:
        changed[place % len(changed)] = byte
    first_bytes([bytes(changed), behind])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=6))
def test_noise_ends_and_leaves_nothing(pieces: list[bytes]) -> None:
    first_bytes(pieces)
