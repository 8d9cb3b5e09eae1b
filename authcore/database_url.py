"""Parser of PostgreSQL URLs: it reads what libpq reads, for the driver, whose own reading differs in places.

Laws:

- A parameter of libpq is honoured, left out as it changes nothing here, or refused by its name; none is passed to the
  server, which knows none of them. Any other parameter is a setting of the server, such as ``search_path``.
- What follows the ``?`` wins over what stands before it, as in libpq.
- A ``+`` is a plus everywhere: the URL is percent-encoded, not form-encoded. A test compares with libpq itself.
- No message has a part of the URL in it but the name of a parameter: the rest may be of a password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, unquote, urlencode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class UrlRefused(ValueError):
    """The URL cannot be used. The text says why, follows the name of a setting, and has no value in it."""


class Host(NamedTuple):
    """Host of a URL.

    Attributes:
        name: Host name, IP address, or absolute path of a folder with a Unix socket; None: where the driver looks.
        port: None: PostgreSQL's, or that of the environment.
    """

    name: str | None
    port: int | None


@dataclass(frozen=True, slots=True, repr=False)
class DatabaseUrl:
    """Parts of a URL. A part that is None is not in it.

    Attributes:
        hosts: In the order in which they are tried; at least one.
        target: ``target_session_attrs``.
        connect_seconds: ``connect_timeout``, for each host.
        application_name: The name that the server is to list connections by.
        parameters: What the driver reads, and settings of the server.
    """

    hosts: tuple[Host, ...]
    user: str | None
    password: str | None
    database: str | None
    target: str | None
    connect_seconds: float | None
    application_name: str | None
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def dsn(self) -> str:
        """URL of the parameters alone."""
        query = urlencode(self.parameters, quote_via=quote)
        return f"postgresql://?{query}" if query else "postgresql://"


_FORM: Final = (
    "should be postgresql://user:password@host:5432/name; a / ? # @ : or % in the password is written in its %-form "
    "(%2F %3F %23 %40 %3A %25)"
)
_TWO: Final = "has more than one @ before the host; an @ in the user or the password is written %40"
_URL: Final = re.compile(
    r"postgres(?:ql)?://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?P<rest>#.*)?",
    re.DOTALL,
)
"""The pattern of RFC 3986, appendix B. ``urlsplit`` refuses brackets and some letters in a password."""
_LINE_ENDS: Final = str.maketrans("", "", "\t\r\n")
_PORTS: Final = range(1, 65_536)
_LONGEST_SECONDS: Final = 3_600
_DIGITS: Final = 5

_WORDS: Final = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "primary", "standby", "prefer-standby", "read-write", "read-only"),
}
_TAKEN: Final = (
    "host",
    "port",
    "dbname",
    "database",
    "user",
    "password",
    "connect_timeout",
    "application_name",
)
_FILES: Final = frozenset({"sslrootcert", "sslcert", "sslkey", "sslcrl"})
"""Parameters that name a file, which is looked at by itself."""
_OF_DRIVER: Final = (
    *(*_WORDS, "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslpassword", "sslnegotiation", "passfile"),
    *(
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "krbsrvname",
        "gsslib",
        "search_path",
        "options",
    ),
)
HARMLESS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"), ()),
    **dict.fromkeys(("tcp_user_timeout", "fallback_application_name"), ()),
    "channel_binding": ("disable", "prefer"),
    "client_encoding": ("utf8", "utf-8", "unicode", "auto"),
    "gssdelegation": ("0",),
    "gssencmode": ("disable", "prefer"),
    "load_balance_hosts": ("disable",),
    "sslcertmode": ("allow",),
    "sslcompression": ("0",),
    "sslsni": ("1",),
}
"""Parameters of libpq that are left out, with the values at which they change nothing here; none: all values."""
_UNKNOWN: Final = "the database driver does not know it; remove it"
_FULL: Final = "remove it, and protect the connection by sslmode=verify-full"
REFUSED: Final[Mapping[str, str]] = {
    "channel_binding": f"the database driver has no channel binding; {_FULL}",
    "client_encoding": "the gateway speaks UTF-8; remove it",
    "gssdelegation": _UNKNOWN,
    "gssencmode": f"the database driver has no encryption by GSSAPI; {_FULL}",
    "hostaddr": "write the address in the place of the host",
    "load_balance_hosts": "hosts are tried in the order in which they are written; remove it",
    "max_protocol_version": _UNKNOWN,
    "min_protocol_version": _UNKNOWN,
    "replication": "the gateway does not replicate; remove it",
    "require_auth": "the database driver does whatever the server asks for; remove it, and set pg_hba.conf",
    "requirepeer": _UNKNOWN,
    "scram_client_key": "write the password",
    "scram_server_key": "write the password",
    "service": "the service file is not read; write host, port, user and name into the URL",
    "servicefile": "the service file is not read; write host, port, user and name into the URL",
    "ssl": "write sslmode=require or sslmode=verify-full",
    "sslcertmode": _UNKNOWN,
    "sslcompression": _UNKNOWN,
    "sslcrldir": "name a file by sslcrl",
    "sslkeylogfile": _UNKNOWN,
    "sslsni": "the server's name is always sent in the TLS handshake; remove it",
    **dict.fromkeys(("oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope"), _UNKNOWN),
}
"""Parameters of libpq that cannot be honoured, with what to do."""
_SYSTEM: Final = (
    "sslrootcert=system cannot be honoured; name the file of this machine's certificates, such as "
    "/etc/ssl/certs/ca-certificates.crt, and set sslmode=verify-full"
)
_KNOWN: Final = tuple(dict.fromkeys((*_OF_DRIVER, *_TAKEN, *HARMLESS, *REFUSED)))


def parse(url: str) -> DatabaseUrl:
    """Parse a URL; line ends and tabs in it are passed over, as ``urlsplit`` does.

    Raises:
        UrlRefused: It cannot be used.
    """
    if not url.startswith(("postgresql://", "postgres://")):
        raise UrlRefused("should begin with postgresql://")
    match = _URL.fullmatch(url.translate(_LINE_ENDS))
    if match is None:
        raise UrlRefused(_FORM)
    authority, path, pairs = match["authority"], match["path"], _pairs(match["query"] or "")
    # What the password has of / ? # ends the host too early: the rest with its @ is in the path or behind it.
    if "@" in path or match["rest"] or any("@" in key or "/" in key for key, _ in pairs):
        raise UrlRefused(f"ends too early; {_FORM}")
    if authority.count("@") > 1:
        raise UrlRefused(_TWO)
    query = _honoured(pairs)
    login, _, places = authority.rpartition("@")
    user, _, password = login.partition(":")
    hosts = _hosts(places, query.pop("host", None), query.pop("port", None))
    database = query.pop("database", None)
    found = DatabaseUrl(
        hosts=hosts,
        user=query.pop("user", None) or unquote(user) or None,
        password=query.pop("password", None) or unquote(password) or None,
        database=query.pop("dbname", None) or database or unquote(path.removeprefix("/")) or None,
        target=query.pop("target_session_attrs", None),
        connect_seconds=_seconds(query.pop("connect_timeout", None)),
        application_name=query.pop("application_name", None),
        parameters=query,
    )
    rest = (text for key, text in query.items() if key not in _FILES)
    texts = (found.user, found.password, found.database, *rest)
    if any("\0" in (part or "") for part in texts):
        raise UrlRefused("has a NUL in it")
    return found


def problem_of(url: str) -> str | None:
    """Return why a URL cannot be used; None if it can."""
    try:
        parse(url)
    except UrlRefused as refused:
        return str(refused)
    return None


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return the parameters behind the ``?``, decoded: one ``=`` in each, and at most one ``&`` behind the last."""
    parts = [part.partition("=") for part in text.removesuffix("&").split("&")] if text else []
    if any(not (name and equals) for name, equals, _ in parts):
        raise UrlRefused(_FORM)
    if any("=" in value for _, _, value in parts):
        raise UrlRefused("has a second = in a parameter behind the ?; an = in a value is written %3D")
    return [(unquote(name), unquote(value)) for name, _, value in parts]


