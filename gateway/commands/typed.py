"""Text that is given to a command: passwords typed at a terminal, and what standard input or a file holds."""

from __future__ import annotations

import getpass
import warnings
from typing import IO, TYPE_CHECKING, Any, Final, TextIO

import click

if TYPE_CHECKING:
    import os

_MOST_CHARACTERS: Final = 65_536


class SecretFile(click.File):
    """Parameter type of a file that holds a secret. The secret itself may stand in its place, so it is not quoted."""

    def convert(
        self,
        value: str | os.PathLike[str] | IO[Any],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> IO[Any]:
        """Open the file.

        Raises:
            click.BadParameter: it cannot be opened.
        """
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail("no such file can be read; name one, or - for standard input", param, ctx)


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
