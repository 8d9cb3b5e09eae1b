"""Body stream protocols: the source that a body is read from, and the sink that it is written to.

Source and sink are connections. Laws:

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
