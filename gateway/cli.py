"""Command line ``whatomate-gateway``.

Laws:

- Errors are printed on standard error, one line for each problem, without a traceback and without a secret.
- Exit codes are those of ``EXIT_CODES`` in :mod:`gateway.commands.failing`.
- The module of a command is imported when that command is run, and no other's is: ``--version``, ``--help`` and
  completion of the first word import none of them.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
from click.shell_completion import CompletionItem

from gateway.version import running_build

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class LazyCommand(NamedTuple):
    """Command that is imported when it is called: where it is defined, and what it does.

    Attributes:
        module: Of ``gateway.commands``.
        name: The command's variable there.
        meaning: What ``--help`` says of it: the first sentence of its docstring (a test compares them).
    """

    module: str
    name: str
    meaning: str


COMMANDS: Final[Mapping[str, LazyCommand]] = {
    "api-keys": LazyCommand("api_keys", "api_keys", "API keys."),
    "audit": LazyCommand(
        "auditing",
        "audit",
        "Attack the deployment at URL as a stranger would, and report what holds; only what you own.",
    ),
    "audit-log": LazyCommand(
        "audit_log",
        "audit_log",
        "List who signed in and changed what, or verify that nothing was done to the audit trail.",
    ),
    "check-config": LazyCommand(
        "checking",
        "check_config",
        "Read the configuration, report every problem, print what holds (secrets hidden).",
    ),
    "completion": LazyCommand(
        "manual",
        "completion",
        "Print the script that completes commands, options and their values in SHELL.",
    ),
    "dev": LazyCommand(
        "dev",
        "dev",
        "Run a gateway to try: with a PostgreSQL, an upstream and users of its own, until Ctrl-C.",
    ),
    "echo": LazyCommand(
        "echo",
        "echo",
        "Answer every request with that request, as JSON: what an upstream of the gateway receives.",
    ),
    "explain": LazyCommand(
        "explaining",
        "explain",
        "Explain what would become of METHOD PATH: route, caller, what is missing, what the upstream would get.",
    ),
    "health": LazyCommand(
        "health",
        "health",
        "Ask the gateway that listens on GATEWAY_ADMIN_LISTEN whether it is alive; print its answer.",
    ),
    "invitations": LazyCommand("invitations", "invitations", "Invitations to register."),
    "keys": LazyCommand("keys", "keys", "Keys that sign and verify tokens."),
    "limits": LazyCommand(
        "limits",
        "limits",
        "Limits on callers: rates, requests at once, quotas, and the waits after failed sign-ins.",
    ),
    "man": LazyCommand(
        "manual",
        "man",
        "Print the manual page of all commands; install it as /usr/share/man/man1/whatomate-gateway.1.",
    ),
    "migrate": LazyCommand(
        "serving",
        "migrate",
        "Bring the schema up; an existing Whatomate database keeps its rows and columns as they are.",
    ),
    "orgs": LazyCommand("orgs", "orgs", "Organizations."),
    "quotas": LazyCommand(
        "quotas",
        "quotas",
        "Quotas of API keys and organizations: requests a day and a month (docs/quotas.md).",
    ),
    "routes": LazyCommand("routes", "routes", "Show the routes of GATEWAY_ROUTES and GATEWAY_PRESET."),
    "serve": LazyCommand("serving", "serve", "Run the gateway until SIGTERM or SIGINT."),
    "sessions": LazyCommand("sessions", "sessions", "Sessions of users."),
    "settings": LazyCommand(
        "settings", "settings", "List every setting, or those with all WORDS in their name or meaning."
    ),
    "token": LazyCommand("tokens", "token", "Tokens."),
    "users": LazyCommand("users", "users", "Users."),
}


class LazyCommands(MutableMapping[str, click.Command]):
    """Mapping of names to commands, which imports a command's module when the command is looked up."""

    def __init__(self, lazy: Mapping[str, LazyCommand]) -> None:
        self._lazy = lazy
        self._found: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._found:
            lazy = self._lazy[name]
            command = getattr(import_module(f"gateway.commands.{lazy.module}"), lazy.name)
            if not isinstance(command, click.Command):
                raise TypeError(f"gateway.commands.{lazy.module}.{lazy.name} is no command")
            self._found[name] = command
        return self._found[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._found[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"the command {name} cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._lazy, *self._found}))

    def __len__(self) -> int:
        return len({*self._lazy, *self._found})


class Commands(click.Group):
    """Command group that turns our exceptions into messages and an exit code."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; one that is not UTF-8 is refused, since no table and no token can hold it."""
        odd = () if ctx.resilient_parsing else [one for one in enumerate(args, 1) if not one[1].isascii()]
        if odd:
            from config.text import is_utf8  # noqa: PLC0415 -- most arguments are ASCII

            for number, argument in odd:
                if not is_utf8(argument):  # it may be a secret, so it is not quoted
                    raise click.UsageError(f"argument {number} is not UTF-8 text", ctx)
        try:
            return super().parse_args(ctx, args)
        except OSError as error:  # --help and --version print here
            from gateway.commands.failing import report  # noqa: PLC0415 -- dear, and only a failure needs it

            report(error)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and print its error if it raises one."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            from gateway.commands.failing import report  # noqa: PLC0415 -- dear, and only a failure needs it

            report(error)
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their meanings, and import none of them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.meaning) for name, lazy in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin with `incomplete`, and the options, and import no command."""
        commands = [
            CompletionItem(name, help=lazy.meaning)
            for name, lazy in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 -- click's
    if not wanted or context.resilient_parsing:
        return
    build = running_build()
    click.echo(f"whatomate-gateway, version {build.version}")
    click.echo(f"python     {build.python}")
    click.echo(f"warm path  {'compiled' if build.is_compiled else 'interpreted'}")
    click.echo(f"commit     {build.commit or 'unknown'}")
    context.exit()


@click.group(
    cls=Commands,
    commands=LazyCommands(COMMANDS),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version, that of Python, whether the warm path is compiled, and the commit.",
)
def main() -> None:
    """An authenticating HTTP gateway for Whatomate and the services around it.

    Settings are read from GATEWAY_* variables, GATEWAY_*_FILE, .env and GATEWAY_SECRETS_DIR; check-config shows them.
    """
