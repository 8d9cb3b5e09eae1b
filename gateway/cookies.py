"""The gateway's own cookies in a Cookie header: found, told apart from all others, and taken out (RFC 6265bis).

Laws:

- A cookie ends at ``;`` and at nothing else: quotes, commas and ``$Version`` mean nothing, as they mean nothing to
  browsers.
- Only the exact name is read. What a careless server might take for one of ours (other case or separator, escapes, a
  stray ``=``) is neither read nor passed on, and counts as a second cookie of that name.
- Two cookies of one name are none: a sibling host can set a cookie beside ours, and nobody can tell which is whose.
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

_OURS: Final = re.compile(rb"whm[^A-Za-z0-9](access|refresh|csrf)", re.IGNORECASE)
_STRAY: Final = b' \t\r\n\v\f"'
"""What a careless reader takes off a name, at either end and in any order."""


class OurCookies:
    """What a request holds of the gateway's cookies."""

    __slots__ = ("_doubled", "_values")

    def __init__(self, lines: Iterable[bytes] = ()) -> None:
        """Read the values of a request's Cookie lines.

        Raises:
            TooManyCookies: there are more than any browser keeps.
        """
        self._values: dict[bytes, bytes] = {}
        self._doubled: set[bytes] = set()
        seen: set[bytes] = set()
        number = 0
        for line in lines:
            number += line.count(b";") + 1
            if number > MOST:
                raise TooManyCookies(f"More than {MOST} cookies")
            for pair in line.split(b";"):
                meant = _meant(pair)
                if meant is None:
                    continue
                if meant in seen:
                    self._doubled.add(meant)
                seen.add(meant)
                name, _, value = pair.strip(b" \t").partition(b"=")
                if name == meant:
                    self._values[meant] = value

    def one(self, name: bytes) -> bytes | None:
        """Return the value of one of our cookies; None when it is not there, or empty.

        Raises:
            CredentialAmbiguous: there are two, in any spelling.
        """
        if name in self._doubled:
            raise CredentialAmbiguous
        return self._values.get(name) or None

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
