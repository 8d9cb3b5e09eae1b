"""Types of settings: the form that a value must have, and the message if it has another."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo  # noqa: TC002 -- pydantic reads annotations at run time
from pydantic_settings import NoDecode

from authcore.identity_headers import withheld
from config.patterns import PathPattern

_LISTEN: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]*):([0-9]{1,5})")
_UNIX: Final = re.compile(r"unix:(/[^\x00\n,]{1,107})")
_UPSTREAM: Final = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::([0-9]{1,5}))?/?")
_COLLECTOR: Final = re.compile(
    r"https?://(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::([0-9]{1,5}))?(?:/[0-9A-Za-z._~/-]*)?"
)
_HOST_NAME: Final = re.compile(r"(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_-]|\.(?=[A-Za-z0-9_-]))*")
_PATH: Final = re.compile(r"(?:[A-Z]+(?:\|[A-Z]+)* )?/[^\s*?#\\]*(?:(?<=/)\*)?")
_PORTS: Final = range(65_536)
NO_PATH: Final = "should be the path of a file, on one line, and not the text of the file"
HOST: Final = r"^(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(:[0-9]{1,5})?$"
"""Pattern of the field Host."""
NO_HOST: Final = "should be a host, perhaps with a port, such as app.example.com"
_LONGEST_PATH: Final = 107
"""Bytes that the name of a Unix socket has at most (``sun_path``, unix(7))."""


def _listen(value: str) -> str:
    match = _LISTEN.fullmatch(value)
    if match is None:
        raise ValueError("should be host:port, such as 0.0.0.0:8080, [::1]:8080 or :8080")
    if int(match[2]) not in _PORTS:
        raise ValueError("the port should be from 0 to 65535")
    return value


def _public(value: str) -> str:
    if value.startswith("unix:"):
        if _UNIX.fullmatch(value) is None or len(value.encode()) > len("unix:") + _LONGEST_PATH:
            raise ValueError(f"should be unix:/path, with an absolute path of {_LONGEST_PATH} bytes at most")
        return value
    return _listen(value)


def upstream_url_pattern() -> str:
    """Return the pattern of an upstream's URL, for schemas."""
    return f"^(?:{_UPSTREAM.pattern}|{_UNIX.pattern})$"


def _upstream_url(value: str) -> str:
    if value.startswith("unix:"):
        return _public(value)
    match = _UPSTREAM.fullmatch(value)
    if match is None:
        raise ValueError(
            "should be http://host:port or https://host:port, without a user, a path or a query; or unix:/path"
        )
    _judge_port(match[2])
    return value


def _key_set_url(value: str) -> str:
    try:
        url = urlsplit(value)
        _ = url.port
    except ValueError:  # its text has a part of the URL
        raise ValueError("should be https://host/path, without a user and a fragment") from None
    if url.hostname is None or url.username is not None or url.fragment:
        raise ValueError("should be https://host/path, without a user and a fragment")
    loopback = url.hostname == "localhost" or url.hostname.startswith("127.") or url.hostname == "::1"
    if url.scheme != "https" and not (url.scheme == "http" and loopback):
        raise ValueError("should begin with https:// (http:// is for loopback alone)")
    return value


def _collector_url(value: str) -> str:
    match = _COLLECTOR.fullmatch(value)
    if match is None:
        raise ValueError("should be http://host:port or https://host, without a user and a query")
    _judge_port(match[2])
    return value


def _judge_port(port: str | None) -> None:
    """Raise ValueError if a URL's port cannot be connected to."""
    if port is not None and int(port) not in _PORTS[1:]:
        raise ValueError("the port should be from 1 to 65535")


def _path(value: str) -> str:
    if _PATH.fullmatch(value) is None:
        raise ValueError(
            "should be /path, /path/* or `METHOD|METHOD /path`, and a * stands only at the very end"
        )
    PathPattern.parse(value.rpartition(" ")[2])
    return value


def _host_name(value: str) -> str:
    if _HOST_NAME.fullmatch(value) is None:
        raise ValueError("should be a host name without port, or *. and a name for any one label before it")
    return value.lower()


