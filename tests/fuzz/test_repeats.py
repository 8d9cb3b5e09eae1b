"""Repeated bytes: what is read without llhttp is what llhttp would have read."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.messages import BodyKind
from tests.fuzz.messages import requests, responses
from tests.fuzz.stage import Stage

LINES = st.lists(
    st.binary(max_size=60).filter(lambda line: b"\n" not in line and b"\r" not in line), max_size=5
).map(b"\r\n".join)


def seen(first: bytes, second: bytes) -> tuple[bytes, bytes]:
    """Return what the upstream is sent, and the client answered, for `second` behind `first`."""
    stage = Stage()
    stage.client_sends(first)
    stage.upstream_sends(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert stage.up is not None
    sent, answered = len(stage.up.written), len(stage.down.written)
    up = stage.up
    stage.client_sends(second)
    if stage.up is not up:
        sent = 0
    result = bytes(stage.up.written[sent:]), bytes(stage.down.written[answered:])
    stage.end()
    return result


def unremembered(second: bytes) -> tuple[bytes, bytes]:
    """The same behind a request whose lines differ: read by llhttp for certain."""
    return seen(b"GET /first HTTP/1.1\r\nHost: e\r\nX-Never: the same\r\n\r\n", second)


@settings(max_examples=500, deadline=None)
@given(
    block=st.one_of(LINES, requests().map(lambda r: r[2].partition(b"\r\n")[2])), line=st.binary(max_size=60)
)
def test_a_request_line_before_known_lines_reads_as_by_llhttp(block: bytes, line: bytes) -> None:
    known = b"GET /first HTTP/1.1\r\nHost: e\r\n" + block + b"\r\n\r\n"
    second = line + known[known.index(b"\r\n") :]
    assert unremembered_or_same(known, second)


@settings(max_examples=300, deadline=None)
@given(
    target=st.text("/abc.%20?=;#\\ \t\"'<>[]{}|^`~!$&()*+,:@-_", max_size=30),
    method=st.sampled_from(["GET", "HEAD", "DELETE", "OPTIONS", "POST", "CONNECT", "get", "GETS"]),
    version=st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", ""]),
)
def test_any_request_line_before_known_lines_reads_as_by_llhttp(
    target: str, method: str, version: str
) -> None:
    known = b"GET /first HTTP/1.1\r\nHost: e\r\nAccept: a\r\n\r\n"
    second = f"{method} /{target} {version}".encode() + known[known.index(b"\r\n") :]
    assert unremembered_or_same(known, second)


def unremembered_or_same(known: bytes, second: bytes) -> bool:
    stage = Stage()
    stage.client_sends(known)
    stage.upstream_sends(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    taken = stage.served == 1 and not stage.down.closing and not stage.down.finished
    stage.end()
    return not taken or seen(known, second) == unremembered(second)


@settings(max_examples=300, deadline=None)
@given(response=responses(), extra=st.binary(max_size=20), method=st.sampled_from([b"GET", b"HEAD", b"POST"]))
def test_a_known_response_head_reads_as_by_llhttp(
    response: tuple[int, bytes, bytes, bytes], extra: bytes, method: bytes
) -> None:
    _, _, head, framed = response
    ask = (
        b"%b /x HTTP/1.1\r\nHost: e\r\n\r\n" % method
        if method != b"POST"
        else b"POST /x HTTP/1.1\r\nHost: e\r\nContent-Length: 0\r\n\r\n"
    )

    def answer_to(stage: Stage, said: bytes) -> bytes:
        before = len(stage.down.written)
        stage.client_sends(ask)
        stage.upstream_sends(said)
        return bytes(stage.down.written[before:])

    fresh, known = Stage(), Stage()
    known.client_sends(b"GET /x HTTP/1.1\r\nHost: e\r\n\r\n")
    known.upstream_sends(head + framed)  # now its head may be known
    if known.down.closing or known.down.finished or known.served != 1:
        known.end()
        fresh.end()
        return
    assert answer_to(known, head + framed + extra) == answer_to(fresh, head + framed + extra)
    assert known.served - 1 == fresh.served
    known.end()
    fresh.end()


def test_the_repeats_are_really_taken() -> None:
    stage = Stage()
    ask = b"GET /%d HTTP/1.1\r\nHost: e\r\nAccept: a\r\n\r\n"
    client: Any = stage.client
    stage.client_sends(ask % 1)
    stage.upstream_sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    reader = client._reader  # noqa: SLF001 -- to see that this file tests something
    assert reader._repeated(ask % 2)  # noqa: SLF001
    inbound = client._queue.pop()  # noqa: SLF001
    assert (inbound.head.target, inbound.head.kind, inbound.complete) == (b"/2", BodyKind.NONE, True)
    assert stage.known.find(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n") is not None
    stage.end()
