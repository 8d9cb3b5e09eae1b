"""The examples of RFC 9112 and 9110, as they stand there, through the wire layer; section by section."""

from __future__ import annotations

import pytest

from tests.fuzz.stage import Stage

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def taken(raw: bytes, answers: int = 1) -> tuple[bytes, bytes, Stage]:
    """Return what the upstream is sent of `raw`, and what the client is answered."""
    stage = Stage()
    stage.client_sends(raw)
    sent = b""
    for _ in range(answers):
        sent += bytes(stage.up.written) if stage.up is not None else b""
        if stage.up is not None:
            stage.up.written.clear()
        stage.upstream_sends(OK)
    return sent, bytes(stage.down.written), stage


def test_section_2_1_a_request_and_its_response() -> None:
    sent, answered, stage = taken(
        b"GET /hello.txt HTTP/1.1\r\nUser-Agent: curl/7.64.1\r\nHost: www.example.com\r\n"
        b"Accept-Language: en, mi\r\n\r\n"
    )
    assert sent.startswith(b"GET /hello.txt HTTP/1.1\r\n")
    assert answered.startswith(b"HTTP/1.1 200 ")
    stage.end()


def test_section_2_2_an_empty_line_before_the_request_is_ignored() -> None:
    sent, _, stage = taken(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert sent.startswith(b"GET / HTTP/1.1\r\n")
    stage.end()


@pytest.mark.parametrize(
    "raw",
    [
        b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",  # section 2.2: whitespace before the first field line
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",  # section 5.1: whitespace before the colon
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",  # section 5.2: obs-fold
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\rHost: a\r\r",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",  # section 3: whitespace in the target
    ],
)
def test_what_a_server_must_reject_is_rejected(raw: bytes) -> None:
    sent, answered, stage = taken(raw)
    assert sent == b""
    assert answered.startswith(b"HTTP/1.1 400 ")
    stage.end()


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"GET /where?q=now HTTP/1.1\r\nHost: www.example.org\r\n\r\n", b"GET /where?q=now HTTP/1.1"),
        (b"OPTIONS * HTTP/1.1\r\nHost: www.example.org:8001\r\n\r\n", b"OPTIONS * HTTP/1.1"),
    ],
)
def test_section_3_2_the_forms_of_a_target(raw: bytes, line: bytes) -> None:
    sent, _, stage = taken(raw)
    assert sent.split(b"\r\n")[0] == line
    stage.end()


def test_section_3_2_3_the_authority_form_is_for_connect_which_is_not_served() -> None:
    sent, answered, stage = taken(b"CONNECT www.example.com:80 HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
    assert (sent, answered[:13]) == (b"", b"HTTP/1.1 501 ")
    stage.end()


def test_section_7_1_the_chunked_coding_with_extensions_and_trailers() -> None:
    raw = (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Expires\r\n\r\n"
        b'4;name=value;other="quoted"\r\nWiki\r\n5\r\npedia\r\nE\r\n in\r\n\r\nchunks.\r\n0\r\nExpires: never\r\n\r\n'
    )
    sent, answered, stage = taken(raw)
    assert sent.endswith(b"4\r\nWiki\r\n5\r\npedia\r\ne\r\n in\r\n\r\nchunks.\r\n0\r\n\r\n")
    assert b"never" not in sent
    assert answered.startswith(b"HTTP/1.1 200 ")
    stage.end()


@pytest.mark.parametrize(
    "size", [b"-1", b"+3", b"0x3", b"3 ", b" 3", b"3\t", b"", b"g", b"1ffffffffffffffff", b"3;\x00", b"3\n"]
)
def test_section_7_1_a_chunk_size_is_hexadecimal_digits(size: bytes) -> None:
    raw = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabc\r\n0\r\n\r\n"
    stage = Stage()
    stage.client_sends(raw)
    assert not bytes(stage.up.written if stage.up is not None else b"").endswith(b"0\r\n\r\n")
    assert stage.down.finished or stage.down.closing
    stage.end()


def test_section_9_3_2_pipelined_requests_are_answered_in_order() -> None:
    raw = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(3))
    sent, answered, stage = taken(raw, answers=3)
    assert [line.split(b" ")[1] for line in sent.split(b"\r\n") if line.startswith(b"GET")] == [
        b"/0",
        b"/1",
        b"/2",
    ]
    assert answered.count(b"HTTP/1.1 200 ") == 3
    stage.end()


def test_section_9_6_nothing_behind_a_close_is_processed() -> None:
    raw = b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
    sent, answered, stage = taken(raw, answers=2)
    assert (sent.count(b"GET"), answered.count(b"HTTP/1.1 ")) == (1, 1)
    stage.end()
