"""An upstream that is the gateway itself is refused before it starts; another service on this machine is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.config.loading import load, problems_of

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
]
APART = [
    ("127.0.0.1:8080", "http://127.0.0.1:8082"),
    ("127.0.0.1:8080", "http://127.0.0.2:8080"),
    ("0.0.0.0:8080", "http://[::1]:8080"),
    ("[::]:8080", "http://127.0.0.1:8080"),
    ("0.0.0.0:8080", "http://10.0.0.3:8080"),
    ("0.0.0.0:8080", "http://whatomate:8080"),
    ("127.0.0.1:0", "http://127.0.0.1:80"),
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
    assert problem.endswith("(GATEWAY_ADMIN_LISTEN)")


def test_a_route_file_names_no_upstream_that_is_the_gateway(tmp_path: Path) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        "upstreams:\n  rest: {url: [http://10.0.0.3:8080, http://127.0.0.1:8080]}\n"
        "routes:\n  - {name: rest, match: {path: /*}, auth: public, upstream: rest}\n"
    )
    (problem,) = problems_of({"GATEWAY_LISTEN": "127.0.0.1:8080", "GATEWAY_ROUTES": str(routes)})
    assert problem == (
        f"{routes}:2: upstream rest: http://127.0.0.1:8080 is the gateway itself, "
        "which listens on 127.0.0.1:8080 (GATEWAY_LISTEN)"
    )
