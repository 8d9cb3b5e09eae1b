"""Checks of a foreign issuer's settings: which are lacking, and which let the wrong people in together.

Laws are those of :mod:`config.checks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings


def issuer(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield what a foreign issuer lacks."""
    foreign = settings.issuer
    if foreign.url is None:
        if foreign.jwks_url is not None:
            yield (
                "GATEWAY_ISSUER_URL",
                "should be the iss claim of the tokens that GATEWAY_ISSUER_JWKS_URL verifies",
            )
        return
    if foreign.jwks_url is None:
        yield "GATEWAY_ISSUER_JWKS_URL", "should say where the keys of GATEWAY_ISSUER_URL are, https://…"
    if not foreign.audience:
        yield (
            "GATEWAY_ISSUER_AUDIENCE",
            "should name this gateway: else tokens for anybody else would open it",
        )
    if foreign.url == settings.jwt.issuer:
        yield "GATEWAY_ISSUER_URL", "is GATEWAY_JWT_ISSUER, the gateway's own"


def _finds_by_email(settings: Settings) -> bool:
    return settings.issuer.url is not None and not settings.issuer.claim_user_id


def unproved_emails(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a problem where anybody can register an address by which somebody else would be found."""
    if settings.issuer.unproved_email and settings.registration == "open" and _finds_by_email(settings):
        yield (
            "GATEWAY_ISSUER_UNPROVED_EMAIL",
            (
                "on with GATEWAY_REGISTRATION=open gives whoever registers an address first its later user; "
                "set GATEWAY_REGISTRATION=invite"
            ),
        )


def issuer_tokens(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a problem where no request head could hold a token of the greatest size."""
    most, head = settings.issuer.token_bytes, settings.limit.head_bytes
    is_set = "token_bytes" in settings.issuer.model_fields_set
    if settings.issuer.url is not None and is_set and most >= head:
        yield "GATEWAY_ISSUER_TOKEN_BYTES", f"{most} should be less than GATEWAY_LIMIT_HEAD_BYTES, {head}"


def doubts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield every (setting, warning) about settings that work together, and may not be what was meant."""
    if settings.registration == "open" and _finds_by_email(settings):
        yield (
            "GATEWAY_ISSUER_URL",
            (
                "users are found by e-mail while GATEWAY_REGISTRATION=open lets anybody register any address: an "
                "account that registered by itself is not found, and keeps its address from whoever has it; set "
                "GATEWAY_REGISTRATION=invite, or GATEWAY_ISSUER_CLAIM_USER_ID"
            ),
        )
