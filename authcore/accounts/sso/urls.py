"""URLs of providers: which lead to a provider, and with which parameters a browser is sent there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from authcore.errors import SsoProviderFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_UNWANTED: Final = frozenset(' \\"<>#')


def of_provider(url: str, hosts: frozenset[str]) -> str:
    """Return a URL of a provider: one by https, or by http on loopback, that leads to one of its `hosts`.

    Raises:
        SsoProviderFailed: it is none.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise SsoProviderFailed("a URL of the provider cannot be read") from None
    by_tls = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    plain = url.isascii() and url.isprintable() and _UNWANTED.isdisjoint(url)
    if host not in hosts or not by_tls or not plain or parts.username is not None:
        raise SsoProviderFailed(
            f"a URL of the provider leads to {host!r:.200}, which is none of its hosts by https"
        )
    return url


def hosts_of(*urls: str) -> frozenset[str]:
    """Return the hosts that URLs lead to, in lower case.

    Raises:
        ValueError: one cannot be read.
    """
    return frozenset(host for url in urls if (host := urlsplit(url).hostname))


def with_query(url: str, parameters: Mapping[str, str]) -> str:
    """Return a URL with parameters added to its query."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(parameters)}"
