"""Cookie places: where a cookie of our names can lie in a browser, and the Set-Cookie lines that put and expire it.

A browser keeps cookies of one name apart by path and domain, and by whether there was a Domain (RFC 6265bis section
5.7). Whoever else issued them (Whatomate itself, or this gateway under an earlier setting) used other places, and a new
cookie beside an old one replaces nothing. Laws:

- All places are in one table: each of our names, at each path that it was ever set at, for the host alone and for each
  domain that the host is in.
- Whenever ours are set or cleared, what may lie in the other places is expired, and before ours are set: by RFC 6265
  section 5.3 a cookie for a host and one for a domain of the same name are one and the same.
- A cookie's place is invisible in a request. One that shows none of ours can have them only where its path does not
  reach: then no more than that is expired.
- What an upstream sets under our names keeps value and lifetime, and is moved to our place. Any other line, and one
  that merely resembles ours, passes as it came.
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
"""Name -> its path here, and those where Whatomate puts it; below the base path."""

UNSEEN: Final = ((REFRESH, b"/api/auth/refresh"),)
"""What no request to the gateway's sign-in endpoints shows, but to the one that refreshes."""

MOST_DOMAINS: Final = 5
"""Domains of a host that are thought of: the host's own, and its shortest parents."""

_NAME: Final = re.compile(rb"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])?")
_LONGEST_NAME: Final = 253
_LIFE: Final = frozenset({b"max-age", b"expires"})
_SET_COOKIE: Final = b"set-cookie"


class CookiePlaces:
    """The places under one configuration."""

    def __init__(self, *, secure: bool, domain: str | None, base_path: str = "") -> None:
        """Ours are for `domain` and all below it, or for one host where it is None; and below `base_path`."""
        base = base_path.encode("ascii")
        self._secure = b"; Secure" if secure else b""
        self._domain = None if domain is None else domain.encode("ascii")
        self._paths = {name: tuple(base + path for path in paths) for name, paths in PATHS.items()}
        self._unseen = tuple((name, base + path) for name, path in UNSEEN)
        if base:  # the only path outside it that is seen below it
            self._paths[CSRF] += (b"/",)

    def put(self, name: bytes, value: bytes, life: bytes) -> bytes:
        """Return the value of the Set-Cookie line that puts a cookie into our place.

        Args:
            name: One of ours.
            value: Its value; empty to clear it.
            life: Its ``Max-Age`` and ``Expires``, each after ``"; "``; empty for as long as the browser runs.
        """
        scripts = b"" if name == CSRF else b"; HttpOnly"
        domain = b"" if self._domain is None else b"; Domain=%b" % self._domain
        path = self._paths[name][0]
        return b"%b=%b; Path=%b%b%b%b%b; SameSite=Lax" % (
            *(name, value, path, scripts),
            *(life, domain, self._secure),
        )

    def expire(self, host: bytes, names: Iterable[bytes] = tuple(PATHS)) -> list[bytes]:
        """Return the values of the Set-Cookie lines that expire cookies of `names` in every place but ours.

        Args:
            host: The host that the client asked for, as it came.
            names: Some of ours.
        """
        return self._expire(host, [(name, path) for name in names for path in self._paths[name]])

    def expire_unseen(self, host: bytes) -> list[bytes]:
        """Return the same for the places that no request but the refreshing one shows."""
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
        """Return an upstream's field lines with its cookies of our names in our places, and the other places expired.

        Of one name, lines that clear it count only where no line sets it: those were meant for other places.

        Returns:
            None where there are none of our names.
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
    """Return the domains for which a cookie of this host may have been set, its own name first; none of an address.

    The last label alone is none: no setting takes it. Others that no cookie may be set for (``co.uk``) browsers ignore.
    """
    name = host.lower().partition(b":")[0]
    if len(name) > _LONGEST_NAME or _NAME.fullmatch(name) is None:
        return ()
    labels = name.split(b".")
    domains = [b".".join(labels[at:]) for at in range(len(labels) - 1)]
    return (*domains[:1], *domains[1:][-(MOST_DOMAINS - 1) :])


def _read(line: Line) -> tuple[bytes, bytes, bytes] | None:
    """Return name, value and lifetime of a cookie of ours, read as browsers do (RFC 6265 section 5.2)."""
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
