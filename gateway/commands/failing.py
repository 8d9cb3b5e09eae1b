"""Errors of commands, as lines on standard error and an exit code."""

from __future__ import annotations

import os
import sys
from errno import EBADF, EDQUOT, EFBIG, EIO, ENOSPC
from typing import Final

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

MISCONFIGURED: Final = 2
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is buffered would fail again at the end
        raise click.ClickException(f"standard output cannot be written: {met.strerror}") from error
    if isinstance(met, KeysUnusable):
        click.echo(f"Error: GATEWAY_JWT_KEYS_DIR: {met}", err=True)
        sys.exit(MISCONFIGURED)
