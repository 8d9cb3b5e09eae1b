"""Command ``token inspect``: it verifies a token and prints its contents.

Law: neither a secret nor the token's signature is printed.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from authcore.tokens.issuer import Tokens
from gateway.assembly.key_ring import ring_of
from gateway.commands.opening import SECRET, settings_for

if TYPE_CHECKING:
    from config.settings import Settings

_MOMENTS: Final = ("exp", "iat", "nbf")


@click.group()
def token() -> None:
    """Tokens."""


@token.command()
@click.argument("text", metavar="[TOKEN]", default="-")
def inspect(text: str) -> None:
    """Verify TOKEN with the configured secrets and keys and explain it; - or nothing reads it from standard input.

    Exits with 0 when the token is valid now, as a token of its kind, and with 1 when it is not.
    """
    settings = settings_for(SECRET)
    if text == "-":
        text = sys.stdin.read()
    found = tokens_of(settings).inspect(text.strip().removeprefix("Bearer ").strip(), time.time())
    click.echo("valid" if found.valid else f"not valid: {found.reason}")
    click.echo(f"kind       {found.kind or 'unknown'}")
    click.echo(f"signature  {'genuine' if found.is_genuine else 'NOT genuine: what follows proves nothing'}")
    for title, members in (("header", found.header), ("claim", found.claims)):
        for name, value in members.items():
            click.echo(f"{title:<10} {_text(name)}: {_text(value)}{_as_date(name, value)}")
    sys.exit(0 if found.valid else 1)


def tokens_of(settings: Settings) -> Tokens:
    """Return the issuer and verifier of tokens under `settings`."""
    ring, _ = ring_of(settings, time.time())
    return Tokens(
        ring,
        issuer=settings.jwt.issuer,
        leeway_seconds=settings.jwt.leeway_seconds,
        access_seconds=settings.token.access_seconds,
        refresh_seconds=settings.token.refresh_seconds,
    )


def _text(value: object) -> str:
    """Return `value` on one line of printable ASCII: a terminal would obey control characters of a forged token."""
    return json.dumps(value) if not isinstance(value, str) else json.dumps(value)[1:-1]


def _as_date(name: str, value: object) -> str:
    if name not in _MOMENTS or isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    try:
        return f" ({datetime.fromtimestamp(value, UTC).isoformat(timespec='seconds')})"
    except (ValueError, OverflowError, OSError):
        return ""
