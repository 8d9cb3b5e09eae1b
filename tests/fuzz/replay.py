"""Fuzzer's input: the bytes of one side, with ``0xff`` where the packets end."""

from __future__ import annotations

from tests.fuzz.sockets import first_bytes
from tests.fuzz.stage import Stage

ASK = b"GET /x HTTP/1.1\r\nHost: e\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def requests(raw: bytes) -> None:
    """Read the bytes as a client's, cut at each ``0xff``; let the upstream answer what reaches it."""
    stage = Stage()
    for piece in raw.split(b"\xff"):
        stage.client_sends(piece)
        stage.upstream_sends(OK)
    stage.end()


def responses(raw: bytes) -> None:
    """Read the bytes as an upstream's, cut in the same way, twice over: the second time what repeats is known."""
    stage = Stage()
    for _ in range(2):
        stage.client_sends(ASK)
        for piece in raw.split(b"\xff"):
            stage.upstream_sends(piece)
        stage.upstream_closes()
        stage.settle()
    stage.end()


def sockets(raw: bytes) -> None:
    """Read the bytes as what a WebSocket's client sends first, cut in the same way."""
    first_bytes(raw.split(b"\xff"))


TARGETS = {"requests": requests, "responses": responses, "sockets": sockets}
