"""Open-loop load generator: it sends requests at a constant rate, and times each from the moment it was due.

wrk sends a request when the one before it has been answered, so a proxy that stops for a second is sent nothing
meanwhile, and its stop is one slow request among thousands. Here a request is due at its place in the schedule,
whatever became of the others: one that finds no connection free is sent late, and its wait counts.

Usage: ``python -m bench.constant_rate PORT RATE SECONDS CONNECTIONS < REQUEST`` prints a line of JSON.
"""

from __future__ import annotations

import gc
import json
import math
import select
import socket
import subprocess
import sys
import time
from array import array
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bench.machine import LOAD, pinned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LATE_SECONDS: Final = 10.0
"""How long after its schedule a run is given up."""
HEAD_END: Final = b"\r\n\r\n"


@dataclass(frozen=True)
class Steady:
    """One run at a constant rate; times in seconds, from the moment at which a request was due.

    Attributes:
        rate: The rate of the schedule.
        requests: The requests that were answered.
        errors: Those among them whose status was not 200.
        p50: The median.
        p99: The 99th percentile.
        p999: The 99.9th percentile.
        longest: The longest time.
        late: The 99th percentile of how late a request was sent: the generator's own part, and waits for a connection.
    """

    rate: float
    requests: int
    errors: int
    p50: float
    p99: float
    p999: float
    longest: float
    late: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the `ordered` values that `share` of them do not exceed; NaN if there are none."""
    if not ordered:
        return math.nan
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


class Line:
    """Persistent connection of the generator, on which one request at a time is under way.

    Attributes:
        socket: The socket.
        due: When the request under way was due.
    """

    __slots__ = ("_known", "_received", "due", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LATE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._received = b""
        self._known = b""

    def read(self) -> int:
        """Read, and return the answer's status if it is whole; 0 if more must come.

        Raises:
            ConnectionError: the connection has ended.
        """
        bytes_read = self.socket.recv(4096)
        if not bytes_read:
            raise ConnectionError("the proxy closed a connection in the middle of the run")
        if bytes_read == self._known and not self._received:
            return 200
        received = self._received = self._received + bytes_read
        head, end, body = received.partition(HEAD_END)
        if not end:
            return 0
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return 0
        self._received = b""
        status = int(head[9:12])
        if status == 200:  # noqa: PLR2004 -- OK
            self._known = received
        return status


class Generator:
    """Run at a constant rate: `total` requests, one each `interval` seconds, over the given connections."""

    def __init__(self, lines: Sequence[Line], request: bytes, interval: float, total: int) -> None:
        self._request = request
        self._interval = interval
        self._total = total
        self._free = deque(lines)
        self._lines = {line.socket.fileno(): line for line in lines}
        self._poll = select.epoll()
        for line in lines:
            self._poll.register(line.socket, select.EPOLLIN)
        self._sent = 0
        self._due = 0.0
        self.latencies = array("d")
        self.lateness = array("d")
        self.errors = 0

    def run(self) -> None:
        """Send and receive all requests.

        Raises:
            TimeoutError: the answers did not come in time.
        """
        began = self._due = time.monotonic()
        last = began + self._interval * self._total + LATE_SECONDS
        while len(self.latencies) < self._total:
            self._send(began)
            if ready := self._poll.poll(0):
                self._receive(ready)
                continue
            now = time.monotonic()
            if now > last:
                raise TimeoutError(f"{len(self.latencies)} of {self._total} requests were answered in time")
            waiting = self._free and self._sent < self._total
            # epoll's own timeout counts milliseconds; select's, microseconds.
            select.select([self._poll], [], [], max(self._due - now, 0.0) if waiting else 0.1)

    def _send(self, began: float) -> None:
        free = self._free
        while free and self._sent < self._total:
            now = time.monotonic()
            if self._due > now:
                return
            line = free.popleft()
            line.due = self._due
            line.socket.send(self._request)
            self.lateness.append(now - self._due)
            self._sent += 1
            self._due = began + self._sent * self._interval

    def _receive(self, ready: Sequence[tuple[int, int]]) -> None:
        for number, _ in ready:
            line = self._lines[number]
            status = line.read()
            if status:
                self.latencies.append(time.monotonic() - line.due)
                self.errors += status != 200  # noqa: PLR2004 -- OK
                self._free.append(line)


def generate(port: int, rate: float, seconds: float, connections: int, request: bytes) -> Steady:
    """Send `request` to 127.0.0.1:`port` at `rate` a second for `seconds`, over so many `connections`."""
    lines = [Line(port) for _ in range(connections)]
    generator = Generator(lines, request, 1 / rate, max(round(rate * seconds), 1))
    gc.collect()
    gc.disable()  # nothing here makes cycles, and a collection would be a pause in the schedule
    try:
        generator.run()
    finally:
        gc.enable()
        for line in lines:
            line.socket.close()
    times, late = sorted(generator.latencies), sorted(generator.lateness)
    return Steady(
        rate=rate,
        requests=len(times),
        errors=generator.errors,
        p50=percentile(times, 0.5),
        p99=percentile(times, 0.99),
        p999=percentile(times, 0.999),
        longest=times[-1],
        late=percentile(late, 0.99),
    )


def request_bytes(path: str, headers: Mapping[str, str]) -> bytes:
    """Return the bytes of a GET."""
    lines = [f"{name}: {value}\r\n" for name, value in {"Host": "127.0.0.1", **headers}.items()]
    return f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


def run(  # noqa: PLR0913 -- the parts of one run
    port: int,
    rate: float,
    seconds: float,
    connections: int,
    request: bytes,
    *,
    core: int | None = LOAD,
) -> Steady:
    """Run :func:`generate` in a process of its own, on one core."""
    arguments = [str(one) for one in (port, rate, seconds, connections)]
    done = subprocess.run(  # noqa: S603 -- this module, on loopback
        [*pinned(core), sys.executable, "-m", "bench.constant_rate", *arguments],
        input=request,
        stdout=subprocess.PIPE,
        check=True,
        timeout=seconds + 6 * LATE_SECONDS,
    )
    return Steady(**json.loads(done.stdout))


if __name__ == "__main__":
    _port, _rate, _seconds, _connections = sys.argv[1:]
    found = generate(int(_port), float(_rate), float(_seconds), int(_connections), sys.stdin.buffer.read())
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
