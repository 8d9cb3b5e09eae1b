"""Header edits: field lines that a route sets or adds for its upstream.

Laws:

- The names are checked when the route file is read (``config/route_checks.py``): none of them is managed, frames a
  message, or carries a credential.
- A route that strips a prefix sends it in X-Forwarded-Prefix. The upstream needs it to make redirects and links to
  paths that the gateway has a route for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from gateway.proxy.headers import fold

if TYPE_CHECKING:
    from collections.abc import Mapping

_IN_PATHS: Final = "/!$&'()*+,=:@~"
"""Characters of a path that are not percent-encoded (RFC 3986 section 3.3), beside letters, digits and ``-._``."""


@dataclass(frozen=True, slots=True, eq=False)
class HeaderEdits:
    """Header edits: changes to the field lines of a request.

    Attributes:
        replaced: Folded names whose lines by the client are removed, in any spelling.
        lines: The lines to add, each ending in CRLF.
        names: The names of these lines in lower case, without X-Forwarded-Prefix: their values may be secret.
    """

    replaced: frozenset[bytes]
    lines: bytes
    names: frozenset[str]

    @classmethod
    def of(
        cls, replaced: Mapping[str, str], added: Mapping[str, str], stripped: str | None = None
    ) -> HeaderEdits | None:
        """Compile what `replaced` sets and `added` adds to the client's lines, and the prefix that is `stripped`.

        None if all three are empty.
        """
        if not replaced and not added and stripped is None:
            return None
        lines = [f"{name}: {value}\r\n".encode() for name, value in (*replaced.items(), *added.items())]
        if stripped is not None:
            lines.append(f"X-Forwarded-Prefix: {quote(stripped, safe=_IN_PATHS)}\r\n".encode())
        names = frozenset(name.lower() for name in (*replaced, *added))
        return cls(frozenset(fold(name.encode("ascii")) for name in replaced), b"".join(lines), names)
