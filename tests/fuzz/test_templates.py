"""A head that a template takes is parsed, and forwarded, as by the full parser; any other head goes to that parser."""

from __future__ import annotations

import gc
from itertools import permutations, product
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy.clock import http_date
from gateway.proxy.headers import HeaderPolicy
from gateway.proxy.response_headers import response_start
from gateway.wire.known_heads import KnownHeads
from gateway.wire.messages import ProtocolError, RequestHead, ResponseHead
from gateway.wire.request_parser import RequestParser
from gateway.wire.response_parser import ResponseParser
from gateway.wire.templates import FIXED_IN_REQUESTS, Templates
from tests.fuzz.stage import LIMITS, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.wire.inbound import Inbound

NAMES = (
    *(
        "Accept",
        "accept",
        "X-Trace",
        "Cookie",
        "Authorization",
        "X-API-Key",
        "X-Organization-ID",
        "traceparent",
    ),
    *(
        "Connection",
        "TE",
        "Expect",
        "Upgrade",
        "Keep-Alive",
        "Content-Length",
        "Transfer-Encoding",
        "X_User_ID",
    ),
    *("Date", "ETag", "Set-Cookie", "Proxy-Connection", "Cdn-Loop", "Access-Control-Allow-Origin", "Vary"),
)
PLAIN = st.sampled_from(
    (
        *("a", "b c", "0", "1", "2", "2", "02", "close", "keep-alive", "chunked", "100-continue"),
        *("*", "X-User-ID, a", "timeout=5", "whm_access=1; b=2", "b=2", "x-trace", 'W/"1"', "Bearer x"),
    )
)
ANY = st.one_of(
    PLAIN.map(str.encode),
    st.binary(max_size=8),
    st.sampled_from(
        [
            b"",
            b" ",
            b"a ",
            b" a",
            b"\ta",
            b"a\r",
            b"a\nb",
            b"a\0",
            b"\xe9",
            b"a\x7f",
            b"a\r\nX: y",
            b"+2",
            b"2, 2",
        ]
    ),
)


def lines(names: Iterable[str], values: Iterable[bytes]) -> bytes:
    return b"".join(b"%b: %b\r\n" % (name.encode(), value) for name, value in zip(names, values, strict=True))


