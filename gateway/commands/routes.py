"""Commands ``routes …``: they print the route file's schema, the current routes, and the access matrix."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from config.load import ConfigError, load_settings
from config.route_plan import read_plan
from config.routes import schema
from gateway.commands.listing import Field, as_text, json_option, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.route_plan import RoutePlan
    from gateway.commands.listing import Row


@click.group()
def routes() -> None:
    """Show the routes of GATEWAY_ROUTES and GATEWAY_PRESET."""


@routes.command("schema")
def show_schema() -> None:
    """Print the JSON Schema of route files, for editors."""
    click.echo(json.dumps(schema(), indent=2))


@routes.command("list")
@listed(
    Field("name", "the route's name"),
    Field("matches", "host, methods and path; a route with several is listed with each"),
    Field("needs", "the credential and the permissions"),
    Field("upstream", "where it goes"),
    Field("origin", "the file and line, or the preset"),
)
def list_routes() -> Sequence[Row]:
    """List every route, one row for each thing that it matches."""
    from gateway.assembly.matrix import needs  # noqa: PLC0415 - only this command needs the data plane

    return [
        {
            "name": planned.entry.name,
            "matches": str(case),
            "needs": needs(planned.entry),
            "upstream": planned.entry.upstream,
            "origin": planned.origin,
        }
        for planned in _plan().routes
        for case in planned.cases
    ]


@routes.command("matrix")
@json_option
def show_matrix(*, as_json: bool) -> None:
    """Print which system role may use which endpoint, as a Markdown table."""
    from gateway.assembly.matrix import WHO, matrix  # noqa: PLC0415 - see above

    rows = matrix(_plan())
    if as_json:
        found = [
            {"endpoint": row.endpoint, "needs": row.needs, **{name: name in row.granted for name in WHO}}
            for row in rows
        ]
        click.echo(as_text(found))
        return
    click.echo(f"| endpoint | needs | {' | '.join(WHO)} |")
    click.echo("|---" * (len(WHO) + 2) + "|")
    for row in rows:
        marks = " | ".join("yes" if name in row.granted else "-" for name in WHO)
        click.echo(f"| `{row.endpoint}` | {row.needs} | {marks} |")


def _plan() -> RoutePlan:
    # The URL of GATEWAY_UPSTREAM_URL does not matter here.
    unset = {"GATEWAY_UPSTREAM_URL": "http://upstream:80"}
    plan = read_plan(load_settings(defaults=unset, required=frozenset()))
    if plan is None:
        raise ConfigError(["neither GATEWAY_ROUTES nor GATEWAY_PRESET is set; set one of the two"])
    return plan
