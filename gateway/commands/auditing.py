"""Command ``audit``: attacks a deployment as a stranger would, and reports what holds.

Laws:

- It asks nothing that is not named twice: as its argument or --upstream, and with --i-own.
- Exit codes: 0 all holds that could be looked at, 1 something does not, 2 it was called wrongly, 3 it could not finish.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import click

from gateway.commands.failing import FAILED, NOT_FOUND_OUT, AskingCommand
from gateway.commands.opening import note
from gateway.commands.parameters import FiniteRange

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.audit.asking import Url
    from gateway.audit.check import Result
    from gateway.audit.target import Target


def _path(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not value.startswith("/") or not value.isascii() or any(letter in value for letter in " ?#\r\n"):
        raise click.BadParameter("should be a path, such as /api/users")
    return value


def _path_option(name: str, default: str, meaning: str) -> Callable[[Any], Any]:
    return click.option(name, default=default, show_default=True, callback=_path, help=meaning)


def _bound(name: str, between: click.ParamType[Any], default: float, meaning: str) -> Callable[[Any], Any]:
    return click.option(name, type=between, default=default, show_default=True, help=meaning)


@click.command(cls=AskingCommand)
@click.argument("url")
@click.option(
    "--i-own",
    "owned",
    multiple=True,
    required=True,
    metavar="URL",
    help="The same URL again: that you may attack it.",
)
@click.option(
    "--upstream", metavar="URL", help="The service behind it, to be asked directly; named by --i-own too."
)
@_path_option("--protected", "/api/users", "A path that needs a credential.")
@_path_option("--public", "/health", "A path that needs none.")
@_path_option("--login", "/api/auth/login", "Where e-mail and password go.")
@click.option(
    "--sign-ins", is_flag=True, help="Also fail to sign in, up to 20 times: it counts for this address."
)
@click.option(
    "--known-email", default="", metavar="EMAIL", help="An account, to compare with e-mails that have none."
)
@_bound("--requests", click.IntRange(1, 10_000), 400, "Requests at most.")
@_bound("--rate", FiniteRange(0.1, 1000), 20, "Requests a second at most.")
@_bound("--timeout-seconds", FiniteRange(0.1, 60), 10, "Until an answer is given up.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True
)
def audit(  # noqa: PLR0913 - the options of the command
    *,
    url: str,
    owned: tuple[str, ...],
    upstream: str | None,
    protected: str,
    public: str,
    login: str,
    sign_ins: bool,
    known_email: str,
    requests: int,
    rate: float,
    timeout_seconds: float,
    form: str,
) -> None:
    """Attack the deployment at URL as a stranger would, and report what holds; only what you own.

    Example: whatomate-gateway audit https://api.example.com --i-own https://api.example.com
    """
    from gateway.audit.asking import Asker  # noqa: PLC0415 - only an audit needs it
    from gateway.audit.report import FORMS  # noqa: PLC0415 - likewise
    from gateway.audit.target import Target  # noqa: PLC0415 - likewise

    mine = [_origin(one) for one in owned]
    origin, behind = _named_twice(url, mine), None if upstream is None else _named_twice(upstream, mine)
    asker = Asker(requests, rate, timeout_seconds)
    target = Target(origin, asker, behind, protected, public, login, known_email, sign_ins)
    results = asyncio.run(_run(target))
    click.echo(FORMS[form](target, results), nl=False)
    outcomes = {str(result.outcome) for result in results}
    sys.exit(FAILED if "fails" in outcomes else NOT_FOUND_OUT if "not run" in outcomes else 0)


async def _run(target: Target) -> list[Result]:
    from gateway.audit.checks import CHECKS  # noqa: PLC0415 - only an audit needs it
    from gateway.audit.running import run  # noqa: PLC0415 - likewise

    results = []
    async for result in run(target, CHECKS):
        note(f"{result.outcome}: {result.check.id}")
        results.append(result)
    return results


def _origin(text: str) -> Url:
    from gateway.audit.asking import Url  # noqa: PLC0415 - only an audit needs it

    try:
        return Url.parse(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _named_twice(text: str, owned: list[Url]) -> Url:
    origin = _origin(text)
    if origin not in owned:
        raise click.UsageError(
            f"{origin} is attacked only if it is named twice: add --i-own {origin}, if you own it"
        )
    return origin
