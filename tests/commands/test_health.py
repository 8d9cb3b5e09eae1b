"""health: the probe of machines that have no curl."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.support.commands import Run, refused
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def admin(status: int, host: str = "127.0.0.1") -> Iterator[tuple[int, list[str]]]:
    asked: list[str] = []

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"what it says")

        def log_message(self, *_: object) -> None:
            pass

    class Server(HTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    server = Server((host, 0), Answering)
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


@pytest.mark.parametrize("host", ["[::]", "[::1]", "[0:0::0]"])
def test_health_asks_by_ipv6_where_the_gateway_listens_on_it_alone(run: Run, host: str) -> None:
    with admin(200, "::1") as (port, asked):
        assert run("health", GATEWAY_ADMIN_LISTEN=f"{host}:{port}").exit_code == 0
    assert asked == ["/livez"]


def test_health_asks_a_name_at_each_of_its_addresses(run: Run) -> None:
    with admin(200) as (port, asked):
        assert run("health", "--ready", GATEWAY_ADMIN_LISTEN=f"localhost:{port}").exit_code == 0
    assert asked == ["/readyz"]


@pytest.mark.parametrize("question", [("health",), ("health", "--ready")])
@pytest.mark.parametrize(
    "other",
    [
        {"GATEWAY_TLS_CERT_FILE": "half.pem", "GATEWAY_TLS_KEY_FILE": "half.pem"},
        {"GATEWAY_ADMIN_TLS_CERT_FILE": "half.pem"},
        {"GATEWAY_JWT_SECRET_FILE": "missing"},
        {"GATEWAY_JWT_SECRET_FILE": "empty"},
        {"GATEWAY_JWT_SECRET_FILE": "pipe"},
        {"GATEWAY_JWT_SECRET": "short"},
        {"GATEWAY_SECRETS_DIR": "secrets"},
        {"GATEWAY_SECRETS_DIR": "nowhere"},
        {"GATEWAY_NO_SETTING": "1"},
    ],
    ids=str,
)
def test_health_checks_no_setting_but_the_admin_listeners(
    run: Run, tmp_path: Path, question: tuple[str, ...], other: dict[str, str]
) -> None:
    (tmp_path / "half.pem").write_text("-----BEGIN CERTIFICATE-----")
    (tmp_path / "empty").touch()
    (tmp_path / "secrets").mkdir()
    for pipe in ("pipe", "secrets/GATEWAY_JWT_SECRET"):
        os.mkfifo(tmp_path / pipe)
    with admin(200) as (port, asked):
        result = run(*question, GATEWAY_ADMIN_LISTEN=f"127.0.0.1:{port}", **other)
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(asked) == 1


@pytest.mark.parametrize("place", ["file", ".env", "secrets", "a .env with a lost line"])
def test_health_reads_the_address_from_every_source_of_settings(run: Run, tmp_path: Path, place: str) -> None:
    (tmp_path / "secrets").mkdir()
    with admin(200) as (port, asked):
        address = f"127.0.0.1:{port}\n"
        environment = {}
        if place == "file":
            (tmp_path / "address").write_text(address)
            environment = {"GATEWAY_ADMIN_LISTEN_FILE": "address"}
        elif place == "secrets":
            (tmp_path / "secrets" / "gateway_admin_listen").write_text(address)
            environment = {"GATEWAY_SECRETS_DIR": "secrets"}
        else:
            lost = "" if place == ".env" else "what is this\n"
            (tmp_path / ".env").write_text(f"{lost}GATEWAY_ADMIN_LISTEN={address}")
        assert run("health", **environment).exit_code == 0
    assert asked == ["/livez"]


def test_health_names_an_invalid_admin_address(run: Run) -> None:
    result = run("health", GATEWAY_ADMIN_LISTEN="8081")
    refused(result, 2, "GATEWAY_ADMIN_LISTEN: should be host:port, such as 0.0.0.0:8080, [::1]:8080 or :8080")


def test_health_fails_with_the_answer_when_that_is_no(run: Run) -> None:
    with admin(503) as (port, _):
        result = run("health", "--ready", GATEWAY_ADMIN_LISTEN=f"127.0.0.1:{port}")
    refused(result, 1, "/readyz answers 503: what it says")


def test_without_an_answer_it_says_what_to_look_at(run: Run) -> None:
    result = run("health", GATEWAY_ADMIN_LISTEN=f"127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert "is GATEWAY_ADMIN_LISTEN the same here as there?" in result.stderr
    assert "Traceback" not in result.output
