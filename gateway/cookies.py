"""The gateway's own cookies in a Cookie header: found, told apart from all others, and taken out (RFC 6265bis).

Laws:

- A cookie ends at ``;`` and at nothing else: quotes, commas and ``$Version`` mean nothing, as they mean nothing to
  browsers.
- Only the exact name is read. What a careless server might take for one of ours (other case or separator, escapes, a
  stray ``=``) is neither read nor passed on.
- A Cookie header does not say where a cookie was set (RFC 6265 section 5.4), so several of one name are all
  candidates, in their order. Which of them counts is decided by proof, where they are used. An empty one is none, equal
  ones are one.
- All other cookies stay as they came, byte by byte and in order.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from authcore.errors import CredentialAmbiguous
from gateway.faults import TooManyCookies

if TYPE_CHECKING:
    from collections.abc import Iterable

ACCESS: Final = b"whm_access"
REFRESH: Final = b"whm_refresh"
CSRF: Final = b"whm_csrf"

MOST: Final = 200
"""Cookies of one request; browsers keep fewer of one site (RFC 6265bis section 5.6 asks for 50)."""

MOST_TWINS: Final = 16
"""Different values of one name that are looked at; ``gateway/cookie_places.py`` knows fewer places for any."""

_OURS: Final = re.compile(rb"whm[^A-Za-z0-9](access|refresh|csrf)", re.IGNORECASE)
_STRAY: Final = b' \t\r\n\v\f"'
"""What a careless reader takes off a name, at either end and in any order."""


class OurCookies:
    """What a request holds of the gateway's cookies."""

    __slots__ = ("_others", "_values")

    def __init__(self, lines: Iterable[bytes] = ()) -> None:
        """Read the values of a request's Cookie lines.

        Raises:
            TooManyCookies: there are more than any browser keeps.
        """
        self._values: dict[bytes, bytes] = {}
        self._others: dict[bytes, list[bytes]] = {}
        number = 0
        for line in lines:
            number += line.count(b";") + 1
            if number > MOST:
                raise TooManyCookies(f"More than {MOST} cookies")
            for pair in line.split(b";"):
                meant = _meant(pair)
                if meant is None:
                    continue
                name, _, value = pair.strip(b" \t").partition(b"=")
                if name == meant:
                    self._add(name, value)

    def _add(self, name: bytes, value: bytes) -> None:
        known = self._values.get(name)
        if not known:
            self._values[name] = value
        elif value and value != known:
            others = self._others.setdefault(name, [])
            if value not in others:
                others.append(value)

    def every(self, name: bytes) -> tuple[bytes, ...]:
        """Return the different values that one of our names has, in the order of the header; empty ones are none.

        Raises:
            CredentialAmbiguous: there are more than ``MOST_TWINS``.
        """
        value = self._values.get(name)
        if not value:
            return ()
        others = self._others.get(name, ())
        if len(others) >= MOST_TWINS:
            raise CredentialAmbiguous
        return (value, *others)

    def __bool__(self) -> bool:
        """Whether the browser has any cookie of ours here, be it empty."""
        return bool(self._values)

    def __repr__(self) -> str:
        return f"OurCookies({', '.join(name.decode() for name in self._values)})"


NO_COOKIES: Final = OurCookies()


def without_ours(line: bytes) -> bytes | None:
    """Return the value of a Cookie line without our cookies; None when that leaves nothing."""
    pairs = line.split(b";")
    others = [pair for pair in pairs if _meant(pair) is None]
    if len(others) == len(pairs):
        return line
    return b";".join(others).strip(b" \t") or None


def _meant(pair: bytes) -> bytes | None:
    """Return which of our names a cookie has, to the most careless reader; None for all others."""
    name = pair.lstrip(_STRAY + b"=").partition(b"=")[0]
    if b"%" in name:
        name = unquote_to_bytes(name)
    match = _OURS.fullmatch(name.strip(_STRAY))
    return None if match is None else b"whm_" + match[1].lower()
