"""Stored request body: it passes a body on to the upstream, and keeps a small one for a repetition.

Law: it never holds more than its bound. What is larger passes by, and cannot be repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.wire.flow import Sink
    from gateway.wire.inbound import Inbound


class StoredBody:
    """Body of one request, a :class:`~gateway.wire.flow.Sink`.

    Attributes:
        whole: Everything that has passed is stored, so that it can be sent again.
    """

    __slots__ = ("_most", "_pieces", "_sink", "_size", "whole")

    def __init__(self, most: int) -> None:
        """`most` is the bound in bytes."""
        self._most = most
        self._pieces: list[bytes] = []
        self._size = 0
        self._sink: Sink | None = None
        self.whole = True

    def take(self, inbound: Inbound) -> list[bytes]:
        """Return what an attempt begins with: the stored pieces, and those that have arrived since."""
        before, arrived = self._pieces, inbound.take()
        pieces = [*before, *arrived]
        for piece in arrived:
            self._store(piece)
        return pieces

    def towards(self, sink: Sink) -> StoredBody:
        """Pass what follows on to `sink`."""
        self._sink = sink
        return self

    def body(self, piece: bytes) -> None:
        """Store a piece if there is room, and pass it on."""
        self._store(piece)
        if self._sink is not None:
            self._sink.body(piece)

    def end(self) -> None:
        """Pass the end on."""
        if self._sink is not None:
            self._sink.end()

    def _store(self, piece: bytes) -> None:
        if not self.whole:
            return
        self._size += len(piece)
        if self._size > self._most:
            self.whole = False
            self._pieces = []
        else:
            self._pieces.append(piece)
