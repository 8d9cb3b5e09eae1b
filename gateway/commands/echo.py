"""Command ``echo``: an upstream to try a gateway with, on a machine that has no other."""

from __future__ import annotations

import asyncio
import signal

import click

from gateway.commands.opening import note
from gateway.dev.upstream import DemoUpstream


@click.command()
@click.option("--listen", default="127.0.0.1:9000", show_default=True, metavar="HOST:PORT")
def echo(listen: str) -> None:
    """Answer every request with that request, as JSON: what an upstream of the gateway receives."""
    host, _, port = listen.rpartition(":")
    if not port.isascii() or not port.isdigit():
        raise click.UsageError(f"--listen {listen}: should be host:port, such as 0.0.0.0:9000")
    try:
        asyncio.run(_run(host.strip("[]") or "0.0.0.0", int(port)))  # noqa: S104 -- what an empty host means
    except (OSError, OverflowError) as error:
        raise click.ClickException(
            f"--listen {listen}: {getattr(error, 'strerror', None) or error}; choose another address"
        ) from error


async def _run(host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    upstream = await DemoUpstream.start(host, port)
    note(f"echoing on {upstream.url}; Ctrl-C stops it")
    try:
        await stop.wait()
    finally:
        await upstream.stop()
