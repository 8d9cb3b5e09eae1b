"""Command ``token inspect``: it verifies a token, names the secret or key that proved it, and prints its contents.

Law: neither a secret nor the token's signature is printed.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from authcore.identity.foreign_inspection import inspect_foreign
from authcore.tokens.inspection import inspect as explained
from authcore.tokens.issuer import Tokens
from gateway.assembly.key_ring import ring_of
from gateway.commands.failing import FAILED, AskingCommand
from gateway.commands.opening import SECRET, settings_for
from gateway.commands.typed import given_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authcore.store.origins import Holder
    from authcore.tokens.inspection import Inspection
    from config.settings import Settings

_MOMENTS: Final = ("exp", "iat", "nbf")
_BEFORE_TOKEN: Final = re.compile(r"(?:Authorization\s*:\s*)?(?:Bearer(?:\s+|$))?", re.IGNORECASE)
"""What stands before a token that is copied as a header line."""
OWN_KEYS: Final = "GATEWAY_JWT_KEYS_DIR"
_HINT: Final = "(kubectl exec and docker run pass that on with -i alone)"
NOTHING: Final = f"no token was given: write it as the argument, or into standard input {_HINT}"
EMPTY: Final = f"no token was given: the file, or standard input {_HINT}, is empty"


class _Nobody:
    """Empty user directory for an inspection, which needs no database."""

    async def home(self, _user_id: UUID) -> UUID | None:
        return None

    async def holders(self, _email: str, _custom_issuer: str = "") -> Sequence[Holder]:
        return ()


@click.group()
def token() -> None:
    """Tokens."""


@token.command(cls=AskingCommand)
@click.argument("text", metavar="[TOKEN]", default="-")
def inspect(text: str) -> None:
    """Verify TOKEN with the configured secrets and keys and explain it; - or nothing reads it from standard input.

    Says by which secret or key the token is genuine; the key set of GATEWAY_ISSUER_URL is fetched for a token of that
    issuer. Exits with 0 when the token is valid now, as a token of its kind, with 1 when it is not, with 2 when
    none was given, and with 3 when that cannot be found out.
    """
    settings = settings_for(SECRET)
    if text == "-":
        text = given_text(sys.stdin, "standard input")
    text = _BEFORE_TOKEN.sub("", text.strip().strip("\"'")).strip()
    if not text:
        raise click.UsageError(NOTHING)
    found, place = _explained(settings, text, time.time())
    click.echo("valid" if found.valid else f"not valid: {found.reason}")
    click.echo(f"kind       {found.kind or 'unknown'}")
    click.echo(f"signature  {_signature(found, place)}")
    for title, members in (("header", found.header), ("claim", found.claims)):
        for name, value in members.items():
            click.echo(f"{title:<10} {_text(name)}: {_text(value)}{_as_date(name, value)}")
    sys.exit(0 if found.valid else FAILED)


def _explained(settings: Settings, text: str, now: float) -> tuple[Inspection, str]:
    """Return the report on a token, and the setting that leads to the keys of its issuer."""
    if settings.issuer.url is not None:
        from gateway.assembly.domain import build_foreign  # noqa: PLC0415 - dear, and only a foreign issuer needs it

        foreign = build_foreign(settings, _Nobody())
        if foreign is not None and foreign.claims(text.encode()):
            return asyncio.run(inspect_foreign(foreign, text, now)), "GATEWAY_ISSUER_JWKS_URL"
    return explained(tokens_of(settings), text, now), OWN_KEYS


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


def _signature(found: Inspection, place: str) -> str:
    """Return which setting's secret or key verifies the signature."""
    if not found.is_genuine:
        return "NOT genuine: what follows proves nothing"
    return f"genuine, by {signer_of(found, place)}"


def signer_of(found: Inspection, place: str = OWN_KEYS) -> str:
    """Return the setting that has the secret or key by which a token is genuine; empty if none has.

    `place` is the setting that leads to the keys.
    """
    signer = found.signer
    if signer is None:
        return ""
    if not signer.thumbprint:
        return signer.source
    file = f"{_text(signer.source)} in " if signer.source else ""
    return f"the key {_text(signer.kid or signer.thumbprint)} ({file}{place})"


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
