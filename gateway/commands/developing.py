"""Runner of the command ``dev``: it starts a PostgreSQL, an upstream and a gateway, until Ctrl-C.

Laws:

- Configured services are used: the embedded PostgreSQL and the demo upstream replace them only if no URL is set.
- Everything that was started is stopped, in reverse order, however the run ends.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Final

import click

from authcore.store.migrate import migrate
from config.load import load_settings
from gateway import logs
from gateway.addresses import CannotListen, url_of
from gateway.app import Gateway
from gateway.commands.impersonating import signing_key
from gateway.commands.opening import database_url, note, opened, secret, settings_for
from gateway.commands.progress import working
from gateway.dev.lines import address_lines, curl_lines
from gateway.dev.postgres import EmbeddedPostgres
from gateway.dev.programs import PostgresError, refuse_closed
from gateway.dev.seed import DevError, jwt_secret, seed
from gateway.dev.upstream import DemoUpstream

if TYPE_CHECKING:
    from pathlib import Path

    from config.settings import Settings
    from gateway.dev.seed import Demo

_DEFAULTS: Final = {
    "GATEWAY_LISTEN": "127.0.0.1:8080",
    "GATEWAY_ADMIN_LISTEN": "127.0.0.1:8081",
    "GATEWAY_CORS_ORIGINS": "http://127.0.0.1:8000,http://localhost:8000",  # the documentation's site, to try it out
    "GATEWAY_TIMEOUT_DRAIN_SECONDS": "3",  # after Ctrl-C, nobody wants to wait longer
    "GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS": "0",
}


WATCH_SECONDS: Final = 0.5

EXPECTED_ERRORS: Final = (PostgresError, DevError, CannotListen)
"""Errors whose text is written for the operator, and printed without a traceback."""


def run_dev(directory: Path, *, sign: bool = False) -> None:
    """Run until SIGINT or SIGTERM; with `sign`, upstreams are sent signed identities, if need be by a key made for it.

    Raises:
        ConfigError: the configuration cannot be used.
        PostgresError: the embedded PostgreSQL cannot be started.
        DevError: the demo users cannot be used.
        CannotListen: an address is taken.
    """
    configured = settings_for(frozenset())
    embedded = configured.database.url is None
    if embedded:
        refuse_closed(directory)  # before anything is made
    if not directory.exists():
        directory.mkdir(parents=True)
        # Under root, PostgreSQL runs as another user and has to enter; secrets in here are 0600.
        directory.chmod(0o755)
    defaults = {**_DEFAULTS, "GATEWAY_JWT_SECRET": jwt_secret(directory)}
    if sign and configured.signed.identity == "off":
        defaults |= {"GATEWAY_SIGNED_IDENTITY": "EdDSA", "GATEWAY_SIGNED_KEY": signing_key(directory)}
    if sys.stdout.isatty():
        defaults["GATEWAY_LOG_FORMAT"] = "text"
    with ExitStack() as started:
        if embedded:
            note(f"starting PostgreSQL in {directory / 'postgres'}")
            postgres = EmbeddedPostgres(directory / "postgres")
            with working("starting PostgreSQL (the first time it makes its files)"):
                started.enter_context(postgres)
            defaults["GATEWAY_DATABASE_URL"] = postgres.url
            asyncio.run(_run(defaults, directory, postgres))
        else:
            asyncio.run(_run(defaults, directory, None))
    note("stopped")


async def _run(defaults: dict[str, str], directory: Path, postgres: EmbeddedPostgres | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as started:
        upstream = await DemoUpstream.start()
        started.push_async_callback(upstream.stop)
        defaults = {**defaults, "GATEWAY_UPSTREAM_URL": url_of(upstream.address)}
        settings = load_settings(defaults=defaults)
        with working("migrating, and making the demo users"):
            demo = await _prepare(settings, directory)
        logs.configure(settings.log.level, settings.log.format)
        gateway = await Gateway.start(settings)
        started.push_async_callback(gateway.stop)
        url, admin_url = url_of(gateway.address), url_of(gateway.admin_address)
        click.echo(address_lines(demo, url, admin_url, settings.upstream.url or ""))
        click.echo("\n" + curl_lines(demo, url, admin_url, has_curl=shutil.which("curl") is not None))
        click.echo("\nPress Ctrl-C to stop; the data stays.")
        if postgres is not None:
            watching = loop.create_task(_watch(postgres, stop))
            started.callback(watching.cancel)
        await stop.wait()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # so that a second Ctrl-C does not wait for the drain
        note("stopping")
    if postgres is not None and not postgres.is_running:
        raise PostgresError(
            f"PostgreSQL ended by itself; {directory / 'postgres' / 'postgres.log'} says why; a new run starts it again"
        )


async def _watch(postgres: EmbeddedPostgres, stop: asyncio.Event) -> None:
    """Set `stop` when the database has ended: a demo gateway is useless without it."""
    while postgres.is_running:  # noqa: ASYNC110 -- a process of another thread's making has no event here
        await asyncio.sleep(WATCH_SECONDS)
    note("PostgreSQL has ended")
    stop.set()


async def _prepare(settings: Settings, directory: Path) -> Demo:
    """Migrate the database, and fill it with demo data."""
    await migrate(
        database_url(settings),
        with_triggers=settings.database.triggers,
        password=secret(settings.database.password),
    )
    async with opened(settings) as services:
        return await seed(services.store, services.administration, services.passwords, directory)
