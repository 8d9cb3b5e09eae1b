"""Commands ``orgs`` and ``users``: they create the first organization and users, before anybody can register."""

from __future__ import annotations

import asyncio
import secrets
import sys
from typing import TYPE_CHECKING

import click

from gateway.commands.opening import DATABASE, administer, note, opened, settings_for

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.store.origins import Vouched


@click.group()
def orgs() -> None:
    """Organizations."""


@orgs.command("create")
@click.argument("name")
@click.option("--slug", help="A unique short name; made of NAME when not given.")
def create_organization(name: str, slug: str | None) -> None:
    """Create the organization NAME with its roles admin, manager and agent, and print its id."""
    click.echo(administer(lambda office: office.create_organization(name, slug)))


@click.group()
def users() -> None:
    """Users."""


@users.command("create")
@click.option("--email", required=True)
@click.option("--name", required=True, help="The full name.")
@click.option("--organization", type=click.UUID, required=True, help="The id of the home organization.")
@click.option("--role", help="A role of that organization's; its default role when not given.")
@click.option("--super-admin", is_flag=True, help="Every permission in every organization.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--generate-password", is_flag=True, help="Make a password and print it, once.")
def create_user(  # noqa: PLR0913 - the options of the command
    *,
    email: str,
    name: str,
    organization: UUID,
    role: str | None,
    super_admin: bool,
    password_stdin: bool,
    generate_password: bool,
) -> None:
    """Create a user and print their id. The password is asked for, unless an option says otherwise."""
    if password_stdin and generate_password:
        raise click.UsageError("--password-stdin and --generate-password exclude each other")
    if generate_password:
        password = secrets.token_urlsafe(18)
    elif password_stdin:
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    user_id = administer(
        lambda office: office.create_user(
            email=email,
            password=password,
            full_name=name,
            organization_id=organization,
            role=role,
            is_super_admin=super_admin,
        )
    )
    click.echo(user_id)
    if generate_password:
        note("the password, shown this once:")
        click.echo(password)


@users.command("unlock")
@click.option("--email", required=True, help="The e-mail; it need not have an account yet.")
def unlock(email: str) -> None:
    """Forget the failed sign-ins of an e-mail, so that the next one need not wait.

    Those of the client's address stay: they are other people's too.
    """

    async def work() -> int:
        async with opened(settings_for(DATABASE)) as (_, store, _):
            return await store.forget_attempts(email.strip())

    note("forgotten" if asyncio.run(work()) else "nothing had failed")


@users.command("vouch")
@click.option("--email", "emails", multiple=True, help="Of an account; may be given several times.")
@click.option(
    "--organization",
    type=click.UUID,
    help="For all accounts at home there, except those that registered by themselves.",
)
def vouch(emails: tuple[str, ...], organization: UUID | None) -> None:
    """Note that the e-mails of accounts are theirs, so that a foreign issuer's tokens find them.

    Accounts that `users create` makes, that come by an invitation to their e-mail, or that use Whatomate's single
    sign-on need no such word.
    """
    if bool(emails) == (organization is not None):
        raise click.UsageError("name accounts by --email, or the organization whose accounts they are")

    async def work() -> Vouched:
        async with opened(settings_for(DATABASE)) as (_, store, _):
            return await store.vouch([email.strip() for email in emails], organization)

    vouched, found = asyncio.run(work())
    note(f"vouched for {vouched} of {found} accounts")
    if not found:
        raise click.ClickException("no account has that e-mail or organization; `users create` makes one")
