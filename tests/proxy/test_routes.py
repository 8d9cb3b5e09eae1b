"""Routes: the most specific pattern wins, and at equal specificity the one that protects."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authcore.authorize import AUTHENTICATED, PUBLIC
from config.settings import Settings
from gateway.faults import MethodNotAllowed, NotFound
from gateway.metrics import Metrics
from gateway.proxy.routes import Pattern, Route, RouteTable
from tests.proxy.nowhere import NOWHERE

METRICS = Metrics()


def route(name: str, *, public: bool = False, methods: frozenset[bytes] | None = None) -> Route:
    return Route(name, PUBLIC if public else AUTHENTICATED, NOWHERE, METRICS.route(name), methods)


OPEN, SHUT, PREFLIGHT = route("open", public=True), route("shut"), route("preflight", public=True)
HOSTED = route("hosted", public=True, methods=frozenset({b"POST"}))


def table(public: tuple[str, ...], protected: tuple[str, ...]) -> RouteTable:
    rules = [(Pattern.parse(text), OPEN) for text in public] + [
        (Pattern.parse(text), SHUT) for text in protected
    ]
    return RouteTable({"/api/auth/login": HOSTED}, rules, PREFLIGHT)


DEFAULTS = Settings()
WHATOMATE = table(DEFAULTS.public_paths, DEFAULTS.protected_paths)


def name_of(routes: RouteTable, method: str, path: str) -> str:
    return routes.match(method.encode(), path, preflight=False).name


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        *(
            ("GET", path, "open")
            for path in ("/", "/health", "/index.html", "/apix", "/wsx", "/api.html", "/a/api/b")
        ),
        *(
            ("GET", path, "shut")
            for path in ("/api", "/api/", "/api/x", "/API", "/Api/X", "/ws", "/WS", "/wS")
        ),
        *((method, "/api/webhook", "open") for method in ("GET", "HEAD", "POST")),
        *((method, "/api/webhook", "shut") for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")),
        *(
            ("GET", path, "shut")
            for path in ("/API/webhook", "/api/Webhook", "/api/webhook/", "/api/webhook/x")
        ),
        *(
            ("GET", path, "open")
            for path in ("/api/auth/sso/x", "/api/auth/sso", "/api/custom-actions/redirect/x")
        ),
        *(("GET", path, "shut") for path in ("/api/auth/ssox", "/api/auth/SSO/x", "/api/custom-actions/x")),
        ("POST", "/api/auth/login", "hosted"),
        ("POST", "/api/auth/login/", "shut"),
        ("POST", "/api/auth/loginx", "shut"),
    ],
)
def test_whatomates_paths_are_open_or_shut_as_whatomate_has_them(method: str, path: str, name: str) -> None:
    assert name_of(WHATOMATE, method, path) == name


@pytest.mark.parametrize(
    ("public", "protected", "path", "name"),
    [
        (("/a/*",), ("/a/b/*",), "/a/b/c", "shut"),
        (("/a/b/*",), ("/a/*",), "/a/b/c", "open"),
        (("/a/b",), ("/a/*",), "/a/b", "open"),
        (("/a/b",), ("/a/*",), "/a/b/", "shut"),
        (("/a/*",), ("/a/*",), "/a/b", "shut"),
        (("/a",), ("/a",), "/a", "shut"),
        (("/A/*",), ("/a/*",), "/A/b", "shut"),
        (("GET /a/*",), ("/a/*",), "/a/b", "open"),
        (("GET /a/*",), ("GET /a/*",), "/a/b", "shut"),
        (("/a/*",), ("GET /a/*",), "/a/b", "shut"),
        (("GET /a/*",), ("/a/b",), "/a/b", "shut"),
        (("/*",), ("/a/*",), "/a", "shut"),
        (("/a",), ("/a/*",), "/a", "open"),
    ],
)
def test_the_most_specific_pattern_wins_in_whatever_order_they_come(
    public: tuple[str, ...], protected: tuple[str, ...], path: str, name: str
) -> None:
    rules = [(Pattern.parse(text), OPEN) for text in public] + [
        (Pattern.parse(text), SHUT) for text in protected
    ]
    for order in permutations(rules):
        assert name_of(RouteTable({}, order, PREFLIGHT), "GET", path) == name


def test_no_default_lets_anybody_in() -> None:
    for routes in (table((), ()), table(("/a",), ("/b/*",))):
        with pytest.raises(NotFound):
            routes.match(b"GET", "/c", preflight=False)


def test_a_path_that_takes_other_methods_only_is_405_with_allow() -> None:
    routes = table(("POST /c", "GET /c/*"), ("DELETE /*",))
    with pytest.raises(MethodNotAllowed) as refused:
        routes.match(b"PUT", "/c", preflight=False)
    assert dict(refused.value.headers) == {"Allow": "DELETE, GET, HEAD, POST"}


def test_a_hosted_path_takes_its_method_and_its_case_only() -> None:
    with pytest.raises(MethodNotAllowed) as refused:
        WHATOMATE.match(b"GET", "/api/auth/login", preflight=False)
    assert dict(refused.value.headers) == {"Allow": "POST"}
    for path in ("/api/auth/Login", "/API/AUTH/LOGIN"):
        with pytest.raises(NotFound):
            WHATOMATE.match(b"POST", path, preflight=False)


def test_a_preflight_has_its_own_route_everywhere() -> None:
    for path in ("/", "/api/x", "/api/auth/login", "/ws"):
        assert WHATOMATE.match(b"OPTIONS", path, preflight=True) is PREFLIGHT


@given(
    st.text(st.characters(codec="utf-8"), max_size=12), st.sampled_from(["GET", "POST", "DELETE", "OPTIONS"])
)
def test_nothing_below_a_protected_prefix_is_open_by_its_case(rest: str, method: str) -> None:
    routes = table(("/*",), ("/api/*",))
    for prefix in ("/api/", "/API/", "/aPi/"):
        assert name_of(routes, method, prefix + rest) == "shut"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "GET",
        "get /a",
        "GET/a",
        "/a*",
        "/a/*/b",
        "/a?b",
        "/a b",
        "GET,POST /a",
        "/a#",
        "* /a",
        "|GET /a",
    ],
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        Pattern.parse(text)
