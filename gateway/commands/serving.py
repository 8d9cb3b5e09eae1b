"""Commands ``serve`` and ``migrate``."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Final

import click

from authcore.store.migrate import encoding_of, pending
from authcore.store.migrate import grant_to as give_rights
from authcore.store.migrate import migrate as apply_migrations
from authcore.store.migrate import remove_triggers as remove
from config.load import REQUIRED, require_no_pipes
from gateway.addresses import CannotListen
from gateway.assembly.key_ring import ring_of
from gateway.commands.failing import FAILED, AskingCommand
from gateway.commands.opening import (
    migrating,
    note,
    record_migration,
    run_dialling,
    settings_for,
    warn_of_encoding,
)
from gateway.commands.progress import working

if TYPE_CHECKING:
    from authcore.store.dialled_loop import Dial

_DESCRIPTOR: Final = click.IntRange(0, 2**31 - 1)
_MIGRATING: Final = "migrating (waits for transactions that hold these tables)"


@click.command()
@click.option("--migrate", is_flag=True, help="Bring the schema up first, as the command migrate does.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes on one port."
)
@click.option("--listen", hidden=True, help="What a worker listens on.")
@click.option("--redirect-listen", hidden=True, default="", help="Where it leads to TLS.")
@click.option("--channel", hidden=True, type=_DESCRIPTOR, help="Descriptor of its channel to its parent.")
@click.option(
    "--log-turns", hidden=True, type=_DESCRIPTOR, help="Descriptor by which workers take turns at the log."
)
def serve(  # noqa: PLR0913 -- click passes each option by its name
    *,
    migrate: bool,
    workers: int,
    listen: str | None,
    redirect_listen: str,
    channel: int | None,
    log_turns: int | None,
) -> None:
    """Run the gateway until SIGTERM or SIGINT."""
    settings = settings_for(REQUIRED)
    ring_of(settings, time.time())  # unusable keys are refused before anything has started
    if workers > 1:
        require_no_pipes(settings)
    # Only serving needs the data plane's imports.
    from gateway.app import run  # noqa: PLC0415 - see above
    from gateway.worker_channel import WorkerEnd, WorkerTerms  # noqa: PLC0415 - see above
    from gateway.workers import run_workers  # noqa: PLC0415 - see above

    if migrate:
        with migrating(settings) as (url, password), working(_MIGRATING):
            triggers = settings.database.triggers
            applied = run_dialling(
                settings,
                lambda dial: apply_migrations(url, with_triggers=triggers, password=password, dial=dial),
            )
            if applied:
                asyncio.run(record_migration(settings, applied=applied))
        for name in applied:
            note(f"applied {name}")
    try:
        if channel is not None and log_turns is not None:
            code = run(
                settings
                if listen is None
                else settings.model_copy(update={"listen": tuple(listen.split(","))}),
                WorkerTerms(
                    WorkerEnd(channel), workers, log_turns, tuple(filter(None, redirect_listen.split(",")))
                ),
            )
        elif workers > 1:
            code = run_workers(settings, workers)
        else:
            code = run(settings)
    except CannotListen as error:
        raise click.ClickException(str(error)) from error
    sys.exit(code)


def _one_role(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    """Return the name of a role; refuse a word that PostgreSQL does not read as one, even in quotes.

    Raises:
        click.BadParameter: the name is empty, ``public`` or ``none``.
    """
    if name == "public":
        raise click.BadParameter(
            "public stands for every role of the database; name the one role that serves"
        )
    if name in {"", "none"}:
        raise click.BadParameter("name the role that serves: the user of GATEWAY_DATABASE_URL")
    return name


def _refuse_contradictions(*options: bool) -> None:
    """Refuse more than one of the options of `migrate` that exclude each other: one that is ignored would mislead.

    Raises:
        click.UsageError: several are given.
    """
    if sum(options) > 1:
        raise click.UsageError("keep one of --check, --remove-triggers and --grant-to")


@click.command(cls=AskingCommand)
@click.option(
    "--check",
    is_flag=True,
    help="Change nothing; exit with 1 when something is pending, and with 3 when that cannot be found out.",
)
@click.option("--remove-triggers", is_flag=True, help="Only remove the triggers that tell of changed rows.")
@click.option(
    "--grant-to",
    metavar="ROLE",
    callback=_one_role,
    help="Afterwards give ROLE the rights that serving needs, and no others.",
)
@click.option(
    "--print-grants", is_flag=True, help="With --grant-to: only print the statements that give them."
)
def migrate(*, check: bool, remove_triggers: bool, grant_to: str | None, print_grants: bool) -> None:
    """Bring the schema up; an existing Whatomate database keeps its rows and columns as they are.

    With it come triggers that tell running gateways of changed rows; GATEWAY_DATABASE_TRIGGERS=off leaves them out.
    GATEWAY_MIGRATE_DATABASE_URL, where it is set, is used in the place of GATEWAY_DATABASE_URL.
    """
    _refuse_contradictions(check, remove_triggers, grant_to is not None)
    if print_grants and grant_to is None:
        raise click.UsageError("--print-grants takes the role from --grant-to ROLE")
    settings = settings_for(frozenset())
    triggers = settings.database.triggers
    if grant_to is not None and print_grants:
        with migrating(settings) as (url, password):
            statements = run_dialling(
                settings, lambda dial: give_rights(url, grant_to, run=False, password=password, dial=dial)
            )
        for statement in statements:
            click.echo(f"{statement};")
        return
    if remove_triggers:
        with migrating(settings) as (url, password), working(_MIGRATING):
            removed = run_dialling(settings, lambda dial: remove(url, password=password, dial=dial))
            if removed:
                asyncio.run(record_migration(settings, removed=["triggers"]))
        note("removed the triggers" if removed else "there are no triggers")
        return
    with migrating(settings) as (url, password), working("waiting for the database" if check else _MIGRATING):
        names = run_dialling(
            settings,
            lambda dial: (_checked if check else apply_migrations)(
                url, with_triggers=triggers, password=password, dial=dial
            ),
        )
    for name in names:
        click.echo(f"{'pending' if check else 'applied'} {name}")
    if not names:
        note("the schema is up to date")
    elif not check:
        asyncio.run(record_migration(settings, applied=names))
    if grant_to is not None:
        with migrating(settings) as (url, password):
            run_dialling(
                settings, lambda dial: give_rights(url, grant_to, run=True, password=password, dial=dial)
            )
            asyncio.run(record_migration(settings, granted_to=grant_to))
        note(f"gave {grant_to} the rights that serving needs")
    sys.exit(FAILED if check and names else 0)


async def _checked(url: str, *, with_triggers: bool, password: str | None, dial: Dial) -> list[str]:
    """Return the pending migrations, and warn of a database that cannot hold every character."""
    names = await pending(url, with_triggers=with_triggers, password=password, dial=dial)
    warn_of_encoding(await encoding_of(url, password=password, dial=dial))
    return names
