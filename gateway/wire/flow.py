"""Protocols of connections: the source of a body, its sink, and a transport's owner.

Laws of a source and a sink:

- A full sink calls ``source.pause()``, and ``source.resume()`` when it has room. This is the only backpressure, and it
  suffices.
- ``end`` is called once, after the last ``body``. After it, or after either connection is lost, nothing more is called.
"""

from __future__ import annotations

from typing import Protocol


class Source(Protocol):
    """Side that a body is read from."""

    def pause(self) -> None:
        """Stop reading until ``resume``."""

    def resume(self) -> None:
        """Continue reading."""


class Sink(Protocol):
    """Side that a body is written to."""

    def body(self, piece: bytes) -> None:
        """Write a non-empty piece, framed as the head announced."""

    def end(self) -> None:
        """Write the end of the body."""


class Owner(Protocol):
    """Connection that owns a transport, or owned it before a tunnel did."""

    @property
    def full(self) -> bool:
        """True if the transport's write buffer is full."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle the loss of the transport."""
