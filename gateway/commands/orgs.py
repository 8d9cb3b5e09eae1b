"""Commands ``orgs create|list``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gateway.commands.listing import Field, listed
from gateway.commands.opening import administer, administer_users

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.commands.listing import Row


@click.group()
def orgs() -> None:
    """Organizations."""


@orgs.command("create")
@click.argument("name")
@click.option(
    "--slug", help="A unique short name of a-z, 0-9 and single hyphens; made of NAME when not given."
)
def create_organization(name: str, slug: str | None) -> None:
    """Create the organization NAME with its roles admin, manager and agent, and print its id."""
    click.echo(administer(lambda admin: admin.create_organization(name, slug)))


@orgs.command("list")
@listed(
    Field("id", "the organization's id"),
    Field("slug", "its unique short name"),
    Field("name", "its name"),
    Field("members", "how many users are members, those who are switched off too"),
    Field("api_keys", "how many API keys it has, expired and revoked ones too"),
    Field("created_at", "when it was made"),
)
def list_organizations() -> Sequence[Row]:
    """List organizations, by name."""
    return [asdict(row) for row in administer_users(lambda admin, _: admin.organizations())]
