"""What browsers need: the CSRF tokens, and the cookies of the hosted application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cookie_places import CookiePlaces
from gateway.csrf import CsrfTokens
from gateway.endpoints.cookies import NoCookies, SessionCookies

if TYPE_CHECKING:
    from authcore.tokens import Tokens
    from config.settings import Settings


def csrf_tokens(settings: Settings) -> CsrfTokens:
    """Return the CSRF tokens that every gateway with the same JWT secret mints, and each with a previous one.

    Raises:
        ValueError: a setting is missing that only a gateway needs.
    """
    if settings.jwt.secret is None:
        raise ValueError("GATEWAY_JWT_SECRET is required")
    secrets = (settings.jwt.secret, *settings.jwt.previous_secrets)
    return CsrfTokens(secret.get_secret_value().encode() for secret in secrets)


def session_cookies(settings: Settings, tokens: Tokens) -> SessionCookies | NoCookies:
    """Return what sets and clears cookies; where they are off, what does not."""
    if not settings.cookies:
        return NoCookies()
    return SessionCookies(csrf_tokens(settings), tokens, cookie_places(settings), only=settings.cookie.only)


def cookie_places(settings: Settings) -> CookiePlaces:
    """Return where cookies lie."""
    cookie = settings.cookie
    return CookiePlaces(secure=cookie.secure, domain=cookie.domain, base_path=cookie.base_path)
