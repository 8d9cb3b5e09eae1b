"""Command ``check-config``: it reports every problem of a configuration, and with ``--connect`` of what is around it.

Laws:

- Words come first, then files, then connections; what is tried later builds on what was tried before.
- Every finding is one line that says what to do. Nothing is changed, and no secret is printed.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TextIO

import click

from authcore.tokens.inspection import inspect as explained
from config.browser_checks import cookie_doubts, cors_doubts
from config.delivery_checks import delivery_doubts
from config.health_checks import ejection_doubts
from config.issuer_checks import doubts
from config.limit_checks import limit_doubts
from config.listing import listing
from config.load import REQUIRED, ConfigError
from config.published_secrets import secret_doubts
from config.setting_doubts import effect_doubts, text_doubts
from config.sso_checks import sso_doubts
from config.tls_checks import tls_doubts
from gateway.assembly.key_ring import ring_of
from gateway.commands.opening import note, settings_for, warn
from gateway.commands.progress import working
from gateway.commands.tokens import EMPTY, signer_of, tokens_of
from gateway.commands.typed import SecretFile, given_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings


@click.command("check-config")
@click.option(
    "--connect",
    is_flag=True,
    help="Also connect: to the database (rights, schema, migrations), every upstream, and every other service.",
)
@click.option(
    "--token",
    type=SecretFile("r"),
    metavar="FILE",
    help="Prove the secret: a token of Whatomate's in a file, or - for standard input.",
)
def check_config(*, connect: bool, token: TextIO | None) -> None:
    """Read the configuration, report every problem, print what holds (secrets hidden).

    Exits with 0 if everything holds; with 2 if there is a problem, in the configuration or, with --connect or --token,
    in what was tried. A warning is no problem.
    """
    settings = settings_for(REQUIRED)
    ring_of(settings, time.time())
    from gateway.assembly.plan_warnings import off_the_air, plan_warnings  # noqa: PLC0415 - only serving needs the data plane
    from gateway.assembly.routes import check_routes  # noqa: PLC0415 - as above
    from gateway.assembly.signing import identity_keys  # noqa: PLC0415 - as above

    identity_keys(settings)
    doubtful = (
        *(cookie_doubts, cors_doubts, doubts, sso_doubts, limit_doubts),
        *(secret_doubts, delivery_doubts, ejection_doubts, text_doubts, effect_doubts),
    )
    for name, doubt in (one for doubts_of in doubtful for one in doubts_of(settings)):
        warn(f"{name}: {doubt}")
    plan = check_routes(settings)
    findings = [] if plan is None else list(off_the_air(plan, settings))
    for warning in [] if plan is None else plan_warnings(plan, settings):
        if warning not in findings:
            warn(warning)
    for doubt in tls_doubts(settings, plan, time.time()):
        warn(doubt)
    if token is not None:
        findings += _proof(settings, _token_in(token))
    if connect:
        from gateway.commands.connecting import database_findings  # noqa: PLC0415 - only --connect needs it
        from gateway.connecting.everything import connection_findings  # noqa: PLC0415 - as above

        with working("waiting for what is connected to"):
            findings += asyncio.run(connection_findings(settings, plan, database_findings))
    if findings:
        raise ConfigError(findings)
    for name, value in listing(settings):
        click.echo(f"{name}={value}")


def _token_in(file: TextIO) -> str:
    """Return the token of a file.

    Raises:
        click.UsageError: there is none in it, or it cannot be one.
    """
    token = given_text(file, "--token").lstrip().removeprefix("Bearer ").strip()
    if not token:
        raise click.UsageError(f"--token: {EMPTY}")
    return token


def _proof(settings: Settings, token: str) -> Iterator[str]:
    """Note by what a token is good; yield a problem if it is not.

    A token that has expired proves a secret as well as another.
    """
    found = explained(tokens_of(settings), token, time.time())
    if not found.is_genuine:
        yield (
            f"GATEWAY_JWT_SECRET: the token proves nothing: {found.reason}; compare the secret with Whatomate's, to "
            "the letter and without quotes or a line end, and take a token that Whatomate itself issued"
        )
        return
    note(f"token: good by {signer_of(found)}{f'; but {found.reason}' if found.reason else ''}")
    if found.reason and "issuer" in found.reason:
        yield f"GATEWAY_JWT_ISSUER: {found.reason}; set it to the iss of Whatomate's tokens"
