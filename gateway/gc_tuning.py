"""Garbage-collector settings for a large, long-lived, mostly acyclic heap.

With the defaults (a young collection per 700 objects, a full one per 70,000) the collector scans long-lived objects
again and again: connections, routes, cached principals. At 256 connections that was a sixth of a request's CPU.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 10_000
"""Net allocations between two young collections; a burst of requests in flight stays below this number."""
MIDDLE: Final = 20
OLD: Final = 50


def settle() -> None:
    """Exempt all present objects, which live until the end, and collect the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
