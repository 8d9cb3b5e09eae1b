"""Candidates of the benchmark, and how each is started. One whose program is not installed is skipped by name."""

from __future__ import annotations

import base64
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.machine import UNDER_TEST, Running, free_port, start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONFIGS: Final = Path(__file__).parent / "configs"
PAIR: Final = "pair.pem"
"""The file with the key and the certificate that the secure candidates share, in the folder of the run."""
COMPILED: Final = Path(__file__).parents[1] / ".compiled" / "tree"
"""Where `make compiled` puts the gateway with its warm path compiled."""


@dataclass(frozen=True)
class Site:
    """Environment of a benchmark run.

    Attributes:
        work: The folder for configurations and logs.
        upstream: The upstream's port.
        secret: The JWT secret that all candidates share.
        database_url: The gateway's database.
        token: An access token.
        api_key: An API key.
        tokens: An access token of each of many users.
    """

    work: Path
    upstream: int
    secret: str
    database_url: str
    token: str
    api_key: str
    tokens: tuple[str, ...] = ()

    def configure(self, name: str, port: int, called: str = "", **more: object) -> Path:
        """Fill in one of ``configs/`` with `more` values, write it under the name `called`, and return its path."""
        text = (CONFIGS / name).read_text()
        values = {
            "port": port,
            "upstream": self.upstream,
            "work": self.work,
            "files": self.work / "files",
            "secret": self.secret,
            "tls": "",
            "certificates": "",
            "more": "",
            "jwk": base64.urlsafe_b64encode(self.secret.encode()).rstrip(b"=").decode(),
        }
        for key, value in {**values, **more}.items():
            text = text.replace("{" + key + "}", str(value))
        path = self.work / (called or name)
        path.write_text(text.replace("{{", "{").replace("}}", "}"))
        return path


@dataclass(frozen=True)
class Candidate:
    """Proxy under test.

    Attributes:
        name: Its name in the report.
        program: The program that must be installed; None for this project's own.
        command: Returns the command line, given the site and the port.
        headers: Returns the headers that it is sent, among them its credential.
        environment: Returns the variables that it is started with.
        path: A prefix of the path; the gateway's routes differ by it.
        secure: It listens with TLS, and takes part in the loads by TLS alone.
    """

    name: str
    program: str | None
    command: Callable[[Site, int], list[str]]
    headers: Callable[[Site], Mapping[str, str]] = field(default=lambda _: {})
    environment: Callable[[Site, int], dict[str, str]] = field(default=lambda _site, _port: {})
    path: str = "/api"
    secure: bool = False

    def missing(self) -> bool:
        """Return whether its program is not installed."""
        return self.program is not None and program(self.program) is None

    def start(self, site: Site) -> tuple[Running, int]:
        """Start it on the core under test."""
        port = free_port()
        log = site.work / f"{self.name.replace(' ', '-')}.log"
        command = self.command(site, port)
        return start(
            command, core=UNDER_TEST, port=port, log=log, environment=self.environment(site, port)
        ), port


