"""Nodes, lists and Forwarded: whatever proxies write of an address is read, and nothing else is."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.forwarded import Origins
from gateway.proxy.hops import Hop, elements, read_address, read_forwarded
from gateway.wire.messages import RequestHead

ADDRESSES = st.ip_addresses().filter(lambda one: not (isinstance(one, IPv6Address) and one.ipv4_mapped))
PORTS = st.one_of(st.just(""), st.integers(0, 65_535).map(lambda port: f":{port}"), st.just(":_secret-1"))
TOKENS = st.text("abcXYZ019-._~", min_size=1, max_size=8)
TEXTS = st.text('ab ,;=\\"[]:', max_size=8)


@given(ADDRESSES, PORTS, st.booleans(), st.sampled_from(["", " ", "\t"]))
def test_an_address_is_read_in_every_form_that_proxies_write(
    address: object, port: str, quoted: bool, white: str
) -> None:
    node = f"[{address}]{port}" if isinstance(address, IPv6Address) else f"{address}{port}"
    written = f'"{node}"' if quoted else node
    assert read_address(f"{white}{written}{white}") == address
    assert read_address(str(address)) == address


@given(st.text(max_size=50))
def test_whatever_is_read_stands_there(text: str) -> None:
    found = read_address(text)
    if found is not None:
        shown = "".join(text.split()).strip('"').partition("%")[0]
        forms = (shown, shown.rpartition(":")[0], shown.strip("[]"), shown.rpartition(":")[0].strip("[]"))
        readable = []
        for form in forms:
            try:
                readable.append(ip_address(form))
            except ValueError:
                continue
        mapped = [one.ipv4_mapped if isinstance(one, IPv6Address) else None for one in readable]
        assert found in readable or found in mapped


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown",
        "_hidden",
        "1.2.3",
        "1.2.3.4:",
        "1.2.3.4:123456",
        "[::1",
        "::1]",
        "1.2.3.4 5.6.7.8",
        "[1.2.3.4",
        "1.2.3.4:a",
    ],
)
def test_what_is_no_address_is_none(text: str) -> None:
    assert read_address(text) is None


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def hops(draw: st.DrawFn) -> tuple[str, Hop]:
    """An element of Forwarded, and what it says."""
    said = {
        "for": draw(TEXTS),
        "proto": draw(TOKENS),
        "host": draw(TEXTS),
        "by": draw(TEXTS),
        "x": draw(TOKENS),
    }
    names = draw(st.permutations(sorted(said)))
    chosen = [name for name in names if draw(st.booleans())]
    pairs = [
        f"{draw(st.sampled_from([name, name.upper(), name.title()]))}="
        + (quoted(said[name]) if name in {"for", "host", "by"} or draw(st.booleans()) else said[name])
        for name in chosen
    ]
    found = {name: said[name] for name in chosen}
    return ";".join(pairs), Hop(found.get("for", ""), found.get("proto", ""), found.get("host", ""))


@given(
    st.lists(hops().filter(lambda hop: bool(hop[0])), min_size=1, max_size=4),
    st.sampled_from([",", ", ", " ,\t", ",,"]),
)
def test_what_was_written_in_forwarded_is_read(written: list[tuple[str, Hop]], comma: str) -> None:
    line = comma.join(text for text, _ in written).encode("latin-1")
    assert read_forwarded([line]) == [hop for _, hop in written]
    assert read_forwarded([text.encode("latin-1") for text, _ in written]) == [hop for _, hop in written]


@given(st.binary(max_size=80), st.ip_addresses(v=4))
def test_nothing_on_the_left_hides_what_a_proxy_added(wrote: bytes, address: object) -> None:
    assert read_forwarded([wrote, f"for={address}".encode()])[-1] == Hop(str(address))
    assert elements([wrote, str(address).encode()])[-1] == str(address)


def test_what_breaks_the_grammar_is_read_in_bounded_time() -> None:
    for wrote in (b',a="', b"a=b;", b'"', b"; ", b" ,", b",", b'a="b";'):
        assert len(read_forwarded([wrote * (65_536 // len(wrote))])) <= 33


# -- lists beside the hops -----------------------------------------------------------------------------------------

PRIVATE = Origins([ip_network("10.0.0.0/8")])


@pytest.mark.parametrize(
    ("lines", "proto", "host"),
    [
        ([("X-Forwarded-Proto", "HTTPS"), ("X-Forwarded-Host", "A.example")], "https", "A.example"),
        (
            [("X-Forwarded-Proto", "https,http"), ("X-Forwarded-Host", "a.example, b.example")],
            "https",
            "a.example",
        ),
        (
            [
                ("X-Forwarded-For", "203.0.113.9, 10.1.1.1"),
                ("X-Forwarded-Proto", "http, HTTPS, http"),
                ("X-Forwarded-Host", "evil.example, a.example, b.example"),
            ],
            "https",
            "a.example",
        ),
        (
            [("X-Forwarded-For", "203.0.113.9, 10.1.1.1"), ("X-Forwarded-Proto", "https")],
            "https",
            "gateway.test",
        ),
        (
            [("Forwarded", "for=203.0.113.9;proto=HTTPS;host=a.example, for=10.1.1.1;proto=http")],
            "https",
            "a.example",
        ),
        ([("Forwarded", 'For="[2001:db8::9]:4711";Proto=https')], "https", "gateway.test"),
        ([("Forwarded", "for=203.0.113.9"), ("X-Forwarded-Proto", "https")], "https", "gateway.test"),
        ([("Forwarded", "proto=https;host=a.example")], "https", "a.example"),
        ([("Forwarded", "proto=http;host=evil.example, proto=https;host=a.example")], "https", "a.example"),
        ([("Forwarded", "for=203.0.113.9;host=evil.example, for=_x;proto=https")], "https", "gateway.test"),
        ([("Forwarded", 'proto=https, host="')], "http", "gateway.test"),
    ],
)
def test_scheme_and_host_are_those_that_the_clients_own_proxy_saw(
    lines: list[tuple[str, str]], proto: str, host: str
) -> None:
    fields = [(b"Host", b"gateway.test"), *((name.encode(), value.encode()) for name, value in lines)]
    head = RequestHead(method=b"GET", target=b"/", fields=fields)
    head.index()
    origin = PRIVATE.read(head, "10.0.0.1")
    assert origin.host.decode() == host
    assert f"X-Forwarded-Proto: {proto}\r\n".encode() in origin.lines


def test_what_cannot_be_read_is_reported_with_its_field_and_what_is_hearsay_is_not() -> None:
    reported: list[tuple[str, str, str, str]] = []
    origins = Origins([ip_network("10.0.0.0/8")], lambda *what: reported.append(what))
    for lines, expected in (
        ([(b"X-Forwarded-For", b"unknown, 10.1.1.1")], [("X-Forwarded-For", "for", "unknown", "10.0.0.1")]),
        ([(b"X-Forwarded-For", b"nonsense, 203.0.113.9")], []),
        ([(b"Forwarded", b"for=_hidden")], [("Forwarded", "for", "_hidden", "10.0.0.1")]),
        ([(b"Forwarded", b'for="1')], [("Forwarded", "for", 'for="1', "10.0.0.1")]),
        ([(b"Forwarded", b'for="a;proto=gopher')], [("Forwarded", "for", 'for="a;proto=gopher', "10.0.0.1")]),
        ([(b"Forwarded", b"for=1.2.3.4;proto=gopher")], [("Forwarded", "proto", "gopher", "10.0.0.1")]),
        ([(b"Forwarded", b'for=1.2.3.4;host="a b"')], [("Forwarded", "host", "a b", "10.0.0.1")]),
        ([(b"X-Forwarded-Proto", b"gopher")], [("X-Forwarded-Proto", "proto", "gopher", "10.0.0.1")]),
        ([(b"X-Forwarded-Host", b"a b")], [("X-Forwarded-Host", "host", "a b", "10.0.0.1")]),
        ([(b"X-Forwarded-For", b"203.0.113.9:1"), (b"X-Forwarded-Proto", b"HTTPS")], []),
    ):
        head = RequestHead(method=b"GET", target=b"/", fields=lines)
        head.index()
        origins.read(head, "11.0.0.1")
        origins.read(head, "10.0.0.1")
        assert reported == expected
        reported.clear()
