"""Event streams: an upstream that sends one event to all its streams, and clients that each hold a stream open.

An event has the moment of its sending in it, so a client knows how long it was under way: both clocks are the same.

Usage: ``python -m bench.event_streams serve PORT`` or
``python -m bench.event_streams load PORT UPSTREAM CLIENTS EVENTS``. The clients read their request from a line of
standard input, as a JSON string; they print a line when all streams are open, wait for another line, have the upstream
send the events one after the other, and print a line of JSON.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass
from typing import Final

from bench.connection import HEAD_END

PUBLISH: Final = b"PUBLISH"
"""What a client sends on a connection straight to the upstream to have an event sent."""
MARK: Final = b"data: "
WAIT_SECONDS: Final = 10.0
PAUSE_SECONDS: Final = 0.1
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_FILLING: Final = b'{"type":"new_message","text":"' + b"x" * 150 + b'"}'


@dataclass(frozen=True)
class Delivered:
    """One run; for each event, how long it was under way to the last client that it reached, in seconds.

    Attributes:
        last: The times.
        events: Events that reached a client, over all clients.
        lost: Those that did not.
    """

    last: list[float]
    events: int
    lost: int


def event(now: float) -> bytes:
    """Return an event that is sent `now`, as one chunk."""
    lines = MARK + f"{now:.6f} ".encode() + _FILLING + b"\n\n"
    return f"{len(lines):x}\r\n".encode() + lines + b"\r\n"


def serve(port: int) -> None:
    """Serve streams until the process is ended."""
    listener = socket.create_server(("127.0.0.1", port), backlog=8192)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    open_now: dict[int, socket.socket] = {}
    streams: dict[int, socket.socket] = {}
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                line, _ = listener.accept()
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                open_now[line.fileno()] = line
                poll.register(line, select.EPOLLIN)
                continue
            line = open_now[number]
            try:
                received = line.recv(4096)
            except ConnectionError:
                received = b""
            if not received:
                del open_now[number]
                streams.pop(number, None)
                line.close()
            elif received == PUBLISH:
                chunk = event(time.monotonic())
                for stream in streams.values():
                    stream.send(chunk)
            else:
                line.send(_HEAD)
                streams[number] = line


class Clients:
    """Clients, each with an open stream."""

    def __init__(self, port: int, clients: int, request: bytes) -> None:
        self._poll = select.epoll()
        self._lines: dict[int, socket.socket] = {}
        for _ in range(clients):
            line = socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)
            line.sendall(request)
            self._lines[line.fileno()] = line
        for line in self._lines.values():
            head = b""
            while HEAD_END not in head:
                more = line.recv(4096)
                if not more:
                    raise ConnectionError(f"a stream was not opened: {head[:200]!r}")
                head += more
            if not head.startswith(b"HTTP/1.1 200 "):
                raise ConnectionError(f"a stream was not opened: {head[:200]!r}")
            self._poll.register(line, select.EPOLLIN)

    def receive(self) -> tuple[float, int]:
        """Receive one event at each client; return the time to the last, and how many did not receive it."""
        missing = len(self._lines)
        longest = 0.0
        parts: dict[int, bytes] = {}
        while missing:
            ready = self._poll.poll(WAIT_SECONDS)
            if not ready:
                return longest, missing
            for number, _ in ready:
                received = parts.pop(number, b"") + self._lines[number].recv(4096)
                if not received:
                    raise ConnectionError("a stream ended")
                _, mark, rest = received.partition(MARK)
                if not mark or b"\n\n" not in rest:
                    parts[number] = received
                    continue
                sent = float(rest.partition(b" ")[0])
                longest = max(longest, time.monotonic() - sent)
                missing -= 1
        return longest, 0

    def drain(self) -> None:
        """Read what is left of an event's framing."""
        while ready := self._poll.poll(0):
            for number, _ in ready:
                if not self._lines[number].recv(4096):
                    raise ConnectionError("a stream ended")

    def close(self) -> None:
        """Close all streams."""
        for line in self._lines.values():
            line.close()


def load(port: int, upstream: int, clients: int, events: int, request: bytes) -> Delivered:
    """Hold so many streams open at `port`, and have `upstream` send so many events, each when the last has arrived."""
    streams = Clients(port, clients, request)
    sys.stdout.write("open\n")
    sys.stdout.flush()
    sys.stdin.readline()
    last, lost = [], 0
    with socket.create_connection(("127.0.0.1", upstream), timeout=WAIT_SECONDS) as publisher:
        for _ in range(events):
            publisher.sendall(PUBLISH)
            longest, missed = streams.receive()
            last.append(longest)
            lost += missed
            time.sleep(PAUSE_SECONDS)
            streams.drain()
    streams.close()
    return Delivered(last, clients * events - lost, lost)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", _port]:
            serve(int(_port))
        case ["load", _port, _upstream, _clients, _events]:
            _request = json.loads(sys.stdin.readline()).encode()
            _found = load(int(_port), int(_upstream), int(_clients), int(_events), _request)
            sys.stdout.write(json.dumps(asdict(_found)) + "\n")
        case _:
            sys.exit(__doc__)
