"""WebSocket echo: an upstream that sends every message back, and clients that send one whenever one has come back.

Both are made to cost less than what is between them. The upstream remembers the answer to the bytes it has just read,
as the clients send the same bytes again and again; other bytes it parses and unmasks.

Usage: ``python -m bench.socket_echo serve PORT`` or
``python -m bench.socket_echo load PORT SECONDS CONNECTIONS SIZE < REQUEST``, which prints a line of JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import select
import socket
import subprocess
import sys
import time
from array import array
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench.connection import HEAD_END
from bench.constant_rate import percentile
from bench.machine import LOAD, pinned

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = re.compile(rb"^sec-websocket-key: *(\S+)", re.IGNORECASE | re.MULTILINE)
_BINARY: Final = 0x82
_MASKED: Final = 0x80
_HEADER: Final = 6
"""Length of a short frame's header, with its mask."""
WAIT_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Echoed:
    """One run of the clients; times in seconds.

    Attributes:
        messages: Messages that came back.
        rate: The same, a second.
        p50: Median from sending a message to receiving it.
        p99: The 99th percentile.
        errors: Messages that came back changed.
    """

    messages: int
    rate: float
    p50: float
    p99: float
    errors: int


def frame(message: bytes, mask: bytes) -> bytes:
    """Return a client's frame with a `message` of at most 125 bytes (RFC 6455 section 5.2)."""
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(message))
    return bytes((_BINARY, _MASKED | len(message))) + mask + masked


def echo(frames: bytes) -> tuple[bytes, bytes]:
    """Return the server's frames for the client's whole frames in the bytes, and the unfinished rest of the bytes."""
    answers = b""
    while len(frames) >= _HEADER and len(frames) >= (end := _HEADER + (frames[1] & ~_MASKED)):
        mask, masked = frames[2:_HEADER], frames[_HEADER:end]
        message = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
        answers += bytes((frames[0], len(message))) + message
        frames = frames[end:]
    return answers, frames


def accepting(head: bytes) -> bytes:
    """Return the answer to the opening handshake `head` (RFC 6455 section 4.2.2).

    Raises:
        ValueError: it has no key.
    """
    key = _KEY.search(head)
    if key is None:
        raise ValueError(f"the handshake has no Sec-WebSocket-Key: {head[:200]!r}")
    digest = hashlib.sha1(key[1] + _MAGIC, usedforsecurity=False).digest()
    lines = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
    return lines + base64.b64encode(digest) + HEAD_END


def serve(port: int) -> None:
    """Serve the echo until the process is ended."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    open_now: dict[int, socket.socket] = {}
    unfinished: dict[int, bytes | None] = {}
    """The start of a frame, by connection; None before the handshake."""
    answers: dict[bytes, bytes] = {}
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                line, _ = listener.accept()
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                open_now[line.fileno()], unfinished[line.fileno()] = line, None
                poll.register(line, select.EPOLLIN)
                continue
            line, before = open_now[number], unfinished[number]
            try:
                received = line.recv(4096)
            except ConnectionError:
                received = b""
            if not received:
                del open_now[number], unfinished[number]
                line.close()
            elif before is None:
                line.send(accepting(received))
                unfinished[number] = b""
            elif not before and received in answers:
                line.send(answers[received])
            else:
                answer, unfinished[number] = echo(before + received)
                line.send(answer)
                if not before and not unfinished[number] and len(answers) < 4096:  # noqa: PLR2004 -- bounded
                    answers[received] = answer


def opening(path: str, headers: Mapping[str, str]) -> bytes:
    """Return the bytes of an opening handshake."""
    fields = {
        "Host": "127.0.0.1",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
        **headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()


def open_socket(port: int, request: bytes) -> socket.socket:
    """Open a WebSocket.

    Raises:
        ConnectionError: the answer is no 101.
    """
    line = socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.sendall(request)
    head = more = b""
    while not head.endswith(HEAD_END) and (more := line.recv(4096)):
        head += more
    if not more or not head.startswith(b"HTTP/1.1 101 "):
        line.close()
        raise ConnectionError(f"a WebSocket was not opened: {head[:200]!r}")
    return line


def load(port: int, seconds: float, connections: int, size: int, request: bytes) -> Echoed:
    """Send messages of `size` bytes over so many sockets for `seconds`, each when the one before has come back."""
    message = secrets.token_bytes(size)
    sent, expected = frame(message, secrets.token_bytes(4)), bytes((_BINARY, size)) + message
    lines = {line.fileno(): line for line in (open_socket(port, request) for _ in range(connections))}
    poll = select.epoll()
    times = array("d")
    errors = 0
    began = time.monotonic()
    at = {}
    for number, line in lines.items():
        poll.register(line, select.EPOLLIN)
        at[number] = time.monotonic()
        line.send(sent)
    unfinished = dict.fromkeys(lines, b"")
    while (now := time.monotonic()) < began + seconds:
        ready = poll.poll(WAIT_SECONDS)
        if not ready:
            raise TimeoutError("no message came back")
        for number, _ in ready:
            received = unfinished[number] + lines[number].recv(4096)
            if len(received) < len(expected):
                if received == unfinished[number]:
                    raise ConnectionError("a WebSocket was closed")
                unfinished[number] = received
                continue
            unfinished[number] = b""
            errors += received != expected
            now = time.monotonic()
            times.append(now - at[number])
            at[number] = now
            lines[number].send(sent)
    for line in lines.values():
        line.close()
    ordered = sorted(times)
    rate = len(ordered) / (now - began)
    return Echoed(len(ordered), rate, percentile(ordered, 0.5), percentile(ordered, 0.99), errors)


def run(port: int, seconds: float, connections: int, size: int, request: bytes) -> Echoed:
    """Run :func:`load` in a process of its own, on the load's core."""
    arguments = [str(one) for one in (port, seconds, connections, size)]
    done = subprocess.run(  # noqa: S603 -- this module, on loopback
        [*pinned(LOAD), sys.executable, "-m", "bench.socket_echo", "load", *arguments],
        input=request,
        stdout=subprocess.PIPE,
        check=True,
        timeout=seconds + 6 * WAIT_SECONDS,
    )
    return Echoed(**json.loads(done.stdout))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", _port]:
            serve(int(_port))
        case ["load", _port, _seconds, _connections, _size]:
            _request = sys.stdin.buffer.read()
            _found = load(int(_port), float(_seconds), int(_connections), int(_size), _request)
            sys.stdout.write(json.dumps(asdict(_found)) + "\n")
        case _:
            sys.exit(__doc__)