def program(name: str) -> str | None:
    """Find a program: beside this interpreter first (PyPI's binaries), else on the PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def _bearer(site: Site) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {site.token}"}


def _api_key(site: Site) -> Mapping[str, str]:
    return {"X-API-Key": site.api_key}


def _gateway(_site: Site, _port: int) -> list[str]:
    # -P: import the compiled tree, not the current folder.
    return [
        sys.executable,
        "-P",
        "-m",
        "gateway",
        "serve",
    ]


def _compiled(site: Site, port: int) -> dict[str, str]:
    return {**gateway_environment(site, port), "PYTHONPATH": str(COMPILED)}


def _interpreted(site: Site, port: int) -> dict[str, str]:
    return {**gateway_environment(site, port), "PYTHONPATH": str(CONFIGS.parents[1])}


def gateway_environment(site: Site, port: int) -> dict[str, str]:
    """Return the environment of a gateway on `port`."""
    return {
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
        "GATEWAY_DATABASE_URL": site.database_url,
        "GATEWAY_JWT_SECRET": site.secret,
        "GATEWAY_UPSTREAM_URL": f"http://127.0.0.1:{site.upstream}",
        "GATEWAY_ROUTES": str(CONFIGS / "gateway-routes.yaml"),
        "GATEWAY_LOG_ACCESS": "false",  # like the others: none of them writes an access log here
    }


def _secured(build: Callable[[Site, int], dict[str, str]]) -> Callable[[Site, int], dict[str, str]]:
    """Return the environment of a build that listens with TLS."""

    def environment(site: Site, port: int) -> dict[str, str]:
        pair = str(site.work / PAIR)
        return {**build(site, port), "GATEWAY_TLS_CERT_FILE": pair, "GATEWAY_TLS_KEY_FILE": pair}

    return environment


def _logged(build: Callable[[Site, int], dict[str, str]]) -> Callable[[Site, int], dict[str, str]]:
    """Return the environment of a build that writes an access log, which ends up in a file."""

    def environment(site: Site, port: int) -> dict[str, str]:
        return {**build(site, port), "GATEWAY_LOG_ACCESS": "true"}

    return environment


def _nginx(site: Site, port: int) -> list[str]:
    return [str(program("nginx")), "-c", str(site.configure("nginx.conf", port)), "-g", "daemon off;"]


def _nginx_secured(site: Site, port: int) -> list[str]:
    pair = site.work / PAIR
    lines = f"ssl_certificate {pair}; ssl_certificate_key {pair}; ssl_session_cache shared:sessions:1m;"
    config = site.configure("nginx.conf", port, "nginx-tls.conf", tls="ssl", certificates=lines)
    return [str(program("nginx")), "-c", str(config), "-g", "daemon off;"]


_MEMORY: Final = """proxy_cache decisions;
      proxy_cache_valid 200 401 403 1s;
      proxy_ignore_headers Cache-Control Vary;
      proxy_cache_key "$request_method\\n$http_host\\n$request_uri\\n$http_authorization\\n$http_x_api_key";"""


def _nginx_asking(name: str, memory: str) -> Callable[[Site, int], list[str]]:
    """Return the command of an nginx with a gateway beside it, on the same core."""

    def command(site: Site, port: int) -> list[str]:
        gateway = free_port()
        config = site.configure(
            "nginx-auth.conf", port, f"{name}.conf", stem=name, gateway=gateway, memory=memory
        )
        nginx = [str(program("nginx")), "-c", str(config), "-g", "daemon off;"]
        return [sys.executable, "-m", "bench.beside", str(gateway), *nginx]

    return command


def _asked(site: Site, port: int) -> dict[str, str]:
    return {
        **_compiled(site, port),
        "PYTHONPATH": f"{COMPILED}:{CONFIGS.parents[1]}",
        "GATEWAY_DECISION_PATH": "/decisions",
        "GATEWAY_TRUSTED_PROXIES": "127.0.0.0/8",
    }


def _haproxy(site: Site, port: int) -> list[str]:
    return [str(program("haproxy")), "-db", "-f", str(site.configure("haproxy.cfg", port))]


def _haproxy_logged(site: Site, port: int) -> list[str]:
    lines = "log stdout format raw local0\n  option httplog"
    return [
        str(program("haproxy")),
        "-db",
        "-f",
        str(site.configure("haproxy.cfg", port, "haproxy-logged.cfg", more=lines)),
    ]


def _haproxy_secured(site: Site, port: int) -> list[str]:
    tls = f"ssl crt {site.work / PAIR} ssl-min-ver TLSv1.2"
    return [
        str(program("haproxy")),
        "-db",
        "-f",
        str(site.configure("haproxy.cfg", port, "haproxy-tls.cfg", tls=tls)),
    ]


def _envoy(site: Site, port: int) -> list[str]:
    config = str(site.configure("envoy.yaml", port))
    return [str(program("envoy")), "-c", config, "--concurrency", "1", "-l", "error", "--disable-hot-restart"]


def _traefik(site: Site, port: int) -> list[str]:
    site.configure("traefik-routes.yaml", port)
    return [str(program("traefik")), f"--configFile={site.configure('traefik.yaml', port)}"]


def _caddy(site: Site, port: int) -> list[str]:
    return [
        str(program("caddy")),
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        str(site.configure("Caddyfile", port)),
    ]


def _aiohttp(site: Site, port: int) -> list[str]:
    return [sys.executable, "-m", "bench.aiohttp_proxy", str(port), str(site.upstream), site.secret]


def _splice(site: Site, port: int) -> list[str]:
    return [sys.executable, "-m", "bench.splice", str(port), str(site.upstream)]


def _one_thread(site: Site, _port: int) -> dict[str, str]:
    return {
        "GOMAXPROCS": "1",
        "HOME": str(site.work),
        "XDG_DATA_HOME": str(site.work),
        "XDG_CONFIG_HOME": str(site.work),
    }


GATEWAY_JWT: Final = "gateway, JWT"
GATEWAY_SLOW: Final = "gateway, JWT, interpreted"
GATEWAY_KEY: Final = "gateway, API key"
GATEWAY_SLOW_KEY: Final = "gateway, API key, interpreted"
GATEWAY_TLS: Final = "gateway, JWT, TLS"
GATEWAY_SLOW_TLS: Final = "gateway, JWT, TLS, interpreted"
GATEWAY_LOGGED: Final = "gateway, JWT, access log"
GATEWAY_SLOW_LOGGED: Final = "gateway, JWT, access log, interpreted"
HAPROXY_LOGGED: Final = "HAProxy jwt_verify, log"
HAPROXY_TLS: Final = "HAProxy jwt_verify, TLS"
NGINX_TLS: Final = "nginx plain, TLS"
GATEWAY_PUBLIC: Final = "gateway, public"
HAPROXY: Final = "HAProxy jwt_verify"
ENVOY: Final = "Envoy jwt_authn"
NGINX: Final = "nginx plain"
NGINX_ASKING: Final = "nginx auth_request"
NGINX_REMEMBERING: Final = "nginx auth_request, 1 s"
AIOHTTP: Final = "aiohttp idiomatic"
SPLICE: Final = "uvloop splice"

CANDIDATES: Final = (
    Candidate(GATEWAY_JWT, None, _gateway, _bearer, _compiled),
    Candidate(GATEWAY_KEY, None, _gateway, _api_key, _compiled),
    Candidate(GATEWAY_PUBLIC, None, _gateway, environment=_compiled, path=""),
    Candidate(GATEWAY_SLOW, None, _gateway, _bearer, _interpreted),
    Candidate(GATEWAY_SLOW_KEY, None, _gateway, _api_key, _interpreted),
    Candidate(HAPROXY, "haproxy", _haproxy, _bearer),
    Candidate(GATEWAY_LOGGED, None, _gateway, _bearer, _logged(_compiled)),
    Candidate(GATEWAY_SLOW_LOGGED, None, _gateway, _bearer, _logged(_interpreted)),
    Candidate(HAPROXY_LOGGED, "haproxy", _haproxy_logged, _bearer),
    Candidate(ENVOY, "envoy", _envoy, _bearer),
    Candidate("Traefik plain", "traefik", _traefik, _bearer, _one_thread),
    Candidate("Caddy plain", "caddy", _caddy, _bearer, _one_thread),
    Candidate(NGINX, "nginx", _nginx, _bearer),
    Candidate(NGINX_ASKING, "nginx", _nginx_asking("nginx-asking", ""), _bearer, _asked),
    Candidate(NGINX_REMEMBERING, "nginx", _nginx_asking("nginx-remembering", _MEMORY), _bearer, _asked),
    Candidate(AIOHTTP, None, _aiohttp, _bearer),
    Candidate(SPLICE, None, _splice, _bearer),
    Candidate(GATEWAY_TLS, None, _gateway, _bearer, _secured(_compiled), secure=True),
    Candidate(GATEWAY_SLOW_TLS, None, _gateway, _bearer, _secured(_interpreted), secure=True),
    Candidate(HAPROXY_TLS, "haproxy", _haproxy_secured, _bearer, secure=True),
    Candidate(NGINX_TLS, "nginx", _nginx_secured, _bearer, secure=True),
)
