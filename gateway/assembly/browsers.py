"""Builders for browser sessions: the CSRF tokens, and the cookies of the hosted application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cookie_places import CookiePlaces
from gateway.csrf import CsrfTokens
from gateway.endpoints.cookies import NoCookies, SessionCookies

if TYPE_CHECKING:
    from authcore.tokens.issuer import Tokens
    from config.settings import Settings


def csrf_tokens(settings: Settings) -> CsrfTokens:
    """Return the CSRF tokens: minted alike by every gateway with the same JWT secret; previous secrets verify too.

    Raises:
        ValueError: GATEWAY_JWT_SECRET is missing, which only a serving gateway needs.
    """
    if settings.jwt.secret is None:
        raise ValueError("GATEWAY_JWT_SECRET is required")
    secrets = (settings.jwt.secret, *settings.jwt.previous_secrets)
    return CsrfTokens(secret.get_secret_value().encode() for secret in secrets)


def session_cookies(settings: Settings, tokens: Tokens) -> SessionCookies | NoCookies:
    """Return the object that sets and clears cookies; a null object if cookies are off."""
    if not settings.cookies:
        return NoCookies()
    return SessionCookies(csrf_tokens(settings), tokens, cookie_places(settings), only=settings.cookie.only)


def cookie_places(settings: Settings) -> CookiePlaces:
    """Return the attributes under which the cookies are set."""
    cookie = settings.cookie
    return CookiePlaces(secure=cookie.secure, domain=cookie.domain, base_path=cookie.base_path)
