"""Settings of rate limits: those of every route, and how limits are counted."""

from __future__ import annotations

from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field, SecretStr

from config.fields import Group, Seconds
from config.rates import Rates
from config.redis_urls import judge_redis_options

_SCHEMES: Final = (
    *("redis", "rediss", "unix"),
    *(f"{scheme}+{kind}" for scheme in ("redis", "rediss") for kind in ("sentinel", "cluster")),
)
_FORM: Final = (
    "should be redis://[[user]:password@]host:port/database, or begin with rediss://, unix://, redis+sentinel:// or "
    "redis+cluster://"
)


def _store_url(value: SecretStr) -> SecretStr:
    """Judge a URL without repeating it: it has a password."""
    try:
        url = urlsplit(value.get_secret_value())
        options = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
    except ValueError:
        raise ValueError(_FORM) from None
    several = url.scheme.endswith("+sentinel")
    hosts = url.netloc.rpartition("@")[2]
    if url.scheme not in _SCHEMES or not (
        url.path if url.scheme == "unix" else all(map(_is_address, hosts.split(",") if several else [hosts]))
    ):
        raise ValueError(_FORM)
    service, _, database = url.path.strip("/").partition("/")
    if several and not service:
        raise ValueError(
            "redis+sentinel:// should name the service: redis+sentinel://host:port,host:port/service"
        )
    if not several:
        database = "" if url.scheme == "unix" else url.path.strip("/")
    if not ((database or "0").isascii() and (database or "0").isdigit()):
        raise ValueError("the database should be a number")
    if url.scheme.endswith("+cluster") and (database or "0") != "0":
        raise ValueError("a cluster has no database but 0")
    judge_redis_options(options, url.scheme)
    return value


def _is_address(host: str) -> bool:
    """Return whether `host` is a host, with or without a port."""
    try:
        parts = urlsplit(f"//{host}")
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class Limits(Group):
    """Rate limits of all routes that name none of their own in a route file."""

    network: Rates = Field(
        (),
        description="Requests of one client network (IPv4 address, IPv6 /64), such as `100/s burst 200`; several "
        "windows are comma-separated. Counted before the credential is read; past that 429. Unset: no limit.",
    )
    user: Rates = Field((), description="The same of one user, counted once the caller is permitted.")
    api_key: Rates = Field((), description="The same of one API key.")
    organization: Rates = Field((), description="The same of one organization.")
    url: Annotated[SecretStr, AfterValidator(_store_url)] | None = Field(
        None,
        description="Valkey or Redis in which several gateways count limits together: redis://host:port/database, "
        "rediss://, unix:///path, redis+sentinel://host:port,host:port/service, redis+cluster://host:port. Unset: each "
        "gateway grants its share. Needs the package's extra `redis`. As GATEWAY_LIMITS_URL_FILE its user and password "
        "are read again for each connection.",
    )
    timeout_seconds: Seconds = Field(
        0.25, description="Longest wait of an exchange with it, beside the requests; then it is away."
    )
    store_away: Literal["open", "closed"] = Field(
        "open",
        description="What limits do while it is away: open grants each process its share, closed answers 503. A limit "
        "of the route file may have its own `store_away`.",
    )
    public: bool = Field(default=False, description="The limit by network is on for public routes as well.")
    shadow: bool = Field(
        default=False, description="No limit refuses: what would be refused is counted and recorded."
    )
    headers: Literal["all", "none"] = Field(
        "all", description="Whether answers have RateLimit and RateLimit-Policy, on routes with limits."
    )
    keys: int = Field(
        100_000,
        ge=1_000,
        le=10_000_000,
        description="Callers that one limit counts each by itself; further ones share 1,024 counts.",
    )
    replicas: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Gateways that share the traffic: each grants its share of every limit, and so does each of its "
        "workers.",
    )
