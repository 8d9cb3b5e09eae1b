"""Passwords that are typed at a terminal."""

from __future__ import annotations

import getpass
import warnings

import click


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
