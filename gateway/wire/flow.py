"""Protocols of connections: the source of a body, its sink, a transport's owner, and a client connection.

The last is all that an exchange and the proxy see of the connection they serve. Laws of a source and a sink:

- A full sink calls ``source.pause()``, and ``source.resume()`` when it has room. This is the only backpressure, and it
  suffices.
- ``end`` is called once, after the last ``body``. After it, or after either connection is lost, nothing more is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio


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


class ClientConnection(Owner, Protocol):
    """Client connection, as the exchange that it serves sees it."""

    @property
    def peer(self) -> str:
        """The client's address as text; empty if the system does not know it."""

    @property
    def secured(self) -> bytes | None:
        """Field lines about the client certificate of a TLS connection, none without one; None without TLS."""

    @property
    def draining(self) -> bool:
        """True if connections are not kept alive any more."""

    def write(self, piece: bytes) -> None:
        """Write bytes of the answer."""

    def hasten(self, seconds: float) -> None:
        """Wait for no longer than `seconds` for the rest of the head that is being read."""

    def switch(self, head: bytes) -> asyncio.Transport:
        """Write the 101's `head`, and return the transport for a tunnel."""

    def regulate(self) -> None:
        """Pause or resume reading: what the exchange can take has changed."""

    def throw(self, error: BaseException) -> None:
        """Raise `error` in the exchange that is being served, if it waits."""
