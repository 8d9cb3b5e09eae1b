"""HTTP-date clock: the present time as HTTP writes it (RFC 9110 section 5.6.7), formatted once a second."""

from __future__ import annotations

import time
from email.utils import formatdate

_memo = (0, b"")


def http_date() -> bytes:
    """Return the present as an HTTP-date."""
    global _memo  # noqa: PLW0603 -- a memo of one value, in the only thread that serves
    now = int(time.time())
    if _memo[0] != now:
        _memo = (now, formatdate(now, usegmt=True).encode("ascii"))
    return _memo[1]
