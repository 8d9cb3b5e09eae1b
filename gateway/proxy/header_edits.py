"""Header edits: field lines that a route sets or adds for its upstream.

Law: the names are checked when the route file is read (``config/route_checks.py``): none of them is managed, frames a
message, or carries a credential.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.proxy.headers import fold

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, eq=False)
class HeaderEdits:
    """Header edits: changes to the field lines of a request.

    Attributes:
        replaced: Folded names whose lines by the client are removed, in any spelling.
        lines: The lines to add, each ending in CRLF.
        names: The names of all these lines, in lower case.
    """

    replaced: frozenset[bytes]
    lines: bytes
    names: frozenset[str]

    @classmethod
    def of(cls, replaced: Mapping[str, str], added: Mapping[str, str]) -> HeaderEdits | None:
        """Compile what `replaced` sets and `added` adds to the client's lines; None if both are empty."""
        if not replaced and not added:
            return None
        lines = [f"{name}: {value}\r\n".encode() for name, value in (*replaced.items(), *added.items())]
        names = frozenset(name.lower() for name in (*replaced, *added))
        return cls(frozenset(fold(name.encode("ascii")) for name in replaced), b"".join(lines), names)
