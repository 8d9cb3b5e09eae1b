"""Doubts about single settings: values that hold, and are probably not what the operator meant.

Laws: a doubt quotes no value. A setting that another one switches off is a doubt where it was meant to protect, or to
let somebody in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from config.layers import FIELDS
from config.listing import value_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings

_MARKS: Final = ("'", '"')
_TRIMMED: Final = frozenset({"GATEWAY_ADMIN_TOKEN", "GATEWAY_SIGNED_KEY", "GATEWAY_SIGNED_PUBLISHED_KEYS"})
"""Settings whose spaces and line ends at both ends do not count."""


def text_doubts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield every (setting, warning) about a text with quotation marks or spaces around it."""
    for name in FIELDS:
        value = value_of(settings, name)
        for text in map(_text, value if isinstance(value, tuple) else (value,)):
            if len(text) > 1 and text[0] == text[-1] and text[0] in _MARKS:
                yield (
                    name,
                    (
                        "has quotation marks around it, which are a part of the value: files and "
                        "`docker run --env-file` keep them, unlike a shell, .env and systemd; leave them out"
                    ),
                )
            elif text != text.strip() and name not in _TRIMMED:
                yield (
                    name,
                    "begins or ends with a space or a line end, which is a part of the value; leave it out",
                )


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value if isinstance(value, str) else ""


def effect_doubts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield every (setting, warning) about a setting that has no effect beside another one, or protects nothing."""
    if not settings.protected_paths and settings.preset == "none" and settings.routes is None:
        yield (
            "GATEWAY_PROTECTED_PATHS",
            "is empty, so no path needs a credential but the gateway's own; leave it out for its default",
        )
    cookie, cors, signed, issuer = settings.cookie, settings.cors, settings.signed, settings.issuer
    for name, is_set, switch, is_on in (
        (
            "GATEWAY_CORS_CREDENTIALS",
            cors.credentials,
            "GATEWAY_CORS_ORIGINS names nobody",
            bool(cors.origins),
        ),
        (
            "GATEWAY_COOKIE_DOMAIN",
            bool(cookie.domain),
            "GATEWAY_COOKIES is off",
            settings.cookies or settings.sso == "hosted",
        ),
        (
            "GATEWAY_SIGNED_KEY",
            signed.key is not None,
            "GATEWAY_SIGNED_IDENTITY is off",
            signed.identity != "off",
        ),
        (
            "GATEWAY_ISSUER_AUDIENCE",
            bool(issuer.audience),
            "GATEWAY_ISSUER_URL is not set",
            issuer.url is not None,
        ),
    ):
        if is_set and not is_on:
            yield name, f"has no effect while {switch}"
