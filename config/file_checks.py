"""Checks of the files that settings name: that they are there, can be read, and hold what is expected of them.

Laws:

- They come after the checks of words, whose problems are listed first.
- Files that only serving reads are checked for serving alone: a command asks for what it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from authcore.database_url import UrlRefused, parse
from config.files import unreadable
from config.tls_checks import admin_tls, listener_tls, upstream_tls

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from config.checks import Check
    from config.settings import Settings

FILE_CHECKS: Final[tuple[Check, ...]] = (
    (("GATEWAY_UPSTREAM_URL",), upstream_tls),
    (("GATEWAY_TLS_CERT_FILE", "GATEWAY_TLS_KEY_FILE"), listener_tls),
    ((), admin_tls),
)
"""Checks of files that every command makes, as those of :data:`config.checks.CHECKS`."""

_OF_DATABASES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_OF_REDIS: Final = ("ssl_ca_certs",)
_NO_ID: Final = 2**32 - 1
"""chown(2) leaves the owner as it is for this one."""


def serving_files(settings: Settings, refused: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield (setting, problem) for each file that serving would not be able to use, but for the settings `refused`."""
    for name, listen in (("GATEWAY_LISTEN", listen) for listen in settings.listen):
        folder = Path(listen.removeprefix("unix:")).parent
        if listen.startswith("unix:") and not folder.is_dir():
            yield name, f"there is no folder {folder} for its socket; make it, or listen elsewhere"
    if any(listen.startswith("unix:") for listen in settings.listen):
        yield from (("GATEWAY_UNIX_OWNER", problem) for problem in _unknown_owners(settings.unix.owner))
    for name, url, parameters in (
        ("GATEWAY_DATABASE_URL", settings.database.url, _OF_DATABASES),
        ("GATEWAY_DATABASE_LISTEN_URL", settings.database.listen_url, _OF_DATABASES),
        ("GATEWAY_WHATOMATE_REDIS_URL", settings.whatomate.redis_url, _OF_REDIS),
        ("GATEWAY_LIMITS_URL", settings.limits.url, _OF_REDIS),
    ):
        if url is not None and name not in refused:
            for problem in _unreadable(_parameters(url.get_secret_value()), parameters):
                yield name, f"{problem}; check the path in the URL, and that this user may read the file"


def _unknown_owners(owner: str) -> Iterator[str]:
    """Yield each part of ``user:group`` that this machine has no such user or group for."""
    from grp import getgrnam  # noqa: PLC0415 -- Windows has none, and no sockets with an owner
    from pwd import getpwnam  # noqa: PLC0415 -- Windows has none

    user, _, group = owner.partition(":")
    for kind, name, find in (("user", user, getpwnam), ("group", group, getgrnam)):
        if name.isdigit():
            if int(name) >= _NO_ID:
                yield f"{name} is above the ids of users and groups"
        elif name:
            try:
                find(name)
            except KeyError:
                yield f"there is no {kind} {name} on this machine; make it, or write a number"


def _parameters(url: str) -> Mapping[str, str]:
    """Return the parameters of a URL, decoded as its reader does: redis-py form-decodes, so a ``+`` is a space."""
    if not url.startswith("postgres"):
        return dict(parse_qsl(url.partition("?")[2].partition("#")[0]))
    try:
        return parse(url).parameters
    except UrlRefused:  # another check says so
        return {}


def _unreadable(given: Mapping[str, str], parameters: tuple[str, ...]) -> Iterator[str]:
    """Yield each file of a URL's parameters that cannot be read, without its path: the URL is a secret."""
    for parameter in parameters:
        path = given.get(parameter)
        if path is not None and (why := unreadable(Path(path))) is not None:
            yield f"the file of {parameter} cannot be read: {why}"
