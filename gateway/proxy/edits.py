"""Field lines that a route sets or adds for its upstream.

Law: the names are judged when the route file is read; none of them is managed, decides about a message, or carries a
credential (``config/routes.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.proxy.headers import fold

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, eq=False)
class HeaderEdits:
    """Changes to the field lines of a request.

    Attributes:
        replaced: The client's lines of these names go, in any spelling; folded.
        lines: What is written, each line ending in CRLF.
    """

    replaced: frozenset[bytes]
    lines: bytes

    @classmethod
    def of(cls, put: Mapping[str, str], added: Mapping[str, str]) -> HeaderEdits | None:
        """Compile what is `put` in place of the client's lines and `added` to them; None when nothing is."""
        if not put and not added:
            return None
        lines = [f"{name}: {value}\r\n".encode() for name, value in (*put.items(), *added.items())]
        return cls(frozenset(fold(name.encode("ascii")) for name in put), b"".join(lines))
