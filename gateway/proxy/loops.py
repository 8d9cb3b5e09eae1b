"""Loop mark: a field line on every forwarded request, by which a request that comes back is known (RFC 8586)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.wire.messages import RequestHead

_FIELD: Final = b"cdn-loop"


class LoopMark:
    """Mark of one gateway.

    Attributes:
        line: The field line, with its line end.
    """

    def __init__(self) -> None:
        """Make a mark that no other process has."""
        self._mark = b"whatomate-gateway; id=%b" % secrets.token_hex(8).encode("ascii")
        self.line = b"CDN-Loop: %b\r\n" % self._mark

    def is_on(self, head: RequestHead) -> bool:
        """Return whether this gateway forwarded a request before."""
        return _FIELD in head.first and any(self._mark in line for line in head.every(_FIELD))
