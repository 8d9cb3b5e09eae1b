"""Command ``echo``: an upstream to try a gateway with, on a machine that has no other."""

from __future__ import annotations

import asyncio
import signal
from typing import Final

import click

from gateway.addresses import url_of
from gateway.commands.opening import note
from gateway.commands.parameters import host_and_port
from gateway.dev.upstream import DemoUpstream

_PORTS: Final = range(65_536)


@click.command()
@click.option("--listen", default="127.0.0.1:9000", show_default=True, metavar="HOST:PORT")
def echo(listen: str) -> None:
    """Answer every request with that request, as JSON: what an upstream of the gateway receives."""
    address = host_and_port(listen, usual="0.0.0.0", ports=_PORTS)  # noqa: S104 -- what an empty host means
    if address is None:
        raise click.UsageError(f"--listen {listen}: should be host:port, such as 0.0.0.0:9000")
    try:
        asyncio.run(_run(*address))
    except OSError as error:
        raise click.ClickException(
            f"--listen {listen}: {error.strerror or error}; choose another address"
        ) from error


async def _run(host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    upstream = await DemoUpstream.start(host, port)
    note(f"echoing on {url_of(upstream.address)}; Ctrl-C stops it")
    try:
        await stop.wait()
    finally:
        await upstream.stop()
