"""Reader of the gateway's own cookies in a Cookie header: it finds them and takes them out (RFC 6265bis).

Laws:

- A cookie ends at ``;`` only. Quotes, commas and ``$Version`` have no meaning, as they have none to browsers.
- Only the exact name is read. A cookie that a careless server could take for one of ours (another case or separator,
  escapes, a stray ``=``) is neither read nor passed on.
- A Cookie header does not say where a cookie was set (RFC 6265 section 5.4). So several of one name are all candidates,
  in their order, and the code that uses them decides by proof which one counts. An empty cookie counts as absent, equal
  ones count as one.
- All other cookies pass unchanged, byte by byte and in order.
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
"""Most cookies of one request; browsers keep fewer of one site (RFC 6265bis section 5.6 asks for 50)."""

MOST_TWINS: Final = 16
"""Most different values of one name; ``gateway/cookie_places.py`` has fewer places for each name."""

_OURS: Final = re.compile(rb"whm[^A-Za-z0-9](access|refresh|csrf)", re.IGNORECASE)
_STRAY: Final = b' \t\r\n\v\f"'
"""Characters that a careless parser takes off either end of a name, in any order."""


class OurCookies:
    """The gateway's cookies of one request."""

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
        """Return the different non-empty values of one of our names, in the order of the header.

        Raises:
            CredentialAmbiguous: there are more than ``MOST_TWINS``.
        """
        values = self.unbounded(name)
        if len(values) > MOST_TWINS:
            raise CredentialAmbiguous
        return values

    def unbounded(self, name: bytes) -> tuple[bytes, ...]:
        """Return the same values, however many there are; at most ``MOST``."""
        value = self._values.get(name)
        return (value, *self._others.get(name, ())) if value else ()

    def __bool__(self) -> bool:
        """Return whether the request has any cookie of ours, even an empty one."""
        return bool(self._values)

    def __repr__(self) -> str:
        return f"OurCookies({', '.join(name.decode() for name in self._values)})"


NO_COOKIES: Final = OurCookies()


def without_ours(line: bytes) -> bytes | None:
    """Return the value of a Cookie line without our cookies; None if no cookie is left."""
    pairs = line.split(b";")
    others = [pair for pair in pairs if _meant(pair) is None]
    if len(others) == len(pairs):
        return line
    return b";".join(others).strip(b" \t") or None


def _meant(pair: bytes) -> bytes | None:
    """Return which of our names the most careless parser finds in a cookie; None if it finds none."""
    name = pair.lstrip(_STRAY + b"=").partition(b"=")[0]
    if b"%" in name:
        name = unquote_to_bytes(name)
    match = _OURS.fullmatch(name.strip(_STRAY))
    return None if match is None else b"whm_" + match[1].lower()
