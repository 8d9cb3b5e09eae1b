"""Commands ``routes …``: they print the route file's schema, the current routes, and the access matrix."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from config.load import load_settings
from config.route_file import read_plan
from config.routes import schema
from gateway.commands.opening import note

if TYPE_CHECKING:
    from config.route_file import RoutePlan


@click.group()
def routes() -> None:
    """Show the routes of GATEWAY_ROUTES and GATEWAY_PRESET."""


@routes.command("schema")
def show_schema() -> None:
    """Print the JSON Schema of route files, for editors."""
    click.echo(json.dumps(schema(), indent=2))


@routes.command("list")
def list_routes() -> None:
    """Print every route: its name, what it matches, what it needs, where it goes, where it is written."""
    from gateway.assembly.matrix import needs  # noqa: PLC0415 - only this command needs the data plane

    for planned in _plan().routes:
        entry = planned.entry
        for case in planned.cases:
            click.echo("\t".join((entry.name, str(case), needs(entry), entry.upstream, planned.origin)))


@routes.command("matrix")
def show_matrix() -> None:
    """Print which system role may use which endpoint, as a Markdown table."""
    from gateway.assembly.matrix import WHO, matrix  # noqa: PLC0415 - see above

    click.echo(f"| endpoint | needs | {' | '.join(WHO)} |")
    click.echo("|---" * (len(WHO) + 2) + "|")
    for row in matrix(_plan()):
        marks = " | ".join("yes" if name in row.granted else "-" for name in WHO)
        click.echo(f"| `{row.endpoint}` | {row.needs} | {marks} |")


def _plan() -> RoutePlan:
    # The URL of GATEWAY_UPSTREAM_URL does not matter here.
    unset = {"GATEWAY_UPSTREAM_URL": "http://upstream:80"}
    plan = read_plan(load_settings(defaults=unset, required=frozenset()))
    if plan is None:
        note("neither GATEWAY_ROUTES nor GATEWAY_PRESET is set")
        raise SystemExit(2)
    return plan
