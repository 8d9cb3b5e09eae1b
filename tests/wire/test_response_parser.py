"""A response is the same one however its bytes are cut into reads."""

from __future__ import annotations

import itertools

import pytest

from gateway.wire.known_heads import KnownHeads
from gateway.wire.messages import ProtocolError
from gateway.wire.response_parser import ResponseParser

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODIES = [
    b"5;n=v\r\nhello\r\n0\r\n\r\n",
    b"5; n = v\r\nhello\r\n0\r\n\r\n",
    b"5 ;n\r\nhello\r\n0 ; m\r\n\r\n",
    b'5;n=" ;"\r\nhello\r\n0;n=v\r\n\r\n',
    b"2\r\nhe\r\n3;n=v; m\r\nllo\r\n0;n\r\nX: 1\r\n\r\n",
    b"5  \r\nhello\r\n0 \r\n\r\n",
]


def parsed(*reads: bytes) -> tuple[int, bytes, bool, bool]:
    """Return a response's status, its body, whether it has ended, and whether something follows it."""
    parser = ResponseParser(KnownHeads())
    parser.expect(b"GET", upgrade=False)
    for raw in reads:
        parser.feed(raw)
        while parser.held:
            parser.feed(b"")
    assert parser.final is not None
    found = parser.final.status, b"".join(parser.pieces), parser.complete, parser.excess
    parser.close()
    return found


@pytest.mark.parametrize(
    "interim", [b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"], ids=["", "behind 103"]
)
@pytest.mark.parametrize("body", BODIES)
def test_extensions_of_chunks_may_be_cut_anywhere(body: bytes, interim: bytes) -> None:
    raw = interim + CHUNKED + body
    first = len(raw) - len(body)
    for cuts in itertools.combinations(range(first, len(raw)), 2):
        reads = [raw[begin:end] for begin, end in itertools.pairwise((0, *cuts, len(raw)))]
        assert parsed(*reads) == (200, b"hello", True, False), reads


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "unknown HTTP version"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "ambiguous framing"),
        (b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", "status"),
        (b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n", "asked for no upgrade"),
    ],
)
@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"], ids=["", "close"])
def test_a_refused_head_behind_an_interim_one_keeps_its_own_reason(
    head: bytes, complaint: str, close: bytes
) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        parsed(b"HTTP/1.1 103 X\r\n" + close + b"\r\n" + head)


def test_bytes_are_progress_of_a_response_only_if_they_hold_some_of_its_body() -> None:
    parser = ResponseParser(KnownHeads())
    parser.expect(b"GET", upgrade=False)
    progress = []
    for raw in (CHUNKED, b"5;", b"n", b"\r\nhel", b"lo", b"\r\n0\r", b"\nX: ", b"y"):
        parser.feed(raw)
        progress.append(parser.has_progressed)
    assert progress == [False, False, False, True, True, False, False, False]
