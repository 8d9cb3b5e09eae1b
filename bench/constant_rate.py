"""Open-loop load generator: it sends requests at a constant rate, and times each from the moment it was due.

wrk sends a request when the one before it has been answered, so a proxy that stops for a second is sent nothing
meanwhile, and its stop is one slow request among thousands. Here a request is due at its place in the schedule,
whatever became of the others: one that finds no connection free is sent late, and its wait counts.

Usage: ``python -m bench.constant_rate PORT RATE SECONDS CONNECTIONS < REQUEST`` prints a line of JSON.
"""

from __future__ import annotations

import ctypes
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
_SET_TIMER_SLACK: Final = 29
"""Of Linux's <sys/prctl.h>; in nanoseconds."""


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
        late: The 99th percentile of how late a request was sent, waits for a connection included.
        own: The same, from the moment at which a connection was free: what the generator itself was late by.
    """

    rate: float
    requests: int
    errors: int
    p50: float
    p99: float
    p999: float
    longest: float
    late: float
    own: float


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

    __slots__ = ("_received", "due", "known", "recv", "send", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LATE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.recv, self.send = self.socket.recv, self.socket.send
        self.due = 0.0
        self.known = b""
        self._received = b""

    def read(self, received: bytes) -> int:
        """Take received bytes that are not the `known` answer; return the answer's status if it is whole, else 0.

        Raises:
            ConnectionError: the connection has ended.
        """
        if not received:
            raise ConnectionError("the proxy closed a connection in the middle of the run")
        received = self._received = self._received + received
        head, end, body = received.partition(HEAD_END)
        if not end:
            self.known = b""  # the rest is no whole answer, whatever it looks like
            return 0
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            self.known = b""
            return 0
        self._received = b""
        status = int(head[9:12])
        if status == 200:  # noqa: PLR2004 -- OK
            self.known = received
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
        self.latencies = array("d")
        self.lateness = array("d")
        self.own = array("d")
        self.errors = 0

    def run(self) -> None:
        """Send and receive all requests. One function, whose names are local: each step is one of few microseconds.

        Raises:
            TimeoutError: the answers did not come in time.
        """
        clock, poll, free, lines = time.monotonic, self._poll.poll, self._free, self._lines
        request, interval, total = self._request, self._interval, self._total
        latency, late, own = self.latencies.append, self.lateness.append, self.own.append
        sent = answered = 0
        waited, since = False, 0.0  # no connection was free; since when there has been one
        due = began = clock()
        last = began + interval * total + LATE_SECONDS
        while answered < total:
            while sent < total and (now := clock()) >= due:
                if not free:
                    waited = True
                    break
                line = free.popleft()
                line.due = due
                line.send(request)
                late(now - due)
                own(now - max(due, since))
                sent += 1
                due = began + sent * interval
            ready = poll(0)
            for number, _ in ready:
                line = lines[number]
                received = line.recv(4096)
                if received != line.known or not received:
                    status = line.read(received)
                    if not status:
                        continue
                    self.errors += status != 200  # noqa: PLR2004 -- OK
                latency(clock() - line.due)
                answered += 1
                free.append(line)
            if waited and free:
                waited, since = False, clock()
            if not ready:
                now = clock()
                if now > last:
                    raise TimeoutError(f"{answered} of {total} requests were answered in time")
                # epoll's own timeout counts milliseconds; select's, microseconds.
                select.select([self._poll], [], [], max(due - now, 0.0) if free and sent < total else 0.1)


def wake_on_time() -> None:
    """Have the kernel wake this process when its time has come: by default it may be 50 us late (prctl)."""
    ctypes.CDLL(None).prctl(_SET_TIMER_SLACK, 1, 0, 0, 0)


def generate(port: int, rate: float, seconds: float, connections: int, request: bytes) -> Steady:
    """Send `request` to 127.0.0.1:`port` at `rate` a second for `seconds`, over so many `connections`."""
    lines = [Line(port) for _ in range(connections)]
    wake_on_time()
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
        own=percentile(sorted(generator.own), 0.99),
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
