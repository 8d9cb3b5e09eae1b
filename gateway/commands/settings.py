"""Command ``settings``: a reference of all settings, as text, as the documentation page or as the chart's schema."""

from __future__ import annotations

import json
import textwrap

import click

from config.describing import described, markdown, schema


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
def settings(words: tuple[str, ...], form: str) -> None:
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
    for one in found:
        default = one.default or ("required" if one.is_required else "none")
        click.echo(f"{one.name}  ({one.kind}; {'default ' if one.default else ''}{default})")
        click.echo(textwrap.indent(textwrap.fill(one.meaning, 100), "    "))
