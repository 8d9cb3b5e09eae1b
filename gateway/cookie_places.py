"""Places of our cookies in a browser: paths and domains, and the Set-Cookie lines that set and expire cookies there.

A browser distinguishes cookies of one name by path, by domain, and by whether a Domain was given (RFC 6265bis section
5.7). Whatomate, and this gateway under an earlier setting, put cookies of our names in other places than the present
one, and a new cookie does not replace one in another place. Laws:

- One table has all places: each of our names, at each path where it was ever set, for the host alone and for each
  domain that the host is in.
- Whenever our cookies are set or cleared, those in the other places are expired first. The order matters: by RFC 6265
  section 5.3 a cookie for a host and one for the domain of the same name are the same cookie.
- A request does not show where its cookies lie. A request without any of ours can still have one at a path that the
  request is not below; then only those places are expired.
- A cookie that an upstream sets under one of our names keeps its value and lifetime and is moved to our place. All
  other lines pass unchanged, also those that only resemble ours.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gateway.cookies import ACCESS, CSRF, REFRESH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Line = tuple[bytes, bytes]

PATHS: Final[dict[bytes, tuple[bytes, ...]]] = {
    ACCESS: (b"/api",),
    REFRESH: (b"/api/auth", b"/api/auth/refresh"),
    CSRF: (b"/",),
}
"""Name -> its own path here, then the other paths where Whatomate sets it; all below the base path."""

UNSEEN: Final = ((REFRESH, b"/api/auth/refresh"),)
"""Places whose cookies browsers send to the endpoint that refreshes, and to no other of the gateway's."""

MOST_DOMAINS: Final = 5
"""How many domains of a host are expired at most: its own name, and the shortest of its parents."""

_NAME: Final = re.compile(rb"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])?")
_LONGEST_NAME: Final = 253
_LIFE: Final = frozenset({b"max-age", b"expires"})
_SET_COOKIE: Final = b"set-cookie"


class CookiePlaces:
    """Places of our cookies under one configuration."""

    def __init__(self, *, secure: bool, domain: str | None, base_path: str = "") -> None:
        """Create the places.

        Args:
            secure: Cookies are sent over https only.
            domain: Cookies are for this domain and all below it; None for the host alone.
            base_path: What a proxy takes off the paths; empty where it takes nothing off.
        """
        base = base_path.encode("ascii")
        self._secure = b"; Secure" if secure else b""
        self._domain = None if domain is None else domain.encode("ascii")
        self._paths = {name: tuple(base + path for path in paths) for name, paths in PATHS.items()}
        self._unseen = tuple((name, base + path) for name, path in UNSEEN)
        if base:  # the only path outside it that is seen below it
            self._paths[CSRF] += (b"/",)

    def put(self, name: bytes, value: bytes, life: bytes) -> bytes:
        """Return the value of the Set-Cookie line that sets a cookie in our place.

        Args:
            name: One of ours.
            value: Its value; empty to clear it.
            life: Its ``Max-Age`` and ``Expires``, each after ``"; "``; empty for a cookie that ends with the browser.
        """
        scripts = b"" if name == CSRF else b"; HttpOnly"
        domain = b"" if self._domain is None else b"; Domain=%b" % self._domain
        path = self._paths[name][0]
        return b"%b=%b; Path=%b%b%b%b%b; SameSite=Lax" % (
            *(name, value, path, scripts),
            *(life, domain, self._secure),
        )

    def expire(self, host: bytes, names: Iterable[bytes] = tuple(PATHS)) -> list[bytes]:
        """Return the values of the Set-Cookie lines that expire cookies in every place but ours.

        Args:
            host: The host that the client asked for, as received.
            names: Which of our names to expire.
        """
        return self._expire(host, [(name, path) for name in names for path in self._paths[name]])

    def expire_unseen(self, host: bytes) -> list[bytes]:
        """Return the same for the places in ``UNSEEN`` alone."""
        return self._expire(host, self._unseen)

    def _expire(self, host: bytes, places: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        domains: list[bytes | None] = [None, *domains_of(host)]
        if self._domain not in domains:
            domains.append(self._domain)
        return [
            b"%b=; Path=%b; Max-Age=0%b%b"
            % (name, path, b"" if domain is None else b"; Domain=%b" % domain, self._secure)
            for name, path in places
            for domain in domains
            if domain != self._domain or path != self._paths[name][0]
        ]

    def moved(self, fields: Sequence[Line], host: bytes) -> list[Line] | None:
        """Return an upstream's field lines with its cookies of our names moved to our places, and the others expired.

        If some lines set a cookie and others clear it, the clearing ones are left out: they are meant for other places.

        Args:
            fields: The field lines of a response.
            host: The host that the client asked for, as received.

        Returns:
            None if no line sets or clears one of our names.
        """
        ours = [_read(line) for line in fields]
        names = list(dict.fromkeys(one[0] for one in ours if one is not None))
        if not names:
            return None
        is_set = {one[0] for one in ours if one is not None and one[1]}
        lines: list[Line] = []
        is_expired = False
        for line, one in zip(fields, ours, strict=True):
            if one is None:
                lines.append(line)
                continue
            if not is_expired:
                is_expired = True
                lines += [(b"Set-Cookie", value) for value in self.expire(host, names)]
            name, value, life = one
            if value or name not in is_set:
                lines.append((line[0], self.put(name, value, life)))
        return lines


def domains_of(host: bytes) -> tuple[bytes, ...]:
    """Return the domains for which a cookie of this host may have been set, its own name first; none for an address.

    The last label alone is left out, since no setting accepts it. Browsers ignore other public suffixes (``co.uk``).
    """
    name = host.lower().partition(b":")[0]
    if len(name) > _LONGEST_NAME or _NAME.fullmatch(name) is None:
        return ()
    labels = name.split(b".")
    domains = [b".".join(labels[at:]) for at in range(len(labels) - 1)]
    return (*domains[:1], *domains[1:][-(MOST_DOMAINS - 1) :])


def _read(line: Line) -> tuple[bytes, bytes, bytes] | None:
    """Return name, value and lifetime of a line that sets one of our cookies, parsed as in RFC 6265 section 5.2."""
    if len(line[0]) != len(_SET_COOKIE) or line[0].lower() != _SET_COOKIE:
        return None
    pair, *attributes = line[1].split(b";")
    name, mark, value = pair.partition(b"=")
    name = name.strip(b" \t")
    if not mark or name not in PATHS:
        return None
    life = [
        b"; %b" % attribute.strip(b" \t")
        for attribute in attributes
        if attribute.partition(b"=")[0].strip(b" \t").lower() in _LIFE
    ]
    return name, value.strip(b" \t"), b"".join(life)
