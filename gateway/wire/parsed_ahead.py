"""Bounds on what a client connection parses ahead: pipelined requests that wait for the answer of the one before.

Laws:

- Parsing stops while more than ``MAX_AHEAD`` requests wait, or requests of more than ``MAX_AHEAD_BYTES``. What has been
  received beyond that is held as it came, and nothing more is read.
- One request alone is never too much: the limits on a head bound it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.wire.inbound import Inbound

MAX_AHEAD: Final = 16
MAX_AHEAD_BYTES: Final = 65_536
LINE_BYTES: Final = 160
"""Memory of a parsed field line besides its text: a tuple and two objects of bytes."""


def is_far_ahead(ready: list[Inbound]) -> bool:
    """Return whether enough requests are parsed, which are `ready` to be served."""
    if len(ready) > MAX_AHEAD:
        return True
    size = 0
    for inbound in ready:
        size += inbound.size + len(inbound.head.fields) * LINE_BYTES
    return size > MAX_AHEAD_BYTES
