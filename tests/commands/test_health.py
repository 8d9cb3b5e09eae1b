"""health: the probe of machines that have no curl."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

from tests.support.commands import Run, refused
from tests.support.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def admin(status: int) -> Iterator[tuple[int, list[str]]]:
    asked: list[str] = []

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"what it says")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_health_asks_where_the_gateway_listens(run: Run) -> None:
    with admin(200) as (port, asked):
        for host in ("127.0.0.1", "0.0.0.0", ""):  # noqa: S104 -- what an operator may have set
            assert run("health", GATEWAY_ADMIN_LISTEN=f"{host}:{port}").stdout == "what it says\n"
        assert run("health", "--ready", GATEWAY_ADMIN_LISTEN=f":{port}").exit_code == 0
    assert asked == ["/livez", "/livez", "/livez", "/readyz"]


def test_health_fails_with_the_answer_when_that_is_no(run: Run) -> None:
    with admin(503) as (port, _):
        result = run("health", "--ready", GATEWAY_ADMIN_LISTEN=f"127.0.0.1:{port}")
    refused(result, 1, "/readyz answers 503: what it says")


def test_without_an_answer_it_says_what_to_look_at(run: Run) -> None:
    result = run("health", GATEWAY_ADMIN_LISTEN=f"127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert "is GATEWAY_ADMIN_LISTEN the same here as there?" in result.stderr
    assert "Traceback" not in result.output
