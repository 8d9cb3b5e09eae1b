"""The pure laws, rule by rule; over the wire they are held by tests/flow and tests/attacks."""

from __future__ import annotations

import pytest

from gateway.wire.framing import check_request, check_response, connection_tokens
from gateway.wire.messages import BodyKind, Fields, ProtocolError, RequestHead, ResponseHead

HOST = (b"Host", b"example.test")


def request(
    *fields: tuple[bytes, bytes], method: bytes = b"POST", minor: int = 1, upgrade: bool = False
) -> RequestHead:
    head = RequestHead(list(fields), method=method, target=b"/", minor=minor, upgrade=upgrade)
    head.index()
    return head


def response(*fields: tuple[bytes, bytes], status: int = 200, minor: int = 1) -> ResponseHead:
    head = ResponseHead(list(fields), status=status, minor=minor)
    head.index()
    return head


@pytest.mark.parametrize(
    ("fields", "kind", "length"),
    [
        ((), BodyKind.NONE, 0),
        (((b"Content-Length", b"0"),), BodyKind.NONE, 0),
        (((b"Content-Length", b"12"),), BodyKind.LENGTH, 12),
        (((b"Content-Length", b"0012"),), BodyKind.LENGTH, 12),
        (((b"Transfer-Encoding", b"chunked"),), BodyKind.CHUNKED, 0),
        (((b"transfer-encoding", b"ChunKed"),), BodyKind.CHUNKED, 0),
    ],
)
def test_a_requests_body_ends_where_its_fields_say(
    fields: tuple[tuple[bytes, bytes], ...], kind: BodyKind, length: int
) -> None:
    head = request(HOST, *fields)
    check_request(head)
    assert (head.kind, head.length) == (kind, length)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ((), 400),
        ((HOST, HOST), 400),
        (((b"Host", b"a b"),), 400),
        (((b"Host", b"a/b"),), 400),
        (((b"Host", b"user@a"),), 400),
        (((b"Host", b""),), 400),
        (((b"Host", b"a:b"),), 400),
        (((b"Host", b"a..b"),), 400),
        (((b"Host", b".a"),), 400),
        (((b"Host", b"a.."),), 400),
        (((b"Host", b"a..:80"),), 400),
        (((b"Host", b"."),), 400),
        (((b"Host", b"..:80"),), 400),
        (((b"Host", b"a\xff"),), 400),
        ((HOST, (b"Content-Length", b"1"), (b"Content-Length", b"1")), 400),
        ((HOST, (b"Content-Length", b"1, 1")), 400),
        ((HOST, (b"Content-Length", b"+1")), 400),
        ((HOST, (b"Content-Length", b"-1")), 400),
        ((HOST, (b"Content-Length", b"")), 400),
        ((HOST, (b"Content-Length", b"\xd9\xa1")), 400),
        ((HOST, (b"Content-Length", b"9" * 30)), 400),
        ((HOST, (b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")), 400),
        ((HOST, (b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")), 400),
        ((HOST, (b"Transfer-Encoding", b"gzip, chunked")), 501),
        ((HOST, (b"Transfer-Encoding", b"identity")), 501),
        ((HOST, (b"Transfer-Encoding", b"chunked\xa0")), 400),
        ((HOST, (b"Connection", b"clo\xffse")), 400),
        ((HOST, (b"Expect", b"100-continue"), (b"Expect", b"100-continue")), 400),
        ((HOST, (b"Expect", b"200-ok")), 417),
    ],
)
def test_an_ambiguous_request_is_refused(fields: tuple[tuple[bytes, bytes], ...], status: int) -> None:
    with pytest.raises(ProtocolError) as refusal:
        check_request(request(*fields))
    assert refusal.value.status == status


def test_transfer_encoding_in_http_1_0_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"HTTP/1\.0"):
        check_request(request(HOST, (b"Transfer-Encoding", b"chunked"), minor=0))


@pytest.mark.parametrize("host", [b"a", b"a.b:80", b"127.0.0.1", b"[::1]", b"[::1]:8080", b"a_b"])
def test_a_host_may_be_a_name_or_an_address_with_a_port(host: bytes) -> None:
    check_request(request((b"Host", host)))


def test_connect_and_mixed_upgrades_are_not_implemented() -> None:
    for head in (
        request(HOST, method=b"CONNECT"),
        request(HOST, (b"Upgrade", b"websocket, h2c"), method=b"GET", upgrade=True),
    ):
        with pytest.raises(ProtocolError) as refusal:
            check_request(head)
        assert refusal.value.status == 501


@pytest.mark.parametrize(
    ("method", "status", "fields", "kind", "length"),
    [
        (b"GET", 200, ((b"Content-Length", b"5"),), BodyKind.LENGTH, 5),
        (b"GET", 200, ((b"Transfer-Encoding", b"chunked"),), BodyKind.CHUNKED, 0),
        (b"GET", 200, (), BodyKind.CLOSE, 0),
        (b"GET", 200, ((b"Content-Length", b"0"),), BodyKind.NONE, 0),
        (b"HEAD", 200, ((b"Content-Length", b"5"),), BodyKind.NONE, 5),
        (b"HEAD", 200, ((b"Transfer-Encoding", b"chunked"),), BodyKind.NONE, 0),
        (b"GET", 304, ((b"Content-Length", b"5"),), BodyKind.NONE, 5),
        (b"GET", 204, (), BodyKind.NONE, 0),
        (b"GET", 103, (), BodyKind.NONE, 0),
    ],
)
def test_a_responses_body_ends_by_the_rules_of_section_6_3(
    method: bytes, status: int, fields: tuple[tuple[bytes, bytes], ...], kind: BodyKind, length: int
) -> None:
    head = response(*fields, status=status)
    check_response(head, method)
    assert (head.kind, head.length) == (kind, length)
    assert head.keep_alive == (kind is not BodyKind.CLOSE)


@pytest.mark.parametrize(
    "fields",
    [
        ((b"Content-Length", b"1"), (b"Content-Length", b"1")),
        ((b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")),
        ((b"Transfer-Encoding", b"gzip"),),
        ((b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")),
        ((b"Content-Length", b"x"),),
    ],
)
def test_an_ambiguous_response_is_a_bad_gateway(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    with pytest.raises(ProtocolError) as refusal:
        check_response(response(*fields), b"GET")
    assert refusal.value.status == 502


def test_a_chunked_response_of_http_1_0_is_a_bad_gateway() -> None:
    with pytest.raises(ProtocolError):
        check_response(response((b"Transfer-Encoding", b"chunked"), minor=0), b"GET")


def test_connection_options_are_read_from_every_line_in_any_case() -> None:
    fields = Fields([(b"Connection", b"Close, X-A"), (b"CONNECTION", b" ,x-B ,, "), (b"X-A", b"1")])
    fields.index()
    assert connection_tokens(fields) == {b"close", b"x-a", b"x-b"}
