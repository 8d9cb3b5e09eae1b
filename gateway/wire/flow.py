"""The two ends of a body in motion.

A body flows from a source (the connection it is read from) to a sink (the connection it is written to). Laws:

- A sink that is full says so by ``source.pause()``, and ``source.resume()`` when it has room: this is all the
  backpressure there is, and all there needs to be.
- ``end`` comes once, after the last ``body``; after it, or after either connection is lost, nothing more comes.
"""

from __future__ import annotations

from typing import Protocol


class Source(Protocol):
    """Where a body is read."""

    def pause(self) -> None:
        """Read no more until ``resume``."""

    def resume(self) -> None:
        """Read on."""


class Sink(Protocol):
    """Where a body is written."""

    def body(self, piece: bytes) -> None:
        """Write a non-empty piece, framed as the head that was sent promised."""

    def end(self) -> None:
        """Write what marks the end of the body."""
