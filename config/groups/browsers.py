"""Settings for browsers: sessions in cookies, and pages of other origins."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from config.fields import Group, HeaderNames, shaped, split

_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?P<host>\[[0-9a-f:.]+\]|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_DOMAIN: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])?")
_LAST_PORT: Final = 65_535


def _origin(value: str) -> str:
    """Return an origin as browsers write it (RFC 6454 section 6.2): lower case, without the scheme's own port."""
    lowered = value.lower()
    if lowered == "null":
        return lowered
    match = _ORIGIN.fullmatch(lowered)
    if match is None or int(match["port"] or 0) > _LAST_PORT:
        raise ValueError(
            "should be scheme://host or scheme://host:port without a path, such as https://app.example.com or "
            "https://*.example.com; name the origins, for * alone would let every page in"
        )
    host = match["host"]
    if host.startswith("*.") and "." not in host[2:] and host != "*.localhost":
        raise ValueError("the wildcard should stand before a domain, such as https://*.example.com")
    if match["port"] == _DEFAULT_PORTS.get(match["scheme"], ""):
        return f"{match['scheme']}://{host}"
    return lowered


def _domain(value: str) -> str:
    domain = value.lower().removeprefix(".")
    if _DOMAIN.fullmatch(domain) is None:
        raise ValueError(
            "should be a domain with a dot in it, such as example.com; unset, cookies stay at one host"
        )
    return domain


def _base_path(value: str) -> str:
    if {".", ".."}.intersection(value.split("/")):
        raise ValueError("should have no segment . or ..: browsers resolve them before they look for cookies")
    return value


Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(split)]
Method = Annotated[str, *shaped(r"^[A-Z]+$", "should be a method in capital letters, such as PATCH")]
Methods = Annotated[tuple[Method, ...], NoDecode, BeforeValidator(split)]
BasePath = Annotated[
    str,
    Field(max_length=255),
    *shaped(
        r"^(/[A-Za-z0-9._~-]+)*$",
        "should be a path that begins with / and does not end with one, such as /whatomate",
    ),
    AfterValidator(_base_path),
]


class Cookie(Group):
    """The cookies of browser sessions; GATEWAY_COOKIES turns them on."""

    secure: bool = Field(
        default=True, description="Cookies go over https alone; off is for development without it."
    )
    domain: Annotated[str, AfterValidator(_domain)] | None = Field(
        None, description="The cookies are good for this domain and all below it; unset: for one host."
    )
    base_path: BasePath = Field(
        "",
        description="Where browsers find the gateway, when a proxy in front takes a path such as /whatomate off "
        "(Whatomate's server.base_path); the cookies' paths begin with it.",
    )
    only: bool = Field(default=False, description="Tokens go into cookies alone, not into the body as well.")


class Cors(Group):
    """Pages of other origins (CORS); off without origins: preflights and CORS headers are then the upstream's."""

    origins: Origins = Field(
        (),
        description="Origins whose pages may call: exact, or with one wildcard label, https://*.example.com; "
        "comma-separated.",
    )
    credentials: bool = Field(
        default=False, description="Those pages may use cookies: sign in, call and open WebSockets by them."
    )
    methods: Methods = Field(
        ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
        description="Methods that those pages may use; comma-separated.",
    )
    headers: HeaderNames = Field(
        ("Authorization", "Content-Type", "X-API-Key", "X-CSRF-Token", "X-Organization-ID", "X-Request-ID"),
        description="Request headers that those pages may set; comma-separated.",
    )
    exposed: HeaderNames = Field(
        ("X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy"),
        description="Response headers that those pages may read; comma-separated.",
    )
    max_age_seconds: int = Field(600, ge=0, le=86_400, description="Browsers keep a preflight this long.")