def _honoured(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters that are honoured. The last one of a name wins, and an empty one counts as not set."""
    found = {key: value for key, value in dict(pairs).items() if value}
    if found.get("ssl") == "true":  # as of JDBC; libpq reads it in URLs too
        del found["ssl"]
        found.setdefault("sslmode", "require")
    return {key: _checked(key, value) for key, value in found.items() if not _is_harmless(key, value)}


def _is_harmless(key: str, value: str) -> bool:
    values = HARMLESS.get(key)
    return values is not None and (not values or value.lower() in values)


def _checked(key: str, value: str) -> str:
    """Return the value of a parameter as the driver takes it; a problem is raised."""
    words = _WORDS.get(key)
    if words is not None:
        if value.replace("_", "-") not in words:
            raise UrlRefused(f"{key} should be one of {', '.join(words)}")
        return value.replace("_", "-")
    if key in REFUSED:
        raise UrlRefused(f"{key} cannot be honoured: {REFUSED[key]}")
    if key == "sslrootcert" and value == "system":
        raise UrlRefused(_SYSTEM)
    if key not in _KNOWN:
        meant = get_close_matches(key, _KNOWN, n=1, cutoff=0.8)
        if meant:
            raise UrlRefused(f"has no parameter {key} behind the ?; did you mean {meant[0]}?")
    return value


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    seconds = _number(text)
    if seconds is None or not 1 <= seconds <= _LONGEST_SECONDS:
        raise UrlRefused(f"connect_timeout should be a number of seconds from 1 to {_LONGEST_SECONDS}")
    return float(seconds)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None


def _hosts(written: str, named: str | None, ports: str | None) -> tuple[Host, ...]:
    """Return the hosts written before the path, or `named` behind the ``?``, with `ports` in the place of theirs."""
    texts = (written if named is None else named).split(",")
    hosts = tuple(_host(text, is_encoded=named is None) for text in texts)
    if len(hosts) > 1 and any(host.name is None for host in hosts):
        raise UrlRefused(f"has an empty host in its list; {_FORM}")
    if ports is None:
        return hosts
    numbers = [_port(text) for text in ports.split(",")]
    if len(numbers) not in {1, len(hosts)}:
        raise UrlRefused(f"has {len(numbers)} ports behind the ? for {len(hosts)} hosts")
    numbers = numbers * len(hosts) if len(numbers) == 1 else numbers
    return tuple(Host(host.name, port) for host, port in zip(hosts, numbers, strict=True))


def _host(text: str, *, is_encoded: bool) -> Host:
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise UrlRefused(_FORM)
        port = port.removeprefix(":")
    elif text.startswith("/") or (not is_encoded and text.count(":") > 1):
        name, port = text, ""
    else:
        name, _, port = text.partition(":")
    if is_encoded:
        name, port = unquote(name), unquote(port)
    if "\0" in name:
        raise UrlRefused(_FORM)
    return Host(name or None, _port(port))


def _port(text: str) -> int | None:
    if not text:
        return None
    port = _number(text)
    if port not in _PORTS:
        raise UrlRefused(_FORM)
    return port
