"""Command ``settings``: a reference of all settings, as text, as the documentation page or as the chart's schema."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

import click

from config.describing import described, markdown, schema
from gateway.commands.listing import as_text, json_option

if TYPE_CHECKING:
    from config.describing import Described
    from gateway.commands.listing import Row


@click.command()
@click.argument("words", nargs=-1)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "schema"]),
    default="text",
    show_default=True,
    help="markdown and schema give all of them.",
)
@json_option
def settings(words: tuple[str, ...], form: str, *, as_json: bool) -> None:
    """List every setting, or those with all WORDS in their name or meaning."""
    if form == "markdown":
        click.echo(markdown(), nl=False)
        return
    if form == "schema":
        click.echo(json.dumps(schema(), indent=2, ensure_ascii=False))
        return
    wanted = [word.lower() for word in words]
    found = [
        one for one in described() if all(word in f"{one.name} {one.meaning}".lower() for word in wanted)
    ]
    if not found:
        raise click.ClickException(
            f"no setting has {' and '.join(words)} in its name or meaning; try one word less"
        )
    if as_json:
        click.echo(as_text([_fields(one) for one in found]))
        return
    for one in found:
        default = one.default or ("required" if one.is_required else "none")
        click.echo(f"{one.name}  ({one.kind}; {'default ' if one.default else ''}{default})")
        click.echo(textwrap.indent(textwrap.fill(one.meaning, 100), "    "))


def _fields(one: Described) -> Row:
    return {
        "name": one.name,
        "kind": one.kind,
        "default": one.default or None,
        "unit": one.unit or None,
        "is_required": one.is_required,
        "is_secret": one.is_secret,
        "meaning": one.meaning,
    }
