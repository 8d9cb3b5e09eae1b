"""An upstream that is the gateway itself is refused before it starts; another service on this machine is not."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.config.loading import load, problems_of
from tests.support.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

SAME = [
    ("127.0.0.1:8080", "http://127.0.0.1:8080"),
    ("127.0.0.1:8080", "http://localhost:8080"),
    ("127.0.0.1:8080", "http://0.0.0.0:8080"),
    ("127.0.0.7:8080", "http://127.0.0.7:8080"),
    ("0.0.0.0:8080", "http://127.0.0.9:8080"),
    ("0.0.0.0:80", "http://localhost"),
    ("0.0.0.0:443", "https://localhost"),
    (":8080", "http://[::1]:8080"),
    ("[::]:8080", "http://[::1]:8080"),
    ("[::1]:8080", "http://LOCALHOST:8080"),
    ("10.0.0.3:8080", "http://10.0.0.3:8080"),
    ("gateway.prod:8080", "http://Gateway.prod:8080"),
    ("unix:/run/gateway.sock,127.0.0.1:8080", "http://127.0.0.1:8080"),
    ("unix:/run/gateway.sock,127.0.0.1:8080", "unix:/run/gateway.sock"),
    ("unix:/run/gateway.sock", "unix:/run/../run//gateway.sock"),
    ("127.0.0.1:8080", "http://127.1:8080"),
    ("0.0.0.0:8080", "http://2130706433:8080"),
    ("127.0.0.1:8080", "http://[::ffff:127.0.0.1]:8080"),
    ("[::1]:8080", "http://[0:0:0:0:0:0:0:1]:8080"),
    ("127.0.0.1:8080", "http://localhost.:8080"),
    (":8080", "http://gateway.localhost:8080"),
]
APART = [
    ("127.0.0.1:8080", "http://127.0.0.1:8082"),
    ("127.0.0.1:8080", "http://127.0.0.2:8080"),
    ("0.0.0.0:8080", "http://[::1]:8080"),
    ("[::]:8080", "http://127.0.0.1:8080"),
    ("0.0.0.0:8080", "http://192.0.2.7:8080"),
    ("0.0.0.0:8080", "http://whatomate:8080"),
    ("127.0.0.1:0", "http://127.0.0.1:80"),
    (":8080", "http://[2001:db8::7]:8080"),
    ("unix:/run/gateway.sock", "http://127.0.0.1:8080"),
    ("unix:/run/gateway.sock,127.0.0.1:8080", "unix:/run/whatomate.sock"),
]


@pytest.mark.parametrize(("listen", "url"), SAME)
def test_an_upstream_that_is_the_gateway_is_refused(listen: str, url: str) -> None:
    (problem,) = problems_of({"GATEWAY_LISTEN": listen, "GATEWAY_UPSTREAM_URL": url})
    assert problem.startswith(f"GATEWAY_UPSTREAM_URL: {url} is the gateway itself, which listens on ")


@pytest.mark.parametrize(("listen", "url"), APART)
def test_an_upstream_beside_the_gateway_is_none_of_it(listen: str, url: str) -> None:
    load({"GATEWAY_LISTEN": listen, "GATEWAY_UPSTREAM_URL": url})


def test_the_admin_listener_is_no_upstream_either() -> None:
    (problem,) = problems_of({"GATEWAY_UPSTREAM_URL": "http://127.0.0.1:8081"})
    assert "(GATEWAY_ADMIN_LISTEN); name the host and port" in problem


def test_a_route_file_names_no_upstream_that_is_the_gateway(tmp_path: Path) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        "upstreams:\n  rest: {url: [http://10.0.0.3:8080, http://127.0.0.1:8080]}\n"
        "routes:\n  - {name: rest, match: {path: /*}, auth: public, upstream: rest}\n"
    )
    (problem,) = problems_of({"GATEWAY_LISTEN": "127.0.0.1:8080", "GATEWAY_ROUTES": str(routes)})
    assert problem == (
        f"{routes}:2: upstream rest: http://127.0.0.1:8080 is the gateway itself, "
        "which listens on 127.0.0.1:8080 (GATEWAY_LISTEN); name the host and port of the service behind it"
    )


def own_addresses() -> list[str]:
    """The addresses of this machine that are not of its loopback, as its kernel chooses them for other places."""
    found = []
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as asked:
            try:
                asked.connect((elsewhere, 9))  # no datagram is sent
            except OSError:
                continue
            found.append(asked.getsockname()[0])
    return found


def test_a_listener_on_every_address_is_found_at_each_of_this_machine_and_by_its_name() -> None:
    for host in [socket.gethostname(), *own_addresses()]:
        url = f"http://[{host}]:8080" if ":" in host else f"http://{host}:8080"
        (problem,) = problems_of({"GATEWAY_LISTEN": ":8080", "GATEWAY_UPSTREAM_URL": url})
        assert problem.startswith(f"GATEWAY_UPSTREAM_URL: {url} is the gateway itself")


def test_a_link_to_its_socket_is_the_gateway(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gateway.sock")
    (problem,) = problems_of(
        {"GATEWAY_LISTEN": f"unix:{tmp_path}/gateway.sock", "GATEWAY_UPSTREAM_URL": f"unix:{tmp_path}/link"}
    )
    assert "is the gateway itself" in problem


def test_the_port_that_redirects_is_no_upstream_either(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("gateway.internal")
    (problem,) = problems_of(
        {
            "GATEWAY_TLS_CERT_FILE": str(pair.certificate),
            "GATEWAY_TLS_KEY_FILE": str(pair.key),
            "GATEWAY_TLS_REDIRECT_LISTEN": "127.0.0.1:8090",
            "GATEWAY_UPSTREAM_URL": "http://localhost:8090",
        }
    )
    assert "(GATEWAY_TLS_REDIRECT_LISTEN)" in problem


@pytest.mark.parametrize("key", ["url", "endpoints"])
def test_one_endpoint_of_several_that_is_the_gateway_is_refused(tmp_path: Path, key: str) -> None:
    routes = tmp_path / "routes.yaml"
    places = "['http://10.0.0.3:1', 'http://127.0.0.1:8081']"
    if key == "endpoints":
        places = "[{url: 'http://10.0.0.3:1'}, {url: 'http://127.0.0.1:8081', priority: 1}]"
    routes.write_text(
        f"upstreams:\n  rest: {{{key}: {places}}}\n"
        "routes:\n  - {name: rest, match: {path: /*}, auth: public, upstream: rest}\n"
    )
    (problem,) = problems_of({"GATEWAY_ROUTES": str(routes)})
    assert problem.startswith(f"{routes}:2: upstream rest: http://127.0.0.1:8081 is the gateway itself")
    assert "(GATEWAY_ADMIN_LISTEN)" in problem
