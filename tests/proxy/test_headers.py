"""Field lines that are forwarded: no alias of a managed name, every other line byte-exact and in order."""

from __future__ import annotations

import string
import sys
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from authcore.principal import ANONYMOUS, AuthMethod, Principal
from config.groups.serving import Header
from gateway.faults import UnsafeIdentity
from gateway.proxy.headers import (
    CLAIMED,
    CLAIMED_PREFIXES,
    FORWARDED,
    MANAGED_PREFIXES,
    HeaderPolicy,
    fold,
)
from gateway.proxy.response_headers import response_start
from gateway.wire.framing import HOP_BY_HOP
from gateway.wire.messages import RequestHead, ResponseHead

NAMES = Header.model_validate({"session_id": "X-Session"}).model_dump()
MANAGED = sorted(
    {
        *(name.lower().encode() for name in NAMES.values()),
        *FORWARDED,
        *CLAIMED,
        b"x-request-id",
        b"x-forwarded-for",
    }
)
PREFIXES = MANAGED_PREFIXES + CLAIMED_PREFIXES
TOKEN = (string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode()
SEPARATORS = b"-_.!#$%&'*+^`|~"

names = st.lists(st.sampled_from(TOKEN), min_size=1, max_size=30).map(bytes)
values = st.binary(max_size=40).map(
    lambda raw: bytes(b for b in raw if b >= 0x20 and b != 0x7F).strip(b" \t")
)


def laws() -> HeaderPolicy:
    return HeaderPolicy(NAMES)


def sent(
    lines: list[tuple[bytes, bytes]], *, strip: bool = False, minor: int = 1
) -> list[tuple[bytes, bytes]]:
    """Return the field lines of a request that go on to the upstream."""
    head = RequestHead(method=b"GET", target=b"/", fields=lines, minor=minor)
    head.index()
    *kept, end = laws().passing(head, strip=strip).split(b"\r\n")
    assert end == b""
    return [(name, value) for name, _, value in (line.partition(b": ") for line in kept)]


@st.composite
def aliases(draw: st.DrawFn) -> bytes:
    """A managed name with its case and its separators changed at will."""
    name = draw(st.sampled_from(MANAGED))
    return bytes(
        draw(st.sampled_from(SEPARATORS))
        if byte == ord("-")
        else draw(st.sampled_from([byte, bytes([byte]).upper()[0]]))
        for byte in name
    )


@given(aliases(), values)
def test_no_alias_of_a_managed_name_passes(alias: bytes, value: bytes) -> None:
    assert fold(alias) in MANAGED
    assert not laws().passes(alias)
    assert sent([(b"Host", b"h"), (alias, value)]) == [(b"Host", b"h")]


@given(st.sampled_from(PREFIXES), names, st.booleans())
def test_no_name_below_a_managed_prefix_passes(prefix: bytes, rest: bytes, underscored: bool) -> None:
    name = (prefix.replace(b"-", b"_") if underscored else prefix) + rest
    assert not laws().passes(name)
    assert not laws().passes(name.upper())


@given(st.lists(st.tuples(names, values), max_size=20))
def test_every_other_line_passes_byte_exact_and_in_order(lines: list[tuple[bytes, bytes]]) -> None:
    decisive = HOP_BY_HOP | {b"content-length", b"host", b"authorization", b"cookie", b"expect", b"range"}
    for name, _ in lines:
        folded = fold(name)
        assume(folded not in MANAGED and not folded.startswith(PREFIXES) and folded not in decisive)
    assert sent(lines) == lines


@pytest.mark.parametrize(
    "name",
    [
        *(
            b"Host",
            b"Accept",
            b"User-Agent",
            b"Authorization",
            b"X-API-Key",
            b"Cookie",
            b"Content-Type",
            b"Range",
            b"Origin",
        ),
        *(
            b"X-Hub-Signature-256",
            b"X-Organization-ID",
            b"X-CSRF-Token",
            b"traceparent",
            b"X-User",
            b"X-Organization",
        ),
        *(
            b"If-None-Match",
            b"Expect",
            b"Content-Encoding",
            b"X-Forwardable",
            b"CF-Connecting-IP",
            b"Via",
            b"x-weird.name_1",
            b"Max-Forwards",
        ),
    ],
)
def test_ordinary_fields_pass_and_their_own_case_is_kept(name: bytes) -> None:
    assert sent([(name, b"v"), (name.lower(), b"w")])[:2] == [(name, b"v"), (name.lower(), b"w")]


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_fields_of_one_connection_stay_on_it(name: bytes) -> None:
    for spelling in (name, name.title(), name.upper(), name.replace(b"-", b"_")):
        assert sent([(spelling, b"x-other"), (b"X-End", b"1")]) == [(b"X-End", b"1")]


@given(st.lists(names, max_size=5), st.booleans())
def test_what_connection_names_is_dropped(named: list[bytes], upper: bool) -> None:
    options = b", ".join([*(name.upper() if upper else name for name in named), b"x-user-id", b"X-Drop"])
    lines = [(b"Connection", options), *((name, b"v") for name in named), (b"x-drop", b"v")]
    assert sent(lines) == []


def test_a_stripped_credential_is_not_sent_on() -> None:
    lines = [(b"Authorization", b"Bearer x"), (b"X-API-Key", b"whm_x"), (b"Accept", b"*/*")]
    assert sent(lines, strip=True) == [(b"Accept", b"*/*")]
    assert sent(lines) == lines


def test_a_1_0_request_without_a_host_is_sent_on_with_an_empty_one() -> None:
    assert (b"Host", b"") in sent([], minor=0)
    assert [name for name, _ in sent([(b"Host", b"h")], minor=0)].count(b"Host") == 1


# -- identity ---------------------------------------------------------------------------------------------------


def principal(**changes: object) -> Principal:
    fields: dict[str, object] = {
        "method": AuthMethod.JWT,
        "user_id": UUID(int=1),
        "organization_id": UUID(int=2),
        "email": "a@example.com",
        "name": "A",
        "permissions": frozenset({"b:read", "a:write", "a:read"}),
    }
    return Principal(**{**fields, **changes})  # type: ignore[arg-type]  # each test changes what it names


def test_absent_values_leave_no_header() -> None:
    block = laws().identity(principal()).decode()
    assert "X-User-Permissions: a:read,a:write,b:read\r\n" in block
    for name in ("X-User-Role:", "X-User-Role-ID:", "X-Auth-Key-ID:"):
        assert name not in block
    assert block.endswith("\r\n")
    assert laws().identity(ANONYMOUS) == b""


@given(st.text(max_size=30), st.sampled_from(["name", "email", "role"]))
def test_an_identity_is_either_one_line_each_or_an_error(text: str, key: str) -> None:
    assume(not any("\ud800" <= character <= "\udfff" for character in text))
    try:
        block = laws().identity(principal(**{key: text}))
    except UnsafeIdentity:
        assert key == "email", "what is shown to people is cleaned"
        assert any(ord(character) < 0x20 or ord(character) == 0x7F for character in text)
        return
    for line in block.split(b"\r\n"):
        assert not breaks_out(line)
        assert line == b"" or line.startswith((b"X-User-", b"X-Org-", b"X-Auth-"))


def breaks_out(line: bytes) -> bool:
    return any(byte < 0x20 and byte != 0x09 for byte in line) or b"\x7f" in line


def test_one_principal_is_told_once_and_the_same() -> None:
    held, one = laws(), principal()
    assert held.identity(one) is held.identity(one)
    assert held.identity(one) == held.identity(principal())


@pytest.mark.parametrize("withheld", [frozenset[str](), frozenset({"user_email"})])
def test_the_identity_headers_of_a_principal_that_is_gone_are_kept_no_longer(
    withheld: frozenset[str],
) -> None:
    held, one, other = laws(), principal(), principal()
    block, others = held.identity(one, withheld), held.identity(other, withheld)
    before = sys.getrefcount(block)
    del one
    assert sys.getrefcount(block) == before - 1
    assert held.identity(other, withheld) is others


# -- responses --------------------------------------------------------------------------------------------------


def test_a_response_keeps_its_own_fields_and_loses_those_of_its_connection() -> None:
    fields = [
        *(
            (b"Set-Cookie", b"a=1"),
            (b"Set-Cookie", b"b=2"),
            (b"Connection", b"X-Hop, close"),
            (b"x-hop", b"1"),
        ),
        *(
            (b"Transfer-Encoding", b"chunked"),
            (b"Content-Length", b"4"),
            (b"X-Request-ID", b"theirs"),
            (b"Date", b"Mon, 23 Nov 2026 00:00:00 GMT"),
        ),
    ]
    head = ResponseHead()
    head.status, head.phrase, head.fields = 200, b"OK", fields
    head.index()
    assert response_start(head, b"ours").split(b"\r\n") == [
        *(
            b"HTTP/1.1 200 OK",
            b"Set-Cookie: a=1",
            b"Set-Cookie: b=2",
            b"Date: Mon, 23 Nov 2026 00:00:00 GMT",
            b"X-Request-ID: ours",
            b"",
        ),
    ]
