"""Max-Forwards: the number of proxies that an OPTIONS request may still pass (RFC 9110 section 7.6.2).

Laws:

- An OPTIONS request that may pass none more is answered by the gateway, and reaches no upstream.
- The number is forwarded less one, whatever the method: what is not an OPTIONS request may be treated alike.
- A value that is no number says nothing, and is forwarded as it came.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.wire.messages import RequestHead

FIELD: Final = b"max-forwards"
_ZERO: Final = re.compile(rb"0+")
_LINE: Final = re.compile(rb"(?<![^\n])(max-forwards: )([0-9]{1,18})(?=\r\n)", re.IGNORECASE)
"""The field's line in field lines as they are forwarded."""


def asks_gateway(head: RequestHead, path: str) -> bool:
    """Return whether a request is one of OPTIONS to the gateway itself: for ``*``, or with no further proxy to pass."""
    return head.method == b"OPTIONS" and (
        path == "*" or _ZERO.fullmatch(head.first.get(FIELD, b"")) is not None
    )


def counted_down(lines: bytes) -> bytes:
    """Return field lines with the number less one; 0 stays."""
    return _LINE.sub(lambda line: b"%b%d" % (line[1], max(int(line[2]) - 1, 0)), lines)