def _name_server(value: str) -> str:
    plain_ipv6 = value.count(":") > 1 and not value.startswith("[")
    try:
        url = urlsplit(f"//[{value}]" if plain_ipv6 else f"//{value}")
        ip_address(url.hostname or "")
        whole = url.port != 0 and not (url.path or url.query or url.fragment or url.username)
    except ValueError:
        whole = False
    if not whole:
        raise ValueError(
            "should be the address of a name server, such as 10.96.0.10, 10.0.0.2:5353 or [fd00::a]:53"
        )
    return value


def split(value: Any) -> Any:
    """Split an operator's text at commas and line ends; leave any other value for its type to check."""
    if isinstance(value, str):
        return tuple(part for entry in re.split(r"[,\n]", value) if (part := entry.strip()))
    return value


def is_text_of_a_file(value: object) -> bool:
    """Return whether `value` is what a PEM file holds: a key that stands where its path belongs."""
    return isinstance(value, str) and "-----BEGIN " in value


def _file_name(value: Any) -> Any:
    if is_text_of_a_file(value) or (isinstance(value, str) and "\n" in value):
        raise ValueError(NO_PATH)
    return value


def _file_names(value: Any) -> Any:
    if is_text_of_a_file(value):  # before it is split at its line ends
        raise ValueError(NO_PATH)
    return split(value)


def _identity(words: tuple[str, ...]) -> tuple[str, ...]:
    withheld(words)
    return words


FileName = Annotated[str, BeforeValidator(_file_name)]
"""Path of a file. The text of the file in its place may be a private key, so it is refused and not quoted."""
FileNames = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_file_names)]
"""Paths of files, comma-separated."""
FilePath = Annotated[Path, BeforeValidator(_file_name)]
Directory = Annotated[Path, BeforeValidator(_file_name), Field(description="a folder")]
Seconds = Annotated[float, Field(gt=0, le=86_400 * 366, allow_inf_nan=False)]
Listen = Annotated[str, AfterValidator(_listen)]
"""``host:port``; an empty host listens on every address, port 0 lets the system choose."""
Listens = Annotated[
    tuple[Annotated[str, AfterValidator(_public)], ...], NoDecode, BeforeValidator(split), Field(min_length=1)
]
"""Addresses to listen on, at least one: ``host:port`` or ``unix:/path``."""
Paths = Annotated[tuple[Annotated[str, AfterValidator(_path)], ...], NoDecode, BeforeValidator(split)]


def shaped(pattern: str, words: str) -> tuple[AfterValidator, FieldInfo]:
    """Return the annotations of a text that has to match `pattern`, and is refused with `words`.

    JSON Schemas get the pattern as it is, and Helm reads them with RE2: no look-around.
    """
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if compiled.search(value) is None or value.endswith("\n"):
            raise ValueError(words)
        return value

    return AfterValidator(check), Field(json_schema_extra={"pattern": pattern})


HeaderName = Annotated[
    str,
    *shaped(
        r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$",
        "should be the name of a header, such as X-User-ID: letters, digits and -, at most 64",
    ),
]
"""A field name is a token (RFC 9110 section 5.1)."""
HeaderNames = Annotated[tuple[HeaderName, ...], NoDecode, BeforeValidator(split)]
ForeignNames = Annotated[
    tuple[
        Annotated[
            str,
            *shaped(
                r"^[A-Za-z_][0-9A-Za-z_.-]{0,254}[*]?$",
                "should be the name of a variable, such as GATEWAY_API, or its beginning and a final *",
            ),
        ],
        ...,
    ],
    NoDecode,
    BeforeValidator(split),
]
"""Names of other programs' variables; a final ``*`` stands for all that begin so."""
IdentityWords = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split), AfterValidator(_identity)]
"""The identity headers that an upstream is sent; :func:`authcore.identity_headers.withheld` parses the words."""
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(split)]
HostNames = Annotated[
    tuple[Annotated[str, AfterValidator(_host_name)], ...], NoDecode, BeforeValidator(split)
]
KeySetUrl = Annotated[str, AfterValidator(_key_set_url)]
NameServers = Annotated[
    tuple[Annotated[str, AfterValidator(_name_server)], ...], NoDecode, BeforeValidator(split)
]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(split)]
CollectorUrl = Annotated[str, AfterValidator(_collector_url)]
UpstreamUrl = Annotated[str, AfterValidator(_upstream_url)]


class Group(BaseModel):
    """Group of settings, whose names share their first word."""

    model_config = ConfigDict(extra="forbid", frozen=True)
