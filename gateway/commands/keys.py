"""Commands ``keys generate|list``, for the keys that sign tokens.

Law: a private key is written only to the named file, readable by its owner alone, and never over an existing file.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from authcore.crypto.pem import GENERATED, generate_pem, parse_pem
from gateway.assembly.key_ring import ring_of
from gateway.commands.listing import Field, listed
from gateway.commands.opening import SECRET, note, settings_for
from gateway.commands.progress import working

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.commands.listing import Row


@click.group("keys")
def keys() -> None:
    """Keys that sign and verify tokens."""


@keys.command("generate")
@click.option(
    "--algorithm",
    type=click.Choice(list(GENERATED)),
    default="EdDSA",
    show_default=True,
    help="What it is for.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="The file; standard output if none."
)
def generate(algorithm: str, out: Path | None) -> None:
    """Make a private key as PEM, and tell its kid.

    In GATEWAY_JWT_KEYS_DIR it verifies at once, and signs when its kid stands in the file `signing` there.
    """
    with working("making a key"):
        pem = generate_pem(algorithm)
    kid = parse_pem(pem).kid
    if out is None:
        note(f"kid {kid}")
        click.echo(pem, nl=False)
        return
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise click.ClickException(
            f"{out} exists, and is left as it is; give another name with --out"
        ) from None
    except OSError as error:
        raise click.ClickException(
            f"{out}: {error.strerror}; choose a folder that you may write to"
        ) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    note(f"wrote {out}; its kid:")
    click.echo(kid)


@keys.command("list")
@listed(
    Field("kid", "the key's id; null of a shared secret"),
    Field("algorithm", "what it signs with"),
    Field("does", "signs and verifies, or verifies alone"),
    Field("source", "the setting or file that it is from"),
)
def list_keys() -> Sequence[Row]:
    """List the keys of the configuration."""
    ring, _ = ring_of(settings_for(SECRET), time.time())
    return [
        {
            "kid": key.kid,
            "algorithm": key.algorithm,
            "does": "signs, verifies" if key is ring.signing else "verifies",
            "source": key.source,
        }
        for key in ring
    ]
