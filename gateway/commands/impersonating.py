"""Runner of ``dev --as``: it prints what a service would be sent in somebody's name, as headers and lines of curl.

Laws:

- Nothing has to run, and nothing is asked: no gateway, no database, no network.
- Where nothing is configured to sign, the key is the data folder's own, which is made once and leaves it never.
- A line of curl sends the path that the headers are for, and comes to an end.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import click
from pydantic import SecretStr

from authcore.crypto.pem import generate_pem
from authcore.identity_headers import SIGNED
from gateway.assembly.made_headers import made_headers, target_of
from gateway.assembly.signing import identity_keys
from gateway.commands.opening import note, settings_for
from gateway.dev.callers import made_up
from gateway.dev.key_server import PATH, serve_keys
from gateway.dev.seed import DevError, keep, read_or_make
from gateway.faults import UnsafeIdentity

if TYPE_CHECKING:
    from pathlib import Path

    from authcore.principal import Principal
    from config.settings import Settings

KEY_FILE: Final = "identity-key.pem"
SET_FILE: Final = "identity-jwks.json"
DEFAULT_SECONDS: Final = 3600
"""Lifetime of an identity that the data folder's own key signs; a configured key has the configured lifetime."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Request that ``dev --as`` is asked to print.

    Attributes:
        who: The made-up caller, as :func:`made_up` takes it.
        caller: Further values of the caller, by the parameters of :func:`made_up`.
        sign: Sign, even if nothing is configured to.
        method: The request's method.
        path: The request's path, and its query.
        url: URL of the service under test.
        audience: Name of the upstream that the service stands for.
        seconds: Lifetime of a signed identity; None for the configured one.
        headers: Further headers, or other values of those that are made.
        as_json: Print one document.
        serve_keys: Host and port to serve the public keys at, until Ctrl-C.
    """

    who: str
    caller: dict[str, Any]
    sign: bool
    method: str
    path: str
    url: str
    audience: str
    seconds: int | None
    headers: tuple[tuple[str, str], ...]
    as_json: bool
    serve_keys: tuple[str, int] | None


def print_identity(wanted: Wanted, directory: Path) -> None:
    """Print it.

    Raises:
        ConfigError: the configuration cannot be used.
        DevError: it cannot be made as it is wanted.
    """
    settings = signing_settings(
        settings_for(frozenset()), directory, sign=wanted.sign, seconds=wanted.seconds
    )
    principal = made_up(wanted.who, **wanted.caller)
    try:
        target = target_of(wanted.path)
        lines = made_headers(
            settings,
            principal,
            method=wanted.method,
            target=target,
            audience=wanted.audience,
            request_id=uuid4().hex,
            now=time.time(),
        )
    except (ValueError, UnsafeIdentity) as error:
        raise DevError(f"the gateway would send no such request: {error}") from error
    replaced = {name.lower() for name, _ in wanted.headers}
    lines = [*(line for line in lines if line[0].lower() not in replaced), *wanted.headers]
    keys = [dict(key) for key in identity_keys(settings)]
    signed = settings.header.names()[SIGNED]
    curl = _curl(wanted.method, _origin(wanted.url) + target, lines, signed)
    key_set = json.dumps({"keys": keys}).encode()
    if wanted.as_json:
        document = {"headers": dict(lines), "curl": [line for _, line in curl], "jwks": json.loads(key_set)}
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        click.echo("".join(f"{name}: {value}\n" for name, value in lines))
        click.echo("\n".join(f"# {meaning}\n{line}" for meaning, line in curl))
        _note_of(settings, principal, wanted)
    if not keys:
        if wanted.serve_keys is not None:
            raise DevError(
                "--serve-keys has no public keys to serve: it goes with --sign, or with a key for EdDSA"
            )
        return
    if wanted.sign and directory.is_dir():
        keep(directory / SET_FILE, key_set.decode())
        note(f"its public key: {directory / SET_FILE}, a key set as the gateway serves it at {PATH}")
    if wanted.serve_keys is not None:
        asyncio.run(
            serve_keys(key_set, *wanted.serve_keys, lambda url: note(f"serving it at {url}, until Ctrl-C"))
        )


def signing_settings(
    settings: Settings, directory: Path, *, sign: bool, seconds: int | None = None
) -> Settings:
    """Return the settings with the data folder's own key, if they are to sign and have none.

    Raises:
        OSError: the key cannot be kept in `directory`.
    """
    signed = settings.signed
    if signed.identity == "off" and sign:
        directory.mkdir(parents=True, exist_ok=True)
        made = {"identity": "EdDSA", "key": SecretStr(signing_key(directory)), "seconds": DEFAULT_SECONDS}
        signed = signed.model_copy(update=made)
    if seconds is not None:
        signed = signed.model_copy(update={"seconds": seconds})
    return settings.model_copy(update={"signed": signed})


def signing_key(directory: Path) -> str:
    """Return the data folder's own key, an Ed25519 private key in PEM; make it if there is none."""
    return read_or_make(directory / KEY_FILE, lambda: generate_pem("EdDSA").decode("ascii").strip())


def _note_of(settings: Settings, principal: Principal, wanted: Wanted) -> None:
    note(f"{principal.email} is made up: role {principal.role}, permissions {len(principal.permissions)}")
    signed = settings.signed
    if signed.identity == "off":
        note("not signed; --sign signs, with a key of the data folder's own where none is configured")
        return
    note(
        f"signed by {signed.identity} for {wanted.method} and this path, as {signed.issuer} for {wanted.audience}, "
        f"good for {signed.seconds} s"
    )


def _origin(url: str) -> str:
    """Return the URL without a slash at its end, and with a scheme.

    Raises:
        DevError: it has a path or a query. The identity is signed for --path alone, so the service would refuse it.
    """
    url = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    if not fits or url.rstrip("/") != f"{parts.scheme}://{parts.netloc}":
        raise DevError(f"--url {url!r} should be http://host:port; a path goes into --path")
    return url.rstrip("/")


def _curl(method: str, url: str, lines: list[tuple[str, str]], signed: str) -> list[tuple[str, str]]:
    """Return lines of curl, each after what it does."""
    plain = [line for line in lines if line[0] != signed]
    asked = [("ask the service as the gateway does", _line(method, url, lines))]
    if len(plain) < len(lines):
        other = url.partition("?")[0].rstrip("/") + "/of-another-path"
        asked += [
            (
                "as a neighbour does, without a signature: a service that verifies answers 401",
                _line(method, url, plain),
            ),
            ("with the signature of another path: 401", _line(method, other, lines)),
        ]
    return asked


def _line(method: str, url: str, lines: list[tuple[str, str]]) -> str:
    headers = " ".join(f"-H {shlex.quote(f'{name}: {value}')}" for name, value in lines)
    # With -X HEAD curl would wait for the body that Content-Length announces.
    how = "-I" if method == "HEAD" else f"-i -X {shlex.quote(method)}"
    return f"curl -sS {how} {shlex.quote(url)} {headers}"
