"""Text that is given to a command: passwords typed at a terminal, and what standard input or a file holds."""

from __future__ import annotations

import getpass
import warnings
from typing import Final, TextIO

import click

_MOST_CHARACTERS: Final = 65_536


def given_text(file: TextIO, name: str) -> str:
    """Return what `file` holds, which the option or argument `name` stands for.

    Raises:
        click.UsageError: it is not UTF-8, or has more characters than any token or password.
    """
    try:
        text = file.read(_MOST_CHARACTERS + 1)
    except UnicodeError:
        raise click.UsageError(f"{name}: this is not UTF-8 text") from None
    if len(text) > _MOST_CHARACTERS:
        raise click.UsageError(f"{name}: this has more than {_MOST_CHARACTERS:,} characters")
    return text


def typed_password() -> str:
    """Return a password that is typed twice, and not shown.

    Raises:
        click.UsageError: there is no terminal, so it could not be hidden.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        except getpass.GetPassWarning:
            raise click.UsageError(
                "there is no terminal to type a password at; use --password-stdin or --generate-password"
                " (kubectl exec and docker run give one with -it)"
            ) from None
    return typed
