"""One canonical path: what is accepted has one reading, however a server reads."""

from __future__ import annotations

import re
from posixpath import normpath
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.proxy.target import parse_target
from gateway.wire.messages import ProtocolError, RequestHead

if TYPE_CHECKING:
    from gateway.proxy.target import Target


def parsed(target: bytes, *, method: bytes = b"GET", host: bytes = b"gateway.test") -> Target:
    head = RequestHead(method=method, target=target, fields=[(b"Host", host)])
    head.index()
    return parse_target(head)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", "/"),
        (b"/api/users", "/api/users"),
        (b"/api/users/", "/api/users/"),
        (b"/api/users?a=1&b=//..%2f", "/api/users"),
        (b"/?", "/"),
        (b"/%61pi", "/api"),
        (b"/caf%C3%A9", "/café"),
        (b"/a%20b", "/a b"),
        (b"/100%25", "/100%"),
        (b"/~a-b._!$&'()*+,=:@", "/~a-b._!$&'()*+,=:@"),
        (b"/...", "/..."),
        (b"/.well-known/x", "/.well-known/x"),
        (b"/a..b/..c/d..", "/a..b/..c/d.."),
        (b"/a|b^c`d{e}", "/a|b^c`d{e}"),
        (b"/a%7Cb", "/a|b"),
        (b"/x?%zz", "/x"),
    ],
)
def test_an_unambiguous_path_is_decoded_and_forwarded_byte_exact(target: bytes, path: str) -> None:
    assert parsed(target).path == path
    assert parsed(target).forwarded == target


@pytest.mark.parametrize(
    "target",
    [
        *(
            b"",
            b"api",
            b"?",
            b"*",
            b"//",
            b"/a//b",
            b"/.",
            b"/..",
            b"/a/.",
            b"/a/..",
            b"/./a",
            b"/../a",
            b"/a/../b",
        ),
        *(
            b"/%2e",
            b"/%2E%2e",
            b"/.%2e/a",
            b"/a/%2e%2e",
            b"/%2f",
            b"/a%2Fb",
            b"/%5c",
            b"/a\\b",
            b"/;",
            b"/a;b",
            b"/%3b",
        ),
        *(
            b"/%00",
            b"/a%0d%0a",
            b"/%7f",
            b"/%09",
            b"/a#b",
            b"/%23",
            b"/%3f",
            b"/a%3Fb",
            b"/%",
            b"/%2",
            b"/%zz",
            b"/%u002e",
        ),
        *(
            b"/%252e",
            b"/%2561",
            b"/%25%32%65",
            b"/%2525",
            b"/%25252e",
            b"/%c0%ae",
            b"/%ff",
            b"/%ed%a0%80",
            b"/\xc3\xa9",
        ),
        *(
            b"/a?b#c",
            b"/a?\xff",
            b"/a?\x7f",
            b"/a?b c",
            b"http://",
            b"http:///a",
            b"http:/a",
            b"https:a",
            b"ftp://gateway.test/",
        ),
        *(
            b"http://other.test/",
            b"http://u@gateway.test/",
            b"http://gateway.test:81/",
            b"https://gateway.test:80/",
            b"http://gateway.test//a",
        ),
        *(
            b"http://gateway.test/..",
            b"http://gateway.test#a",
            b"http://gateway.test\\a",
            b"gateway.test:443",
        ),
    ],
)
def test_a_target_with_another_reading_is_refused(target: bytes) -> None:
    with pytest.raises(ProtocolError) as refused:
        parsed(target)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("target", "forwarded"),
    [
        (b"http://gateway.test/a?b", b"/a?b"),
        (b"HTTPS://GATEWAY.test/a", b"/a"),
        (b"http://gateway.test", b"/"),
        (b"http://gateway.test?a", b"/?a"),
        (b"http://gateway.test:80/a", b"/a"),
        (b"https://gateway.test:443/a", b"/a"),
    ],
)
def test_an_absolute_form_is_forwarded_as_its_origin_form(target: bytes, forwarded: bytes) -> None:
    assert parsed(target).forwarded == forwarded


def test_the_asterisk_is_for_options_only() -> None:
    assert parsed(b"*", method=b"OPTIONS").path == "*"
    with pytest.raises(ProtocolError):
        parsed(b"*")


@pytest.mark.parametrize(
    ("target", "path"),
    [(b"http://gateway.test", "*"), (b"http://gateway.test/", "/"), (b"http://gateway.test?a", "/")],
)
def test_options_of_an_absolute_form_without_path_and_query_are_the_servers(target: bytes, path: str) -> None:
    assert parsed(target, method=b"OPTIONS").path == path


def readings(path: bytes) -> set[bytes]:
    """The path as servers read it: decoded once or twice, merging slashes, resolving dots, cutting parameters."""
    found = set()
    for decoded in (unquote_to_bytes(path), unquote_to_bytes(unquote_to_bytes(path))):
        slashed = decoded.replace(b"\\", b"/")
        merged = re.sub(rb"/+", b"/", slashed)
        cut = re.sub(rb";[^/]*", b"", merged)
        ended = re.split(rb"[?#\x00]", cut)[0]
        resolved = normpath(ended) + (b"/" if ended.endswith(b"/") and ended != b"/" else b"")
        found |= {decoded, slashed, merged, cut, ended, resolved}
    return found


PIECES = st.sampled_from(
    [
        *(
            b"/",
            b".",
            b"..",
            b"a",
            b"api",
            b"API",
            b"%2e",
            b"%2E",
            b"%2f",
            b"%5c",
            b"%252e",
            b"%25",
            b"%3b",
            b"%3f",
            b"%23",
        ),
        *(
            b";",
            b"\\",
            b"%00",
            b"%61",
            b"%2561",
            b"%C3%A9",
            b"%e9",
            b"%",
            b"%2",
            b"//",
            b"~",
            b":",
            b"%20",
            b"|",
            b"%09",
        ),
    ]
)


@settings(max_examples=500)
@given(st.lists(PIECES, max_size=8).map(lambda pieces: b"/" + b"".join(pieces)))
@example(b"/%2561pi/users")
@example(b"/health%3f/api")
def test_an_accepted_path_reads_the_same_on_every_server(path: bytes) -> None:
    try:
        canonical = parsed(path).path
    except ProtocolError:
        return  # refused is right too; that enough is accepted, the table above holds
    assert readings(path) == {canonical.encode()}


@given(st.binary(max_size=40))
def test_any_bytes_are_a_target_or_a_400(raw: bytes) -> None:
    for target in (raw, b"/" + raw, b"http://gateway.test/" + raw):
        try:
            assert parsed(target).path.startswith("/")
        except ProtocolError as error:
            assert error.status == 400  # noqa: PT017 -- both outcomes are right, and nothing else is


@given(st.lists(PIECES, max_size=6).map(lambda pieces: b"/" + b"".join(pieces)))
def test_a_target_read_again_reads_the_same(raw: bytes) -> None:
    def outcome() -> Target | str:
        try:
            return parsed(raw)
        except ProtocolError as refusal:
            return str(refusal)

    assert outcome() == outcome()
    # The host of an absolute form decides; that of a path does not.
    for host in (
        b"gateway.test",
        b"other.test",
    ):
        with pytest.raises(ProtocolError):
            parsed(b"http://elsewhere.test" + raw, host=host)
