"""Command ``token inspect``: it verifies a token, names the secret or key that proved it, and prints its contents.

Law: neither a secret nor the token's signature is printed.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from authcore.tokens.inspection import inspect as explained
from authcore.tokens.issuer import Tokens
from gateway.assembly.key_ring import ring_of
from gateway.commands.opening import SECRET, settings_for

if TYPE_CHECKING:
    from authcore.tokens.inspection import Inspection
    from config.settings import Settings

_MOMENTS: Final = ("exp", "iat", "nbf")
NOTHING: Final = (
    "no token was given: write it as the argument, or into standard input (kubectl exec and docker run pass that on"
    " with -i alone)"
)


@click.group()
def token() -> None:
    """Tokens."""


@token.command()
@click.argument("text", metavar="[TOKEN]", default="-")
def inspect(text: str) -> None:
    """Verify TOKEN with the configured secrets and keys and explain it; - or nothing reads it from standard input.

    Says by which secret or key the token is genuine. Exits with 0 when the token is valid now, as a token of its
    kind, with 1 when it is not, and with 2 when none was given.
    """
    settings = settings_for(SECRET)
    if text == "-":
        text = sys.stdin.read()
    text = text.lstrip().removeprefix("Bearer ").strip()
    if not text:
        raise click.UsageError(NOTHING)
    found = explained(tokens_of(settings), text, time.time())
    click.echo("valid" if found.valid else f"not valid: {found.reason}")
    click.echo(f"kind       {found.kind or 'unknown'}")
    click.echo(f"signature  {_signature(found)}")
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


def _signature(found: Inspection) -> str:
    """Return what is known of the signature: which of the settings proves it."""
    return (
        f"genuine, by {signer_of(found)}" if found.is_genuine else "NOT genuine: what follows proves nothing"
    )


def signer_of(found: Inspection) -> str:
    """Return the setting that has the secret or key by which a token is genuine; empty if none has."""
    signer = found.signer
    if signer is None:
        return ""
    if signer.kid is None:
        return signer.source
    return f"the key {_text(signer.kid)} ({_text(signer.source)} in GATEWAY_JWT_KEYS_DIR)"


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