@st.composite
def families(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Blocks of field lines of one shape, of which most are valid; and one more, which may be anything."""
    names = draw(st.lists(st.sampled_from(NAMES), max_size=5, unique_by=str.lower))
    constant = draw(st.lists(PLAIN, min_size=len(names), max_size=len(names)))
    varies = draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))

    def one(strategy: st.SearchStrategy[bytes]) -> bytes:
        values = [
            draw(strategy) if may else known.encode() for known, may in zip(constant, varies, strict=True)
        ]
        return lines(names, values)

    known = [one(PLAIN.map(str.encode)) for _ in range(draw(st.integers(1, 3)))]
    return known, mutated(draw, one(draw(st.sampled_from([PLAIN.map(str.encode), ANY]))))


def mutated(draw: st.DrawFn, block: bytes) -> bytes:
    """The block, or the block with one byte taken out, put in, or changed."""
    how = draw(st.sampled_from(["same", "same", "out", "in", "changed"]))
    if how == "same" or not block:
        return block
    at = draw(st.integers(0, len(block) - 1))
    put = (
        b""
        if how == "out"
        else draw(st.sampled_from([b"\r", b"\n", b"\0", b" ", b":", b"\t", b"0", b"a", b"\xff"]))
    )
    return block[:at] + put + block[at + (how != "in") :]


def fields_of(head: RequestHead | ResponseHead) -> tuple[object, ...]:
    return head.fields, head.first, head.repeated, head.minor, head.keep_alive, head.kind, head.length


def requests_seen(templates: Templates, raw: bytes) -> tuple[list[RequestHead], object]:
    """Return the heads that a parser reads from `raw`, and all that it says of them."""
    ready: list[Inbound] = []
    stage = Stage()
    parser = RequestParser(stage.client, LIMITS, ready, templates)
    try:
        parser.read(raw)
        fault: object = parser.in_head, parser.current is None
    except ProtocolError as error:
        fault = error.status
    heads = [inbound.head for inbound in ready]
    seen = [
        (fields_of(one.head), one.head.method, one.head.target, one.head.upgrade, one.complete, one.pieces)
        for one in ready
    ]
    parser.close()
    stage.end()
    return heads, (seen, fault)


def conversation_seen(templates: Templates, reads: Iterable[bytes]) -> tuple[int, bytes, object]:
    """Return the number of requests in several reads, what the parser writes by itself, and its refusal."""
    ready: list[Inbound] = []
    stage = Stage()
    parser = RequestParser(stage.client, LIMITS, ready, templates)
    seen, fault = 0, None
    try:
        for raw in reads:
            parser.read(raw)
            seen += len(ready)
            ready.clear()
    except ProtocolError as error:
        fault = error.status
    stage.turn()
    written = bytes(stage.down.written)
    parser.close()
    stage.end()
    return seen, written, fault


def known_to_requests(blocks: Iterable[bytes]) -> Templates:
    templates = Templates(FIXED_IN_REQUESTS)
    for block in blocks:
        requests_seen(templates, b"GET /first HTTP/1.1\r\nHost: e\r\n" + block + b"\r\n")
    return templates


@settings(max_examples=1500, deadline=None)
@given(
    family=families(),
    line=st.sampled_from(
        [
            b"GET /x HTTP/1.1",
            b"HEAD /x?y HTTP/1.1",
            b"POST /x HTTP/1.1",
            b"GET /x HTTP/1.0",
            b"GET  /x HTTP/1.1",
        ]
    ),
    behind=st.sampled_from([b"", b"", b"", b"x", b"GET /y HTTP/1.1\r\nHost: e\r\n\r\n"]),
)
def test_a_request_of_a_known_shape_is_parsed_as_by_llhttp(
    family: tuple[list[bytes], bytes], line: bytes, behind: bytes
) -> None:
    known, block = family
    raw = line + b"\r\nHost: e\r\n" + block + b"\r\n" + behind
    templates = known_to_requests(known)
    _, fresh = requests_seen(Templates(FIXED_IN_REQUESTS), raw)
    for _ in range(2):  # the second time its template, if it has one, is among those that are tried first
        _, taught = requests_seen(templates, raw)
        assert taught == fresh


@settings(max_examples=1000, deadline=None)
@given(
    family=families(),
    cookies=st.booleans(),
    strip=st.booleans(),
    ours=st.booleans(),
    replaced=st.sampled_from(
        [frozenset(), frozenset({b"traceparent"}), frozenset({b"x-organization-id", b"accept"})]
    ),
)
def test_a_request_of_a_known_shape_is_forwarded_as_one_that_llhttp_parsed(
    family: tuple[list[bytes], bytes], *, cookies: bool, strip: bool, ours: bool, replaced: frozenset[bytes]
) -> None:
    known, block = family
    policy = HeaderPolicy({"user_id": "X-User-ID"}, cookies=cookies)
    templates = known_to_requests(known)
    for other in (known[0], block):  # the first makes the pieces, which the second fills
        raw = b"GET /x HTTP/1.1\r\nHost: e\r\n" + other + b"\r\n"
        taught, _ = requests_seen(templates, raw)
        fresh, _ = requests_seen(Templates(FIXED_IN_REQUESTS), raw)
        assert [policy.passing(head, strip=strip, replaced=replaced, ours=ours) for head in taught] == [
            policy.passing(head, strip=strip, replaced=replaced, ours=ours) for head in fresh
        ]


def response_seen(known: KnownHeads, raw: bytes, method: bytes = b"GET") -> tuple[list[ResponseHead], object]:
    """Return the heads that a parser reads from `raw`, and all that it says of them."""
    parser = ResponseParser(known)
    parser.expect(method, upgrade=False)
    try:
        parser.feed(raw)
        fault: object = None
    except ProtocolError as error:
        fault = error.status
    heads = list(parser.heads)
    seen = [(fields_of(head), head.status, head.phrase, head.rest_seconds) for head in heads]
    state = parser.complete, parser.excess, parser.reusable, b"".join(parser.pieces)
    parser.close()
    return heads, (seen, state, fault)


def response(status: bytes, block: bytes, length: str, body: bytes) -> bytes:
    framed = b"Content-Length: %b\r\n" % length.encode() if length else b""
    return b"HTTP/1.1 %b\r\n%b%b\r\n%b" % (status, block, framed, body)


STATUSES = st.sampled_from(
    [b"200 OK", b"404 Not Found", b"204 No Content", b"304 Not Modified", b"103 Hints"]
)


@settings(max_examples=1500, deadline=None)
@given(
    family=families(),
    status=STATUSES,
    lengths=st.lists(st.sampled_from(["0", "1", "2", "3", "00", "02", ""]), min_size=3, max_size=3),
    other=st.sampled_from(["0", "00", "2", "5", "02", "+2", "", "2 ", "9" * 19]),
    body=st.sampled_from([b"", b"x", b"xx", b"xxxxx", b"xxHTTP/1.1 200 OK\r\n\r\n"]),
    method=st.sampled_from([b"GET", b"POST", b"HEAD"]),
)
def test_a_response_of_a_known_shape_is_parsed_and_relayed_as_by_llhttp(
    family: tuple[list[bytes], bytes],
    status: bytes,
    lengths: list[str],
    other: str,
    body: bytes,
    method: bytes,
) -> None:
    blocks, block = family
    known = KnownHeads()
    for before, length in zip(blocks, lengths, strict=False):
        response_seen(known, response(status, before, length, b"x" * int(length or 0)))
    raw = response(status, block, other, body)
    for _ in range(2):
        taught, parsed = response_seen(known, raw, method)
        fresh, wanted = response_seen(KnownHeads(), raw, method)
        assert parsed == wanted
        for cors in (b"", b"Access-Control-Allow-Origin: *\r\n"):
            ours, theirs = starts_of_one_second(taught, fresh, cors)
            assert ours == theirs


def starts_of_one_second(
    some: list[ResponseHead], others: list[ResponseHead], cors: bytes
) -> tuple[list[bytes], list[bytes]]:
    """Return the starts that clients are sent of both; made in the same second, by the Date that we add."""
    while True:
        now = http_date()
        starts = [[response_start(head, b"id", cors) for head in heads] for heads in (some, others)]
        if http_date() == now:
            return starts[0], starts[1]


LENGTHS = ("0", "00", "2", "02", "3", "")


@pytest.mark.parametrize("known", list(product(LENGTHS, repeat=2)), ids=str)
def test_a_length_that_varies_is_parsed_as_by_llhttp(known: tuple[str, str]) -> None:
    """Every length after every other two, with every body: a length that is not believed makes a body of a head."""
    for other, body in product((*LENGTHS, "5", "+2", "2, 2", "9" * 19), (b"", b"x", b"xx", b"xxx", b"xxxxx")):
        taught = KnownHeads()
        for length in known:
            response_seen(taught, response(b"200 OK", b"Date: a\r\n", length, b"x" * int(length or 0)))
        raw = response(b"200 OK", b"Date: a\r\n", other, body)
        assert response_seen(taught, raw)[1] == response_seen(KnownHeads(), raw)[1]


def test_an_empty_line_in_a_body_ends_no_head_though_the_last_head_ended_there() -> None:
    answer = b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Length: %d\r\n\r\n"
    long, short = answer % (b"d" * 60, 20), answer % (b"d" * 20, 60)
    body = b"x" * 36 + b"\r\n\r\n" + b"y" * 20  # its end is as long as the other body
    taught = KnownHeads()
    for _ in range(3):
        response_seen(taught, long + b"z" * 20)
    assert (short + body)[: len(long)].endswith(b"\r\n\r\n")
    assert response_seen(taught, short + body)[1] == response_seen(KnownHeads(), short + body)[1]


VALUES = (
    b"",
    b"a",
    b"ab",
    b"a b",
    b"x" * 40,
    b" ",
    b"a\r",
    b"a\n",
    b"a\r\nX-A: b",
    b"a\r\nX-A: b\r\n",
    b"a\r\nX-A: b\r\n\r\n",
)


@pytest.mark.parametrize("known", list(product(VALUES, repeat=2)), ids=str)
def test_a_value_of_any_length_is_parsed_as_by_llhttp_after_values_of_others(
    known: tuple[bytes, bytes],
) -> None:
    """A template looks first where the last value ended: that place may be within this one, or behind it."""
    ask = b"GET / HTTP/1.1\r\nHost: e\r\nAccept: %b\r\nX-A: b\r\n\r\n"
    for value in VALUES:
        templates = Templates(FIXED_IN_REQUESTS)
        for taught in (b"first", b"second", *known):
            requests_seen(templates, ask % taught)
        assert (
            requests_seen(templates, ask % value)[1]
            == requests_seen(Templates(FIXED_IN_REQUESTS), ask % value)[1]
        )


@pytest.mark.parametrize(
    "raw",
    [b"x", b"\n" * 5, b"GET / HTTP/1.1\nHost: e\nAccept: a\nX-A: b\n\n", b"GET / HTTP/1.1\r", b"\r\nHost: e"],
)
def test_bytes_without_a_line_end_are_parsed_as_by_llhttp_after_known_heads(raw: bytes) -> None:
    ask = b"GET / HTTP/1.1\r\nHost: e\r\nAccept: %d\r\nX-A: b\r\n\r\n"
    templates = Templates(FIXED_IN_REQUESTS)
    for number in range(3):
        requests_seen(templates, ask % number)
    assert requests_seen(templates, raw)[1] == requests_seen(Templates(FIXED_IN_REQUESTS), raw)[1]


@pytest.mark.parametrize(
    "behind",
    [
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
        [b"\r\n", b"GET / HTTP/1.1\r\nHost: e\r\nAccept: 7\r\nX-A: b\r\n\r\n"] * LIMITS.head_bytes,
    ],
    ids=["the preface of HTTP/2", "empty lines between requests"],
)
def test_what_follows_a_request_of_a_known_shape_is_parsed_as_after_one_of_llhttp(
    behind: list[bytes],
) -> None:
    ask = b"GET / HTTP/1.1\r\nHost: e\r\nAccept: %d\r\nX-A: b\r\n\r\n"
    templates = Templates(FIXED_IN_REQUESTS)
    for number in range(3):
        requests_seen(templates, ask % number)
    reads = [ask % 3, *behind]
    assert conversation_seen(templates, reads) == conversation_seen(Templates(FIXED_IN_REQUESTS), reads)


def test_a_busy_shape_outlasts_those_that_a_peer_invents() -> None:
    templates = Templates(FIXED_IN_REQUESTS)
    ask = b"GET / HTTP/1.1\r\nHost: e\r\nAccept: %d\r\n%b: a\r\n\r\n"
    for shape in range(7):
        for number in range(2):
            requests_seen(templates, ask % (number, b"X-%d" % shape))
    taken = []
    for burst in range(50):
        for number in range(20):
            (head,), _ = requests_seen(templates, ask % (number, b"X-Busy"))
            taken.append(head.template is not None)
        for invented in range(4):
            for number in range(3):
                requests_seen(templates, ask % (number, b"X-%d-%d" % (burst, invented)))
    assert taken.count(False) == 2  # it was learnt, and widened, once


@pytest.mark.parametrize("shapes", [1, 4, 5, 8])
def test_a_request_is_taken_by_its_template_however_many_shapes_take_turns(shapes: int) -> None:
    templates = Templates(FIXED_IN_REQUESTS)
    for number in range(4):
        for shape in range(shapes):
            block = b"Accept: %d\r\n" % number + b"X-%d: a\r\n" % shape
            (head,), _ = requests_seen(templates, b"GET / HTTP/1.1\r\nHost: e\r\n" + block + b"\r\n")
            assert (head.template is not None) == (number > 1)


@pytest.mark.parametrize("name", sorted(FIXED_IN_REQUESTS - {b"host"}))
def test_a_field_that_frames_or_connects_is_parsed_as_by_llhttp(name: bytes) -> None:
    values = (
        b"a",
        b"b",
        b"0",
        b"2",
        b"chunked",
        b"close",
        b"keep-alive",
        b"upgrade",
        b"websocket",
        b"100-continue",
    )
    for first, second, third in permutations(values, 3):
        raw = [
            b"GET / HTTP/1.1\r\nHost: e\r\nAccept: %b\r\n%b: %b\r\n\r\n" % (value, name, value)
            for value in (first, second, third)
        ]
        templates = Templates(FIXED_IN_REQUESTS)
        requests_seen(templates, raw[0])
        requests_seen(templates, raw[1])
        assert requests_seen(templates, raw[2])[1] == requests_seen(Templates(FIXED_IN_REQUESTS), raw[2])[1]


def test_a_request_whose_values_vary_is_taken_by_its_template() -> None:
    ask = b"GET /%d HTTP/1.1\r\nHost: e\r\nAccept: %b\r\nAuthorization: Bearer %b\r\nX-A: b\r\n\r\n"
    templates = Templates(FIXED_IN_REQUESTS)
    requests_seen(templates, ask % (1, b"a", b"x"))
    requests_seen(templates, ask % (2, b"b", b"y"))
    (head,), _ = requests_seen(templates, ask % (3, b"c", b"z"))
    assert head.template is not None
    assert head.values == [b"c", b"Bearer z"]


def test_a_response_whose_values_vary_is_taken_by_its_template() -> None:
    answer = b"HTTP/1.1 200 OK\r\nDate: %d\r\nContent-Length: %d\r\nETag: %d\r\n\r\n"
    known = KnownHeads()
    response_seen(known, answer % (1, 1, 1) + b"x")
    response_seen(known, answer % (2, 2, 2) + b"xx")
    (head,), _ = response_seen(known, answer % (3, 3, 3) + b"xxx")
    assert head.template is not None
    assert (head.length, head.values) == (3, [b"3", b"3", b"3"])


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "X-API-Key"])
def test_no_template_holds_a_credential(name: str) -> None:
    templates = Templates(FIXED_IN_REQUESTS)
    ask = b"GET /1 HTTP/1.1\r\nHost: e\r\n%b: %b\r\nAccept: a\r\n\r\n"
    requests_seen(templates, ask % (name.encode(), b"of-somebody"))
    (head,), _ = requests_seen(templates, ask % (name.encode(), b"of-another"))
    assert head.template is not None  # one head was enough
    assert not [found for found in reachable(templates) if b"of-" in found]


def reachable(start: object) -> list[bytes]:
    """Return all bytes that an object holds, at any depth."""
    seen: dict[int, object] = {}
    waiting = [start]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, type | ModuleType | FunctionType):
            seen[id(one)] = one
            waiting += gc.get_referents(one)
    return [one for one in seen.values() if isinstance(one, bytes)]


def test_shapes_without_end_are_forgotten() -> None:
    templates = Templates(FIXED_IN_REQUESTS)
    for number in range(2000):
        block = b"".join(b"X-%d-%d: a\r\n" % (number, line) for line in range(number % 30))
        requests_seen(templates, b"GET / HTTP/1.1\r\nHost: e\r\n" + block + b"\r\n")
    assert 0 < len(templates) <= 30 * 8
