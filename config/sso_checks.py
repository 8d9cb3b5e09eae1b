"""Checks of the settings of identity providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings


def provider_emails(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a problem where anybody can register an address that somebody else's sign-in would lead to."""
    if settings.sso == "hosted" and settings.provider.unproved_email and settings.registration == "open":
        yield (
            "GATEWAY_PROVIDER_UNPROVED_EMAIL",
            (
                "on with GATEWAY_REGISTRATION=open gives whoever registers an address first its later user; "
                "set GATEWAY_REGISTRATION=invite"
            ),
        )


def provider_origin(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a problem where browsers would not send the cookie of a sign-in back."""
    origin = settings.provider.origin
    if origin is None or not origin.lower().startswith("http://") or not settings.cookie.secure:
        return
    if origin.lower().removeprefix("http://").partition(":")[0] not in {"localhost", "127.0.0.1"}:
        yield (
            "GATEWAY_PROVIDER_ORIGIN",
            "should be https://, or GATEWAY_COOKIE_SECURE=off: browsers send no secure cookie without TLS",
        )


def sso_doubts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield every (setting, warning) about settings that work together, and may not be what was meant."""
    if settings.sso == "hosted" and settings.registration == "open":
        yield (
            "GATEWAY_SSO",
            (
                "hosted while GATEWAY_REGISTRATION=open lets anybody register any address: an account that "
                "registered by itself is not linked, and keeps its address from whoever has it; set "
                "GATEWAY_REGISTRATION=invite"
            ),
        )
