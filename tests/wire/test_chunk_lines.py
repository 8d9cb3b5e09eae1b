"""White space around chunk extensions: read as RFC 9112 section 7.1.1 has it, wherever the bytes are cut."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.chunk_lines import ChunkLines

TOKENS = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=6)
WHITE = st.text(" \t", max_size=3)
QUOTED = st.text("ab ;=,\t", max_size=8).map(lambda text: f'"{text}"') | st.just(r'"\" ; \\"')


@st.composite
def lines(draw: st.DrawFn, size: int) -> bytes:
    """A line of a chunk of `size`, with any extensions."""
    line = draw(st.sampled_from(["%x", "%X", "0%x"])) % size
    for _ in range(draw(st.integers(0, 3))):
        line += f"{draw(WHITE)};{draw(WHITE)}{draw(TOKENS)}"
        if draw(st.booleans()):
            line += f"{draw(WHITE)}={draw(WHITE)}{draw(TOKENS | QUOTED)}"
    return line.encode() + b"\r\n"


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A chunked body as it may come, and what it carries."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=30) | st.just(b"; a = b\r\n0\r\n"), max_size=4))
    framed = b"".join(draw(lines(len(piece))) + piece + b"\r\n" for piece in pieces)
    trailers = draw(st.sampled_from([b"", b"X-A: 1; b = 2\r\n", b"X-A: 1\r\nX-B : 2\r\n"]))
    return framed + draw(lines(0)) + trailers + b"\r\n", b"".join(pieces)


class Reader:
    """Reader of a chunked request, by llhttp."""

    def __init__(self) -> None:
        self.body = b""
        self.whole = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.whole = True


def scanned(raw: bytes, cuts: list[int]) -> tuple[bytes, int, ChunkLines]:
    """Return what is passed on of `raw` when it comes in pieces, and where its body ended."""
    chunks, passed, at = ChunkLines(), b"", 0
    for cut in sorted({cut % (len(raw) + 1) for cut in cuts} | {len(raw)}):
        if chunks.over:
            break
        piece, at = chunks.scan(raw[:cut], at)
        passed += piece
    return passed, at, chunks


@given(bodies(), st.lists(st.integers(0, 400), max_size=8))
def test_a_body_is_read_alike_wherever_it_is_cut_and_ends_where_it_ends(
    body: tuple[bytes, bytes], cuts: list[int]
) -> None:
    framed, carried = body
    if b"X-B : 2" in framed:  # white space that no grammar allows is left to the parser
        framed = framed.replace(b"X-B : 2\r\n", b"")
    passed, end, chunks = scanned(framed + b"GET /next HTTP/1.1\r\n\r\n", cuts)
    assert (end, chunks.over, chunks.blind) == (len(framed), True, False)
    reader = Reader()
    reader.parser.feed_data(passed)
    assert (reader.body, reader.whole) == (carried, True)


SIZES = st.text("0123456789abcdefABCDEFxX_+- \t", min_size=1, max_size=6).map(str.encode)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    "size", [b"-6", b"-ff", b"-0", b"+5", b"+ 5", b"0x5", b"0X5", b"1_0", b"_", b"- 6", b"\x0b5", b"5\x0c"]
)
def test_a_size_that_is_more_than_digits_is_left_for_the_parser_to_refuse(
    size: bytes, *, padded: bool
) -> None:
    raw = size + b"\r\nhello\r\n0\r\n\r\n"
    chunks = ChunkLines(padded=padded)
    passed, end = chunks.scan(raw)
    assert (passed, end, chunks.blind) == (raw, len(raw), True)


@given(SIZES, st.binary(max_size=20), st.lists(st.integers(0, 60), max_size=4), st.booleans())
def test_a_scan_ends_whatever_the_size_says(size: bytes, body: bytes, cuts: list[int], padded: bool) -> None:
    chunks, at, raw = ChunkLines(padded=padded), 0, size + b"\r\n" + body + b"\r\n"
    for cut in sorted({cut % (len(raw) + 1) for cut in cuts} | {len(raw)}):
        before = at
        if not chunks.over:
            _, at = chunks.scan(raw[:cut], at)
        assert before <= at <= cut


@given(st.binary(max_size=120), st.lists(st.integers(0, 200), max_size=6))
def test_nothing_is_added_and_only_a_line_loses_bytes(raw: bytes, cuts: list[int]) -> None:
    passed, end, chunks = scanned(raw, cuts)
    rest = iter(raw[:end])
    assert all(byte in rest for byte in passed), "passed on in order, and no byte of ours"
    if chunks.blind:
        assert end == len(raw)


@pytest.mark.parametrize(
    "line",
    [
        b"5 \r\n",
        b" 5\r\n",
        b"5 5;a\r\n",
        b"5 ;\r\n",
        b"5; \r\n",
        b'5; a="\x00"\r\n',
        b'5; a="b\r\n',
        b"5; a b\r\n",
        b"+5; a\r\n",
    ],
)
def test_white_space_that_the_grammar_does_not_know_is_left_for_the_parser_to_refuse(line: bytes) -> None:
    passed, _, _ = scanned(line + b"hello\r\n0\r\n\r\n", [])
    reader = Reader()
    with pytest.raises(httptools.HttpParserError):
        reader.parser.feed_data(passed)
    assert reader.body == b""
