"""Cookie places: what an upstream sets under our names is moved whole or not at all; a host has so many domains."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cookie_places import MOST_DOMAINS, PATHS, CookiePlaces, domains_of
from gateway.cookies import ACCESS, CSRF, MOST_TWINS, REFRESH

HOST = b"chat.example.test"
PLACES = CookiePlaces(secure=True, domain=None)
VISIBLE = st.binary(max_size=40).map(lambda raw: bytes(b for b in raw if b == 9 or (b >= 0x20 and b != 0x7F)))
NAMES = st.sampled_from(
    [ACCESS, REFRESH, CSRF, b"WHM_ACCESS", b"whm_accessory", b"", b"a", b" whm_csrf ", b'"whm_csrf"']
)
ATTRIBUTES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b" Path=/x",
                b"path",
                b"Domain=example.test",
                b" Max-Age=5",
                b"MAX-AGE=-1",
                b"expires=never",
                b"HttpOnly",
                b"",
                b" ",
                b"=",
                b"Secure",
                b"SameSite=None",
                b"Max-Age",
            ]
        ),
        VISIBLE.filter(lambda raw: b";" not in raw),
    ),
    max_size=6,
)
VALUES = VISIBLE.filter(lambda raw: b";" not in raw)
COOKIES = st.builds(
    lambda name, mark, value, rest: b";".join([name + mark + value, *rest]),
    NAMES,
    st.sampled_from([b"=", b"", b"=="]),
    VALUES,
    ATTRIBUTES,
)
LINES = st.lists(
    st.tuples(
        st.sampled_from([b"Set-Cookie", b"set-cookie", b"SET-COOKIE", b"Set_Cookie", b"X-Other"]),
        COOKIES | VISIBLE,
    ),
    max_size=8,
)


def pair_of(value: bytes) -> tuple[bytes, bytes]:
    """Name and value as a browser reads them (RFC 6265 section 5.2)."""
    name, mark, rest = value.partition(b";")[0].partition(b"=")
    return (name.strip(b" \t"), rest.strip(b" \t")) if mark else (b"", name.strip(b" \t"))


def is_ours(line: tuple[bytes, bytes]) -> bool:
    return line[0].lower() == b"set-cookie" and pair_of(line[1])[0] in PATHS


@given(LINES, st.sampled_from([None, "example.test", "chat.example.test"]), st.booleans())
def test_every_line_passes_as_it_came_or_is_moved_whole(
    lines: list[tuple[bytes, bytes]], domain: str | None, secure: bool
) -> None:
    places = CookiePlaces(secure=secure, domain=domain)
    moved = places.moved(lines, HOST)
    ours = [pair_of(line[1]) for line in lines if is_ours(line)]
    if moved is None:
        assert not ours
        return
    assert [line for line in moved if not is_ours(line)] == [line for line in lines if not is_ours(line)]
    expired: list[bytes] = []
    put: list[bytes] = []
    for line in moved:
        if is_ours(line):
            (expired if line[1] in places.expire(HOST) else put).append(line[1])
    counting = [(name, value) for name, value in ours if value or not any(v for n, v in ours if n == name)]
    assert [pair_of(value) for value in put] == counting
    assert {pair_of(value)[0] for value in expired} <= {name for name, _ in ours}
    first = min(moved.index(line) for line in moved if is_ours(line))
    assert all(line[1] in expired for line in moved[first : first + len(expired)])  # before any that sets
    for value in put:
        attributes = [one.strip(b" \t") for one in value.split(b";")][1:]
        name = pair_of(value)[0]
        assert attributes[0] == b"Path=" + PATHS[name][0]
        assert (b"HttpOnly" in attributes) is (name != CSRF)
        assert attributes[-1] == b"SameSite=Lax"
        assert (b"Secure" in attributes) is secure
        assert [one for one in attributes if one.lower().startswith(b"domain")] == (
            [] if domain is None else [b"Domain=" + domain.encode()]
        )


@given(LINES)
def test_lines_without_ours_are_left_alone(lines: list[tuple[bytes, bytes]]) -> None:
    others = [line for line in lines if not is_ours(line)]
    assert PLACES.moved(others, HOST) is None


@given(VISIBLE)
def test_whatever_the_host_says_no_line_is_more_than_one_cookie(host: bytes) -> None:
    for value in (*PLACES.expire(host), *PLACES.expire_unseen(host)):
        name, *attributes = value.split(b"; ")
        assert name.endswith(b"=")
        assert name[:-1] in PATHS
        assert [one.partition(b"=")[0] for one in attributes] in (
            [b"Path", b"Max-Age", b"Secure"],
            [b"Path", b"Max-Age", b"Domain", b"Secure"],
        )
    assert len(domains_of(host)) <= MOST_DOMAINS


@pytest.mark.parametrize(
    ("host", "domains"),
    [
        (b"chat.example.test", (b"chat.example.test", b"example.test")),
        (b"Chat.Example.Test:8443", (b"chat.example.test", b"example.test")),
        (b"example.test", (b"example.test",)),
        (
            b"a.b.c.d.e.example.test",
            (b"a.b.c.d.e.example.test", b"d.e.example.test", b"e.example.test", b"example.test"),
        ),
        (b"localhost", ()),
        (b"127.0.0.1", ()),
        (b"[::1]", ()),
        (b"example.test.", ()),
        (b"example.test; x", ()),
        (b"", ()),
    ],
)
def test_the_domains_of_a_host(host: bytes, domains: tuple[bytes, ...]) -> None:
    found = domains_of(host)
    assert found[:1] == domains[:1]
    assert set(domains) <= set(found)
    if len(domains) < 4:
        assert found == domains


@pytest.mark.parametrize("domain", [None, "example.test", "chat.example.test", "other.test"])
def test_no_place_of_the_table_is_forgotten_and_ours_is_not_expired(domain: str | None) -> None:
    places = CookiePlaces(secure=False, domain=domain)
    expired = set(places.expire(HOST))
    for name, paths in PATHS.items():
        for path in paths:
            for scope in (None, "chat.example.test", "example.test", domain):
                line = b"%b=; Path=%b; Max-Age=0" % (name, path)
                line += b"" if scope is None else b"; Domain=" + scope.encode()
                assert (line in expired) is not (scope == domain and path == paths[0])


def test_more_twins_are_looked_at_than_a_browser_can_have_by_the_table() -> None:
    assert max(len(paths) for paths in PATHS.values()) * (MOST_DOMAINS + 2) <= MOST_TWINS
