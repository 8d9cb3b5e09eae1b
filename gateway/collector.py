"""The cyclic collector, told what a gateway is like: much that stays, little that is garbage, hardly a cycle in it.

With the defaults (a young collection for each 700 objects, a full one for each 70,000) what is looked at over and over
is what stays: connections, routes, remembered identities. At 256 connections that was a sixth of a request's CPU.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 10_000
"""Objects made, less those freed, between two young collections; what a burst of requests has in flight stays below."""
MIDDLE: Final = 20
OLD: Final = 50


def settle() -> None:
    """Exempt what stands now, for it stands until the end; look at the rest more rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
