"""Other people's proxies, run on the example configurations of docs/integrations, with ports of the test's in them."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.calls import get
from tests.support.peers import Client
from tests.support.ports import free_port
from tests.support.programs import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EXAMPLES = Path(__file__).parents[2] / "docs" / "integrations"
STARTING_SECONDS = 60
NOT_FOUND = 404
LISTEN, GATEWAY, SERVICE = "127.0.0.1:8000", "127.0.0.1:8080", "127.0.0.1:3000"
"""What the examples say."""


@dataclass(frozen=True)
class Recipe:
    """Recipe to run one proxy.

    Attributes:
        files: The examples it needs, the main one first.
        command: Its program and arguments; ``{main}`` is the main file, ``{work}`` the folder.
    """

    files: tuple[str, ...]
    command: tuple[str, ...]


_NGINX = ("nginx", "-p", "{work}", "-e", "{work}/error.log", "-c", "{work}/wrapper.conf", "-g", "daemon off;")
# Else the workers are nobody, who may not enter the folder.
_USER = "user root;\n" if os.geteuid() == 0 else ""
_WRAPPER = """
{user}worker_processes 1;
pid {work}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    include {main};
}}
"""

RECIPES = {
    "nginx": Recipe(("nginx.conf",), _NGINX),
    "nginx-cached": Recipe(("nginx-cached.conf",), _NGINX),
    "envoy": Recipe(
        ("envoy.yaml",),
        ("envoy", "-c", "{main}", "--concurrency", "1", "-l", "error", "--disable-hot-restart"),
    ),
    "traefik": Recipe(("traefik.yaml", "traefik-routes.yaml"), ("traefik", "--configFile={main}")),
    "caddy": Recipe(("Caddyfile",), ("caddy", "run", "--adapter", "caddyfile", "--config", "{main}")),
    "haproxy": Recipe(("haproxy.cfg",), ("haproxy", "-db", "-f", "{main}")),
    "haproxy-decisions": Recipe(
        ("haproxy-decisions.cfg", "haproxy-decisions.lua"), ("haproxy", "-db", "-f", "{main}")
    ),
}


@asynccontextmanager
async def running(name: str, work: Path, gateway: int, service: int) -> AsyncIterator[tuple[str, int]]:
    """Run a proxy in front of the ports given; yield where it listens."""
    recipe = RECIPES[name]
    port = free_port()
    swaps = {
        LISTEN: f"127.0.0.1:{port}",
        GATEWAY: f"127.0.0.1:{gateway}",
        SERVICE: f"127.0.0.1:{service}",
        "http://:8000": f"http://:{port}",
        "port_value: 8000": f"port_value: {port}",
        "port_value: 8080": f"port_value: {gateway}",
        "port_value: 3000": f"port_value: {service}",
        "/run/nginx-decisions": f"{work}/decisions",
        "/etc/haproxy/": f"{work}/",
        "/etc/traefik/": f"{work}/",
    }
    for file in recipe.files:
        text = (EXAMPLES / file).read_text()
        for old, new in swaps.items():
            text = text.replace(old, new)
        (work / file).write_text(text)
    main = work / recipe.files[0]
    (work / "wrapper.conf").write_text(_WRAPPER.format(work=work, main=main, user=_USER))
    words = [word.format(work=work, main=main) for word in recipe.command]
    log = work / "output.log"
    environment = {**os.environ, "HOME": str(work), "XDG_DATA_HOME": str(work), "XDG_CONFIG_HOME": str(work)}
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(program(words[0]), *words[1:]), stdout=out, stderr=out, cwd=work, env=environment
        )
    try:
        await _listens(process, port, log)
        yield "127.0.0.1", port
    finally:
        if process.returncode is None:
            process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 10)
        if process.returncode is None:
            process.kill()
            await process.wait()
        shutil.rmtree(work / "decisions", ignore_errors=True)


def _said(log: Path) -> str:
    return log.read_text(errors="replace")


async def _listens(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    for _ in range(STARTING_SECONDS * 10):
        with suppress(OSError):
            # Traefik listens before it has its routes, and says 404; everybody else refuses, one way or the other.
            async with Client(("127.0.0.1", port)) as client:
                if (await client.exchange(get("/api/are-you-there"))).status != NOT_FOUND:
                    return
        assert process.returncode is None, _said(log)
        await asyncio.sleep(0.1)
    raise AssertionError(f"it does not listen:\n{_said(log)}")


ON: dict[str, Any] = {
    "decision": {"path": "/decisions"},
    "trusted_proxies": ["127.0.0.0/8"],
    "timeout": {"drain_seconds": 0.1, "drain_delay_seconds": 0},
}
