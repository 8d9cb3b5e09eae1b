"""The load generator of constant rate: a stop of the proxy counts for every request that was due meanwhile."""

from __future__ import annotations

import math
import shutil
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from bench.constant_rate import percentile, request_bytes, run
from tests.support.programs import lacking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REQUEST = request_bytes("/things", {"X-API-Key": "k"})
needs_a_compiler = pytest.mark.usefixtures("compiler")


@pytest.fixture
def compiler() -> None:
    """Skip for want of a C compiler: the generator is written in C."""
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        lacking("a C compiler is not installed")


@contextmanager
def proxy(answer: Callable[[socket.socket, int], None]) -> Iterator[int]:
    """Serve connections, a thread each; `answer` is called with the socket and the number of the request on it."""

    def serve(line: socket.socket) -> None:
        with line, suppress(ConnectionError):  # a generator that gives up resets
            line.settimeout(10)
            number, received = 0, b""
            while more := line.recv(4096):
                received += more
                while REQUEST in received:
                    received = received.replace(REQUEST, b"", 1)
                    answer(line, number)
                    number += 1

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        threads = []

        def accept() -> None:
            while True:
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=serve, args=(line,), daemon=True))
                threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        accepting.join(10)
        for thread in threads:
            thread.join(10)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    thousand = [float(number) for number in range(1, 1001)]
    assert percentile(thousand, 0.5) == 500
    assert percentile(thousand, 0.99) == 990
    assert percentile(thousand, 0.999) == 999
    assert percentile(thousand, 1.0) == 1000
    assert percentile([7.0], 0.001) == 7
    assert math.isnan(percentile([], 0.5))


@needs_a_compiler
def test_every_request_is_sent_and_counted() -> None:
    with proxy(lambda line, _: line.sendall(OK)) as port:
        found = run(port, rate=400, seconds=0.25, connections=4, request=REQUEST)
    assert (found.requests, found.errors, found.rate) == (100, 0, 400)
    assert 0 < found.p50 <= found.p99 <= found.p999 <= found.longest


@needs_a_compiler
def test_a_stop_counts_for_every_request_that_was_due_meanwhile() -> None:
    def stop_once(line: socket.socket, number: int) -> None:
        if number == 10:
            time.sleep(1.6)
        line.sendall(OK)

    with proxy(stop_once) as port:
        found = run(port, rate=100, seconds=2, connections=1, request=REQUEST)
    assert found.requests == 200
    # 160 of the 200 were due while nothing was answered. A generator that waits for answers would have seen one.
    assert found.longest >= 1.6
    assert found.late >= 1.2
    assert found.own < found.late / 2, "whom the generator waits for is not its own doing"
    assert found.p99 >= 1.2


@needs_a_compiler
def test_an_answer_in_parts_counts_once_and_an_error_counts_as_one() -> None:
    def answer(line: socket.socket, number: int) -> None:
        if number % 2:
            line.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        else:
            for part in (OK[:9], OK[9:-1], OK[-1:]):
                line.sendall(part)
                time.sleep(0.001)

    with proxy(answer) as port:
        found = run(port, rate=200, seconds=0.2, connections=1, request=REQUEST)
    assert (found.requests, found.errors) == (40, 20)


@needs_a_compiler
def test_a_connection_that_ends_fails_the_run() -> None:
    with (
        proxy(lambda line, _: line.shutdown(socket.SHUT_RDWR)) as port,
        pytest.raises(ConnectionError, match="closed a connection"),
    ):
        run(port, rate=100, seconds=0.1, connections=1, request=REQUEST)


@needs_a_compiler
@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "without Content-Length"),
        (OK + OK, "more was received"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n", "larger than"),
        (b"HTTP/1.1 200 OK\r\nX: " + 70000 * b"x", "larger than"),
    ],
)
def test_an_answer_that_it_cannot_time_fails_the_run(answer: bytes, complaint: str) -> None:
    with (
        proxy(lambda line, _: line.sendall(answer)) as port,
        pytest.raises(RuntimeError, match=complaint),
    ):
        run(port, rate=100, seconds=0.1, connections=1, request=REQUEST)


@needs_a_compiler
def test_a_proxy_that_answers_nothing_fails_the_run_by_name() -> None:
    with proxy(lambda _line, _number: None) as port, pytest.raises(TimeoutError, match="0 of 10 requests"):
        run(port, rate=100, seconds=0.1, connections=1, request=REQUEST)
