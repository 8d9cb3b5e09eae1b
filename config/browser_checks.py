"""Checks of the settings for browsers: cookies, and pages of other origins.

Laws are those of :mod:`config.checks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings


def cookies(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a problem where a client would get its tokens in no way."""
    if settings.cookie.only and not settings.cookies:
        yield "GATEWAY_COOKIE_ONLY", "on without GATEWAY_COOKIES=on leaves no place for tokens"


def cookie_doubts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a warning where Whatomate's pages could sign nobody in: they take no token from an answer's body."""
    if settings.preset == "whatomate" and not settings.cookies:
        yield (
            "GATEWAY_COOKIES",
            (
                "off, and Whatomate's pages sign in by cookies alone since 2026-02-10; set GATEWAY_COOKIES=on if "
                "browsers come through here"
            ),
        )


def cors_doubts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a warning where pages of other origins may call, and can sign nobody in."""
    if settings.cookies and settings.cors.origins and not settings.cors.credentials:
        yield (
            "GATEWAY_CORS_CREDENTIALS",
            (
                "off, so pages of GATEWAY_CORS_ORIGINS may neither sign in here nor send cookies; set it to on if they "
                "are to"
            ),
        )


def cors(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a problem where any page could call with cookies."""
    # Any page can make itself a null origin, by a sandboxed frame: that would be every page, with cookies.
    if settings.cors.credentials and "null" in settings.cors.origins:
        yield (
            "GATEWAY_CORS_ORIGINS",
            "null is every page that likes; not together with GATEWAY_CORS_CREDENTIALS",
        )
