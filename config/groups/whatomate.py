"""Settings of what the gateway shares with a Whatomate server besides its database."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field, SecretStr

from config.fields import Group, Seconds
from config.redis_urls import judge_redis_options

_SCHEMES: Final = ("redis", "rediss", "unix")
_FORM: Final = "should be redis://[[user]:password@]host:port/database, or begin with rediss:// or unix://"


def _redis_url(value: SecretStr) -> SecretStr:
    """Judge a URL without repeating it: it has a password."""
    try:
        url = urlsplit(value.get_secret_value())
        unreachable = url.port == 0
        options = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
    except ValueError:
        raise ValueError(_FORM) from None
    if unreachable or url.scheme not in _SCHEMES or not (url.path if url.scheme == "unix" else url.hostname):
        raise ValueError(_FORM)
    database = options.get("db", "0") if url.scheme == "unix" else url.path.strip("/") or "0"
    if not (database.isascii() and database.isdigit()):
        raise ValueError("the database should be a number")
    judge_redis_options(options, url.scheme)
    return value


class Whatomate(Group):
    """The Whatomate server behind the gateway."""

    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = Field(
        None,
        description="Whatomate's Redis. With it, refresh tokens are good on both sides, each once, and permissions "
        "that the gateway changes are read anew there. Needs the package's extra `redis`. As "
        "GATEWAY_WHATOMATE_REDIS_URL_FILE its user and password are read again for each connection.",
    )
    redis_timeout_seconds: Seconds = Field(
        0.25, description="Longest wait for Whatomate's Redis; then it is away."
    )
