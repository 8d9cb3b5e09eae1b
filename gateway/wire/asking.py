"""Client of a local socket: it sends one request of the gateway's own to another process, and reads the answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from authcore.pause_aware import PauseAwareTimeout
from gateway.wire.known_heads import KnownHeads
from gateway.wire.response_parser import ResponseParser

if TYPE_CHECKING:
    import socket


async def ask(
    connection: socket.socket, target: str, document: bytes | None = None, *, seconds: float
) -> tuple[int, bytes]:
    """Send GET, or POST with a JSON document, on a connection, and close it; return status and body.

    Raises:
        OSError: the server closed before its answer had ended; also TimeoutError after `seconds`.
        ProtocolError: its answer is malformed.
    """
    method = b"GET" if document is None else b"POST"
    lines = [b"%b %b HTTP/1.1" % (method, target.encode("ascii")), b"Host: localhost", b"Connection: close"]
    if document is not None:
        lines += [b"Content-Type: application/json", b"Content-Length: %d" % len(document)]
    async with PauseAwareTimeout(seconds):
        try:
            reader, writer = await asyncio.open_unix_connection(sock=connection)
        except BaseException:
            connection.close()
            raise
        try:
            writer.write(b"\r\n".join([*lines, b"", document or b""]))
            received = await reader.read()
        finally:
            writer.transport.abort()
    answer = ResponseParser(KnownHeads())
    answer.expect(method, upgrade=False)
    answer.feed(received)
    while answer.held:  # it stops after some chunks, so that a loop that serves others goes on
        answer.feed(b"")
    answer.ended_by_close()
    head = answer.final
    if head is None or not answer.complete:
        raise ConnectionResetError("the answer has no end")
    body = b"".join(answer.pieces)
    answer.close()
    return head.status, body
