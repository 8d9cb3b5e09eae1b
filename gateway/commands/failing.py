"""Errors of commands, as lines on standard error and an exit code.

Law: of a command that asks, 1 is the answer no, and nothing else is. A script that migrates when ``migrate --check``
says 1 would otherwise migrate when the database is away.
"""

from __future__ import annotations

import os
import sys
import traceback
from errno import EBADF, EDQUOT, EFBIG, EIO, ENOSPC
from typing import Any, Final

import click

from authcore.crypto.key_directory import KeysUnusable
from authcore.errors import AuthError, StoreUnavailable
from authcore.store.migrate import MigrationChanged
from authcore.store.schema import SchemaUnfit
from authcore.store.triggers import TriggersRefused
from config.load import ConfigError
from config.route_plan import RoutesRefused
from gateway.commands.advice import advised
from gateway.commands.opening import refusal

FAILED: Final = 1
MISCONFIGURED: Final = 2
NOT_FOUND_OUT: Final = 3
EXIT_CODES: Final = {
    0: "done; a command that asks: yes",
    FAILED: "failed, and standard error says what, and what to do; a command that asks: no",
    MISCONFIGURED: "called or configured wrongly",
    NOT_FOUND_OUT: "a command that asks could not find out, as when the database does not answer",
    143: "SIGTERM came while it started, as the first process of a container",
}
"""What each exit code means, for the documents."""
_UNWRITABLE: Final = frozenset({EBADF, EDQUOT, EFBIG, EIO, ENOSPC})
"""What a write to a full disk, or to a terminal that is gone, fails with."""


def report(error: Exception) -> None:
    """Print the problems of a wrong configuration and exit, or raise the error that click prints.

    It returns only for an `error` that no command is expected to raise.

    Raises:
        click.ClickException: with the message of `error`, and what to do.
        SystemExit: the configuration is wrong; each problem has been printed.
    """
    met = refusal(error) if isinstance(error, StoreUnavailable) else error
    if isinstance(met, ConfigError | RoutesRefused):
        for problem in met.problems:
            click.echo(f"Error: {problem}", err=True)
        sys.exit(MISCONFIGURED)
    if isinstance(met, click.ClickException):
        raise met from error
    if isinstance(met, AuthError | MigrationChanged | SchemaUnfit | TriggersRefused):
        raise click.ClickException(advised(met)) from error
    if isinstance(met, OSError) and met.errno in _UNWRITABLE and met.filename is None:
        _discard_output()
        raise click.ClickException(f"standard output cannot be written: {met.strerror}") from error
    if isinstance(met, KeysUnusable):
        click.echo(f"Error: GATEWAY_JWT_KEYS_DIR: {met}", err=True)
        sys.exit(MISCONFIGURED)


def _discard_output() -> None:
    """Lead standard output nowhere: what is buffered would fail again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class AskingCommand(click.Command):
    """Command that asks: it exits with 0 for yes, with 1 for no, and with 3 if it could not find out.

    One with an option ``--check`` asks only with that.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of any kind is no answer, nor is an interruption."""
        if not ctx.params.get("check", True):
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except click.exceptions.Exit:
            raise
        except (KeyboardInterrupt, click.Abort):
            click.echo("Aborted!", err=True)
        except BrokenPipeError:
            _discard_output()
        except Exception as error:  # noqa: BLE001 - a defect is no answer either, and Python would exit with 1
            _show(error)
        raise click.exceptions.Exit(NOT_FOUND_OUT)


def _show(error: Exception) -> None:
    """Print an error; raise it instead if it says that the command was called or configured wrongly."""
    try:
        if isinstance(error, click.ClickException):
            raise error
        report(error)
        traceback.print_exception(error)
    except click.ClickException as known:
        if known.exit_code != FAILED:
            raise
        known.show()
