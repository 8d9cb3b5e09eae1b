"""Parser of the Retry-After field of a response (RFC 9110 section 10.2.3)."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.wire.messages import ResponseHead

_NAME: Final = b"retry-after"
_SECONDS: Final = re.compile(rb"[0-9]{1,9}")


def seconds_after(response: ResponseHead) -> float:
    """Return the seconds for which a response asks the client to wait; 0 if it asks for none, or not legibly."""
    longest = 0.0
    for name, value in response.fields:
        if name.lower() == _NAME:
            longest = max(longest, _seconds(value))
    return longest


def _seconds(value: bytes) -> float:
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        return parsedate_to_datetime(value.decode("ascii")).timestamp() - time.time()
    except (ValueError, OverflowError, TypeError, IndexError):
        return 0.0
