"""Settings for browsers: origins as browsers write them, and cookies that a browser would keep."""

from __future__ import annotations

import pytest

from tests.config.loading import load, problems_of

ORIGINS, DOMAIN = "GATEWAY_CORS_ORIGINS", "GATEWAY_COOKIE_DOMAIN"


def test_cookies_and_cors_are_off_by_default() -> None:
    settings = load()
    assert (settings.cookies, settings.cookie.secure, settings.cookie.domain, settings.cookie.only) == (
        False,
        True,
        None,
        False,
    )
    assert (settings.cors.origins, settings.cors.credentials) == ((), False)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.COM", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:80", "http://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("https://*.example.com:8443", "https://*.example.com:8443"),
        ("http://*.localhost:3000", "http://*.localhost:3000"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("null", "null"),
    ],
)
def test_an_origin_is_read_as_browsers_write_it(written: str, read: str) -> None:
    assert load({ORIGINS: written}).cors.origins == (read,)


def test_several_are_separated_by_commas() -> None:
    assert load({ORIGINS: "https://a.example, https://*.example.org"}).cors.origins == (
        "https://a.example",
        "https://*.example.org",
    )


@pytest.mark.parametrize(
    "written",
    [
        "*",
        "https://*",
        "https://*.com",
        "https://**.example.com",
        "https://a.*.example.com",
        "https://a*.example.com",
        "https://example.com/",
        "https://example.com/path",
        "https://example.com?x",
        "https://user@example.com",
        "https://example.com:0",
        "https://example.com:65536",
        "https://example.com.",
        "https://exämple.com",
        "https:// example.com",
        "example.com",
        "//example.com",
        "https://",
    ],
)
def test_what_no_browser_would_write_is_refused(written: str) -> None:
    (problem,) = problems_of({ORIGINS: written})
    assert problem.startswith(f"{ORIGINS}: entry 1 ")
    assert "https://*.example.com" in problem


def test_every_page_with_cookies_is_refused() -> None:
    (problem,) = problems_of({ORIGINS: "null", "GATEWAY_CORS_CREDENTIALS": "on"})
    assert problem.startswith(f"{ORIGINS}: null is every page")


@pytest.mark.parametrize(
    ("written", "read"), [("example.com", "example.com"), (".Example.com", "example.com")]
)
def test_a_cookies_domain_is_read(written: str, read: str) -> None:
    assert load({DOMAIN: written}).cookie.domain == read


@pytest.mark.parametrize(
    "written", ["localhost", "127.0.0.1", "a b.com", "example.com; Path=/", "-a.com", "com", "a..com"]
)
def test_a_domain_that_no_browser_takes_is_refused(written: str) -> None:
    (problem,) = problems_of({DOMAIN: written})
    assert problem.startswith(f"{DOMAIN}: should be a domain with a dot in it")


def test_tokens_must_go_somewhere() -> None:
    (problem,) = problems_of({"GATEWAY_COOKIE_ONLY": "on"})
    assert problem.startswith("GATEWAY_COOKIE_ONLY: on without GATEWAY_COOKIES=on")
    assert load({"GATEWAY_COOKIE_ONLY": "on", "GATEWAY_COOKIES": "on"}).cookie.only


@pytest.mark.parametrize("name", ["HEADERS", "EXPOSED", "METHODS"])
def test_a_list_of_names_holds_names(name: str) -> None:
    (problem,) = problems_of({f"GATEWAY_CORS_{name}": "A, b c"})
    assert problem.startswith(f"GATEWAY_CORS_{name}: entry 2 ")
