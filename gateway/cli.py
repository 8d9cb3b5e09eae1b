"""Command line ``whatomate-gateway``.

Laws:

- Errors are printed on standard error, one line for each problem, without a traceback and without a secret.
- Exit codes: 0 done, 1 failed, 2 called or configured wrongly.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from authcore.crypto.key_directory import KeysUnusable
from authcore.errors import AuthError, StoreUnavailable
from authcore.store.migrate import MigrationChanged
from authcore.store.schema import SchemaUnfit
from authcore.store.triggers import TriggersRefused
from config.load import ConfigError
from config.route_file import RoutesRefused
from gateway.commands.accounts import orgs, users
from gateway.commands.advice import advised
from gateway.commands.api_keys import api_keys
from gateway.commands.auditing import audit
from gateway.commands.echo import echo
from gateway.commands.explaining import explain
from gateway.commands.health import health
from gateway.commands.invitations import invitations
from gateway.commands.keys import keys
from gateway.commands.opening import refusal
from gateway.commands.quotas import quotas
from gateway.commands.routes import routes
from gateway.commands.serving import check_config, dev, migrate, serve
from gateway.commands.settings import settings
from gateway.commands.tokens import token
from gateway.version import running_version

MISCONFIGURED: Final = 2


class Commands(click.Group):
    """Command group that turns our exceptions into messages and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and print its error if it raises one."""
        try:
            try:
                return super().invoke(ctx)
            except StoreUnavailable as error:
                raise refusal(error) from error
        except (ConfigError, RoutesRefused) as error:
            for problem in error.problems:
                click.echo(f"Error: {problem}", err=True)
            sys.exit(MISCONFIGURED)
        except (AuthError, MigrationChanged, SchemaUnfit, TriggersRefused) as error:
            raise click.ClickException(advised(error)) from error
        except KeysUnusable as error:
            click.echo(f"Error: GATEWAY_JWT_KEYS_DIR: {error}", err=True)
            sys.exit(MISCONFIGURED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(running_version())
def main() -> None:
    """An authenticating HTTP gateway for Whatomate and the services around it.

    Settings are read from GATEWAY_* variables, GATEWAY_*_FILE, .env and GATEWAY_SECRETS_DIR; check-config shows them.
    """


_COMMANDS = (
    serve,
    dev,
    echo,
    migrate,
    check_config,
    settings,
    explain,
    audit,
    health,
    orgs,
    users,
    api_keys,
    keys,
    token,
    routes,
    invitations,
    quotas,
)
for _command in _COMMANDS:
    main.add_command(_command)
