"""Checks of the database settings against each other."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings


def database_urls(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each URL of a database that is no URL of PostgreSQL, without repeating it: it may hold a password."""
    for name, secret in (
        ("GATEWAY_DATABASE_URL", settings.database.url),
        ("GATEWAY_DATABASE_LISTEN_URL", settings.database.listen_url),
        ("GATEWAY_MIGRATE_DATABASE_URL", settings.migrate.database_url),
    ):
        problem = None if secret is None else _database_url(secret.get_secret_value())
        if problem is not None:
            yield name, problem


def _database_url(url: str) -> str | None:
    if not url.startswith(("postgresql://", "postgres://")):
        return "should begin with postgresql://"
    try:
        parts = urlsplit(url)
        for host in parts.netloc.rpartition("@")[2].split(","):
            urlsplit(f"//{host}").port  # noqa: B018 - reading it is the check
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return _FORM
    # What the password has of / ? # ends the host too early: the rest with its @ is in the path or behind it.
    if "@" in parts.path or parts.fragment or any("@" in key or "/" in key for key, _ in query):
        return f"ends too early; {_FORM}"
    return next((problem for key, value in query if (problem := _parameter(key, value)) is not None), None)


def _parameter(key: str, value: str) -> str | None:
    """Return what is wrong with one parameter behind the ``?``; others than these are the server's to judge."""
    words = _WORDS.get(key)
    if words is not None and value.replace("_", "-") not in words:
        return f"{key} should be one of {', '.join(words)}"
    if key not in _PARAMETERS:
        meant = get_close_matches(key, _PARAMETERS, n=1, cutoff=0.8)
        if meant:
            return f"has no parameter {key} behind the ?; did you mean {meant[0]}?"
    return None


_FORM: Final = (
    "should be postgresql://user:password@host:5432/name; a / ? # @ : or % in the password is written in its %-form "
    "(%2F %3F %23 %40 %3A %25)"
)
_WORDS: Final = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "primary", "standby", "prefer-standby", "read-write", "read-only"),
}
_PARAMETERS: Final = (
    *(*_WORDS, "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslpassword", "sslnegotiation"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version", "application_name", "search_path", "options"),
)
"""Parameters whose names are known here, for those that are nearly one of them."""


def migrate_password(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a password of the owner whose URL is not set."""
    if settings.migrate.database_password is not None and settings.migrate.database_url is None:
        yield (
            "GATEWAY_MIGRATE_DATABASE_PASSWORD",
            "is for GATEWAY_MIGRATE_DATABASE_URL, which is not set; set both, or GATEWAY_DATABASE_PASSWORD alone",
        )


def pool_sizes(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a pool whose least size is above its greatest."""
    low, high = settings.database.pool_min, settings.database.pool_max
    if low > high:
        yield "GATEWAY_DATABASE_POOL_MIN", f"{low} is more than GATEWAY_DATABASE_POOL_MAX, {high}"
