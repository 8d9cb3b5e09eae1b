"""Command ``explain``: a dry run that says what would become of a request, and why.

Law: it is answered by the settings, the route file and the database, or by a running gateway; nothing is sent on.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import structlog

from config.load import REQUIRED
from config.route_plan import RoutesRefused
from gateway.commands.failing import FAILED, AskingCommand
from gateway.commands.opening import settings_for
from gateway.commands.running import ask_running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings


@click.command(cls=AskingCommand)
@click.argument("method")
@click.argument("path")
@click.option(
    "--as", "person", metavar="WHO", help="An e-mail address, a user id, or name@organization (its slug)."
)
@click.option(
    "--organization", help="Where they act, if not in their own organization: its id, slug or name."
)
@click.option(
    "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A field line; may be repeated."
)
@click.option("--client", metavar="ADDRESS", help="Where it comes from, for the limits by network.")
@click.option("--host", default="localhost", show_default=True, help="The Host that is asked for.")
@click.option(
    "--gateway",
    "url",
    metavar="URL",
    help="Ask a running gateway, at its admin listener, with GATEWAY_ADMIN_TOKEN; http://127.0.0.1:8081.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole document.")
def explain(  # noqa: PLR0913 - the options of the command
    *,
    method: str,
    path: str,
    person: str | None,
    organization: str | None,
    headers: tuple[str, ...],
    client: str | None,
    host: str,
    url: str | None,
    as_json: bool,
) -> None:
    """Explain what would become of METHOD PATH: route, caller, what is missing, what the upstream would get.

    Without --as, and without a credential among the headers, nobody asks. Exits with 0 when it may pass, with 1 when
    not, and with 3 when that cannot be found out.

    Example: whatomate-gateway explain --as agent@demo GET /api/users
    """
    if organization is not None and person is None:
        raise click.UsageError("--organization goes with --as")
    pairs = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise click.UsageError(f"--header {name!r} should be 'NAME: VALUE'")
        pairs.append((name.strip(), value.strip()))
    asked = {
        "method": method.upper(),
        "path": path,
        "host": host,
        "headers": pairs,
        "as": person,
        "organization": organization,
        **({} if client is None else {"client": client}),
    }
    document = json.dumps(asked).encode()
    explanation = (
        _answered(document) if url is None else _answered_by(url, document, settings_for(frozenset()))
    )
    click.echo(json.dumps(explanation, indent=2) if as_json else "\n".join(_lines(explanation)))
    sys.exit(0 if explanation["verdict"]["allowed"] else FAILED)


@contextmanager
def _events_on_stderr() -> Iterator[None]:
    """Write the events of a gateway that is built for one question to standard error, since its answer is a result."""
    before = structlog.get_config()
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    try:
        yield
    finally:
        structlog.configure(**before)


def _answered(document: bytes) -> dict[str, Any]:
    """Answer by the settings and the database."""
    # The data plane is imported only by the command that needs it.
    from gateway.assembly.explaining import explain_once  # noqa: PLC0415 - see above
    from gateway.faults import BadRequest, GatewayFault  # noqa: PLC0415 - see above

    try:
        with _events_on_stderr():
            return asyncio.run(explain_once(settings_for(REQUIRED), document))
    except BadRequest as error:  # such as a method that is none
        raise click.UsageError(str(error)) from error
    except (GatewayFault, RoutesRefused) as error:
        raise click.ClickException(str(error)) from error


def _answered_by(url: str, document: bytes, settings: Settings) -> dict[str, Any]:
    """Return the explanation of a running gateway."""
    explanation = ask_running(url, "/explain", settings, document)
    if "verdict" not in explanation:
        raise click.ClickException(
            f"{url} does not answer as a gateway's admin listener: it explains nothing"
        )
    return explanation


def _lines(explanation: dict[str, Any]) -> list[str]:
    """Return the document as an operator reads it."""
    verdict, route, principal = explanation["verdict"], explanation.get("route"), explanation.get("principal")
    lines = [f"request     {explanation['request']['method']} {explanation['request']['target']}"]
    if route is not None:
        lines.append(f"route       {route['name']} ({_needs(route)}) to {route['upstream']}")
    if "credential" in explanation:
        lines.append(f"credential  {explanation['credential']}")
    if principal is not None:
        lines.append(f"caller      {_caller(principal)}")
    lines += [f"limit       {_limit(limit)}" for limit in explanation.get("limits", ())]
    if explanation.get("preflight"):
        lines.append("verdict     answered by the gateway: pages of this origin may call")
    elif explanation.get("answered_by_gateway"):
        lines.append("verdict     answered by the gateway: the methods that it takes")
    elif verdict["allowed"]:
        lines.append("verdict     may pass")
        if shadow := verdict.get("shadow"):
            lines.append(f"shadow      would be refused with {shadow['status']}: {shadow['message']}")
        upstream = explanation["upstream"]
        lines += [
            f"upstream    {upstream['name']} gets {explanation['request']['method']} {upstream['target']}"
        ]
        lines += [f"            {name}: {value}" for name, value in upstream["headers"]]
        if upstream["removed"]:
            lines.append(f"removed     {', '.join(upstream['removed'])}")
    else:
        lines.append(f"verdict     refused with {verdict['status']}: {verdict['message']}")
        missing = verdict.get("missing") or verdict.get("missing_any_of")
        if missing:
            which = "all of" if "missing" in verdict else "one of"
            lines.append(f"missing     {which} {', '.join(missing)}")
    return lines


def _needs(route: dict[str, Any]) -> str:
    needs = [str(route["auth"])]
    if "require" in route:
        needs.append("all of " + ", ".join(route["require"]))
    if "any" in route:
        needs.append("one of " + ", ".join(route["any"]))
    if "credentials" in route:
        needs.append("by " + " or ".join(route["credentials"]))
    return "; ".join([*needs, "in shadow"] if route["shadow"] else needs)


def _limit(limit: dict[str, Any]) -> str:
    words = [
        f"{limit['name']} by {' and '.join(limit['key'])}: {'grants it' if limit['grants'] else 'refuses it'}"
    ]
    words += [f"{units} left of {name}" for name, units in limit.get("left", {}).items()]
    if "at_once" in limit:
        words.append(f"{limit['at_work']} of {limit['at_once']} at work")
    if "retry_after_seconds" in limit:
        words.append(f"again in {limit['retry_after_seconds']} s")
    return "; ".join([*words, "in shadow"] if limit["shadow"] else words)


def _caller(principal: dict[str, Any]) -> str:
    if principal.get("anonymous"):
        return "nobody"
    role = "super admin" if principal["super_admin"] else principal["role"] or "no role"
    return f"{principal['email']} ({role}) in organization {principal['organization_id']}"
