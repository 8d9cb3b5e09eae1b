"""CORS origins: a policy lets in those that are configured, as browsers write them, and no other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from config.groups.browsers import Cors
from gateway.proxy.cors import CorsPolicy, build_policy
from gateway.proxy.response_headers import response_start
from gateway.wire.messages import RequestHead, ResponseHead

EXACT, WILD = "https://app.example.com", "https://*.example.org:8443"


def policy(*origins: str, **more: Any) -> CorsPolicy:
    return CorsPolicy(Cors(origins=origins or (EXACT, WILD), **more))


def head(*origins: bytes) -> RequestHead:
    made = RequestHead([(b"Origin", origin) for origin in origins], method=b"GET", target=b"/")
    made.index()
    return made


@pytest.mark.parametrize(
    "origin",
    [
        EXACT,
        EXACT.upper().replace("HTTPS", "https"),
        "https://a.example.org:8443",
        "https://A-1.example.org:8443",
    ],
)
def test_what_is_configured_may_call_and_is_echoed_as_it_came(origin: str) -> None:
    lines = policy().lines(head(origin.encode()))
    assert lines.startswith(f"Access-Control-Allow-Origin: {origin}\r\n".encode())
    assert lines.endswith(b"Vary: Origin\r\n")


@given(st.binary(max_size=80))
def test_an_origin_that_is_not_configured_may_not_call(origin: bytes) -> None:
    assume(origin.lower() != EXACT.encode())
    assert not policy(EXACT).allows(origin)


LABEL = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?", fullmatch=True)
OTHER = st.text("abz09-_.:/@%*?#[]\\ \t\0é,;", max_size=20)


@given(LABEL)
def test_a_wildcard_is_any_one_label(label: str) -> None:
    assert policy().allows(f"https://{label}.example.org:8443".encode())


@given(LABEL, OTHER.filter(bool), st.sampled_from(["before", "in", "between", "after", "port", "scheme"]))
def test_a_wildcard_is_nothing_around_its_label(label: str, other: str, where: str) -> None:
    scheme, host, port = "https", f"{label}.example.org", "8443"
    if where == "before":
        host = f"{other}.{host}"
    elif where == "in":
        host = f"{label}.{other}example.org"
    elif where == "between":
        host = f"{label}{other}example.org"
    elif where == "after":
        host += other
    elif where == "port":
        port += other
    else:
        scheme += other
    origin = f"{scheme}://{host}:{port}".lower()
    left, dot, rest = origin.removeprefix("https://").partition(".")
    one_label = dot and left.replace("-", "").replace("_", "").isalnum() and left.isascii()
    assume(not (rest == "example.org:8443" and one_label))
    assert not policy().allows(origin.encode())


@pytest.mark.parametrize(
    "origin",
    [b"https://.example.org:8443", b"https://-a.example.org:8443", b"https://a-.example.org:8443", b"", b"://", b"null"]
)  # fmt: skip
def test_what_is_no_label_is_none(origin: bytes) -> None:
    assert not policy().allows(origin)


def test_null_is_an_origin_only_where_it_is_listed() -> None:
    assert not policy().allows(b"null")
    assert policy("null").allows(b"null")


def test_of_two_origins_neither_counts() -> None:
    both = head(EXACT.encode(), EXACT.encode())
    assert policy().lines(both) == b"Vary: Origin\r\n"
    assert policy().preflight(both) is None
    known = policy()
    assert b"Allow-Origin" in known.lines(head(EXACT.encode()))
    assert known.lines(both) == b"Vary: Origin\r\n"  # nor when the one is remembered


def test_credentials_are_granted_by_setting_alone() -> None:
    origin = head(EXACT.encode())
    for answer in (policy().lines(origin), policy().preflight(origin)):
        assert answer is not None
        assert b"Credentials" not in answer
    for answer in (policy(credentials=True).lines(origin), policy(credentials=True).preflight(origin)):
        assert answer is not None
        assert b"\r\nAccess-Control-Allow-Credentials: true\r\n" in answer
        assert b"*" not in answer


def test_many_origins_do_not_fill_the_memory() -> None:
    one = policy()
    for number in range(5000):
        one.lines(head(b"https://%d.evil.example" % number))
    one.lines(head(b"https://" + b"a" * 10_000))
    assert len(one.known) <= 1024
    assert all(len(origin) <= 256 for origin in one.known)


def test_without_origins_there_is_no_policy() -> None:
    assert build_policy(Cors()) is None


def test_ours_take_the_place_of_the_upstreams() -> None:
    response = ResponseHead(
        [
            (b"access-control-allow-origin", b"*"),
            (b"Access-Control-Allow-Credentials", b"true"),
            (b"Vary", b"Accept"),
            (b"Date", b"now"),
        ],
        status=200,
    )
    response.phrase = b"OK"
    cors = policy().lines(head(EXACT.encode()))
    plain = response_start(response, b"id")
    assert b"access-control-allow-origin: *\r\nAccess-Control-Allow-Credentials: true\r\n" in plain
    governed = response_start(response, b"id", cors)
    assert governed.lower().count(b"access-control-allow-origin") == 1
    assert b"Credentials" not in governed
    assert b"\r\nVary: Accept, Origin\r\n" in governed
    assert governed.lower().count(b"vary:") == 1
    assert governed.endswith(cors.removesuffix(b"Vary: Origin\r\n"))
    # One head may answer on two routes, with and without a policy; what is kept of it serves both.
    assert response_start(response, b"id") == plain
    assert response_start(response, b"id", cors) == governed
