"""Commands ``users …``: they create, list, change and switch off users, and change their memberships.

Law: a password is typed at a prompt or read from standard input, and is never an argument.
"""

from __future__ import annotations

import secrets
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from authcore.store.directory_rows import UserFilter
from gateway.commands.listing import Field, aligned, as_text, json_option, listed, text_of
from gateway.commands.opening import HEARD, administer, administer_users, id_of, note, run_with
from gateway.commands.typed import given_text, typed_password

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authcore.accounts.user_administration import UserAdministration
    from authcore.store.directory_rows import UserRow
    from authcore.store.origins import Vouched
    from gateway.commands.listing import Row
    from gateway.commands.opening import Opened


@click.group()
def users() -> None:
    """Users."""


_stdin_option = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
_generate_option = click.option(
    "--generate-password", is_flag=True, help="Make a password and print it, once."
)
_even_last_option = click.option(
    "--even-last", is_flag=True, help="Even if nobody who may manage users is left in an organization."
)


@users.command("create")
@click.option("--email", required=True)
@click.option("--name", required=True, help="The full name.")
@click.option("--organization", required=True, help="The home organization: its id, slug or name.")
@click.option("--role", help="A role of that organization's; its default role when not given.")
@click.option("--super-admin", is_flag=True, help="Every permission in every organization.")
@_stdin_option
@_generate_option
def create_user(  # noqa: PLR0913 - the options of the command
    *,
    email: str,
    name: str,
    organization: str,
    role: str | None,
    super_admin: bool,
    password_stdin: bool,
    generate_password: bool,
) -> None:
    """Create a user and print their id. The password is asked for, unless an option says otherwise."""
    password = _password(from_stdin=password_stdin, generated=generate_password)

    async def work(services: Opened, _: float) -> UUID:
        return await services.administration.create_user(
            email=email,
            password=password,
            full_name=name,
            organization_id=await id_of(organization, services.users.organization),
            role=role,
            is_super_admin=super_admin,
        )

    click.echo(run_with(work))
    if generate_password:
        _print_password(password)


@users.command("unlock")
@click.option("--email", required=True, help="The e-mail; it need not have an account yet.")
def unlock(email: str) -> None:
    """Forget the failed sign-ins of an e-mail, so that the next one need not wait.

    Those of the client's address stay: they are other people's too.
    """
    forgotten = administer(lambda admin: admin.unlock(email.strip()))
    note("forgotten" if forgotten else "nothing had failed")


@users.command("vouch")
@click.option("--email", "emails", multiple=True, help="Of an account; may be given several times.")
@click.option(
    "--organization",
    help="Its id, slug or name: for all accounts at home there, except those that registered by themselves.",
)
def vouch(emails: tuple[str, ...], organization: str | None) -> None:
    """Note that the e-mails of accounts are theirs, so that a foreign issuer's tokens find them.

    Accounts that `users create` makes, that come by an invitation to their e-mail, or that use Whatomate's single
    sign-on need no such word.
    """
    if bool(emails) == (organization is not None):
        raise click.UsageError("name accounts by --email, or the organization whose accounts they are")

    named = [email.strip() for email in emails]

    async def work(services: Opened, _: float) -> Vouched:
        where = None if organization is None else await id_of(organization, services.users.organization)
        return await services.administration.vouch(named, where)

    vouched, found = run_with(work)
    note(f"vouched for {vouched} of {found} accounts")
    if not found:
        raise click.ClickException("no account has that e-mail or organization; `users create` makes one")


_STATES: Final = {"active": True, "disabled": False, "all": None}


@users.command("list")
@click.option("--organization", help="Only members of it: its id, slug or name.")
@click.option("--state", type=click.Choice([*_STATES]), default="all", show_default=True)
@click.option("--super-admin", is_flag=True, help="Only super admins.")
@click.option("--search", metavar="TEXT", help="Only those with TEXT in the e-mail or the name, in any case.")
@listed(
    Field("id", "the user's id"),
    Field("email", "the e-mail, as stored"),
    Field("full_name", "the full name"),
    Field("is_active", "false: switched off"),
    Field("is_super_admin", "every permission in every organization"),
    Field("role", "the role in that organization"),
    Field("organization", "the name of the organization asked for, else of the home"),
    Field("organization_id", "its id", in_table=False),
    Field("has_password", "false: signs in by single sign-on alone", in_table=False),
    Field("sso_provider", "the provider that the account is bound to", in_table=False),
    Field("created_at", "when the account was made", in_table=False),
)
def list_users(
    *, organization: str | None, state: str, super_admin: bool, search: str | None
) -> Sequence[Row]:
    """List users, by e-mail."""

    async def work(admin: UserAdministration, _: float) -> Sequence[UserRow]:
        wanted = UserFilter(
            organization_id=None if organization is None else await admin.organization(organization),
            is_active=_STATES[state],
            is_super_admin=super_admin or None,
            text=search,
        )
        return await admin.users(wanted)

    return [asdict(row) for row in administer_users(work)]


@users.command("show")
@click.argument("user")
@json_option
def show_user(user: str, *, as_json: bool) -> None:
    """Show USER (an e-mail or id): the account, the memberships, and how much is signed in."""

    async def work(admin: UserAdministration, now: float) -> tuple[Row, Sequence[Row]]:
        row, memberships, holdings = await admin.profile(await admin.user(user), now)
        return {**asdict(row), **asdict(holdings)}, [asdict(one) for one in memberships]

    account, memberships = administer_users(work)
    if as_json:
        click.echo(as_text({**account, "memberships": memberships}))
        return
    lines = [(name, text_of(value)) for name, value in account.items()]
    for one in memberships:
        is_default = ", default" if one["is_default"] else ""
        where = f"{text_of(one['organization'])} ({one['organization_id']}{is_default})"
        lines.append(("member of", f"{where} as {text_of(one['role'], 'no role')}"))
    for line in aligned(lines):
        click.echo(line)


@users.command("disable")
@click.argument("user")
@_even_last_option
def disable(user: str, *, even_last: bool) -> None:
    """Switch USER (an e-mail or id) off: sessions, sockets, tokens and API keys are good no more."""

    async def work(admin: UserAdministration, now: float) -> int:
        return await admin.disable(await admin.user(user), now, even_last=even_last)

    ended = administer_users(work)
    note(f"{user} is switched off, {_sessions(ended)} ended; {HEARD}")


@users.command("enable")
@click.argument("user")
def enable(user: str) -> None:
    """Switch USER (an e-mail or id) on. Sessions that ended stay so; API keys are good again."""

    async def work(admin: UserAdministration, _: float) -> None:
        await admin.enable(await admin.user(user))

    administer_users(work)
    note(f"{user} is switched on; {HEARD}")


@users.command("set-password")
@click.argument("user")
@_stdin_option
@_generate_option
def set_password(user: str, *, password_stdin: bool, generate_password: bool) -> None:
    """Give USER (an e-mail or id) a password, and end their sessions.

    The password is asked for, unless an option says otherwise.
    """
    password = _password(from_stdin=password_stdin, generated=generate_password)

    async def work(admin: UserAdministration, now: float) -> int:
        return await admin.set_password(await admin.user(user), password, now)

    ended = administer_users(work)
    note(f"{user} has a new password, {_sessions(ended)} ended, API keys go on; {HEARD}")
    if generate_password:
        _print_password(password)


@users.command("add-to")
@click.argument("user")
@click.argument("organization")
@click.option("--role", help="A role of that organization's, by name or id; its default role when not given.")
def add_to(user: str, organization: str, role: str | None) -> None:
    """Make USER (an e-mail or id) a member of ORGANIZATION (an id, slug or name)."""

    async def work(admin: UserAdministration, _: float) -> None:
        await admin.add_to(await admin.user(user), await admin.organization(organization), role)

    administer_users(work)
    note(f"{user} is a member of {organization}; {HEARD}")


@users.command("remove-from")
@click.argument("user")
@click.argument("organization")
@_even_last_option
def remove_from(user: str, organization: str, *, even_last: bool) -> None:
    """End the membership of USER (an e-mail or id) in ORGANIZATION (an id, slug or name), with all access to it."""

    async def work(admin: UserAdministration, now: float) -> bool:
        user_id = await admin.user(user)
        await admin.remove_from(user_id, await admin.organization(organization), even_last=even_last)
        row, _, _ = await admin.profile(user_id, now)
        return row.is_super_admin

    is_super_admin = administer_users(work)
    note(f"{user} is no member of {organization} any more; {HEARD}")
    if is_super_admin:
        note(f"{user} is a super admin, and as such may act in every organization all the same")


@users.command("role")
@click.argument("user")
@click.argument("organization")
@click.argument("role")
@_even_last_option
def change_role(user: str, organization: str, role: str, *, even_last: bool) -> None:
    """Give USER (an e-mail or id) in ORGANIZATION (an id, slug or name) another ROLE of it (a name or id)."""

    async def work(admin: UserAdministration, _: float) -> None:
        user_id, organization_id = await admin.user(user), await admin.organization(organization)
        await admin.set_role(user_id, organization_id, role, even_last=even_last)

    administer_users(work)
    note(f"{user} has the role {role} in {organization}; {HEARD}")


def _password(*, from_stdin: bool, generated: bool) -> str:
    """Return a new password: a made one, the one on standard input, or the one typed twice.

    Raises:
        click.UsageError: it is asked for in two ways.
    """
    if from_stdin and generated:
        raise click.UsageError("--password-stdin and --generate-password exclude each other")
    if generated:
        return secrets.token_urlsafe(18)
    if from_stdin:
        return given_text(sys.stdin, "--password-stdin").removesuffix("\n").removesuffix("\r")
    return typed_password()


def _print_password(password: str) -> None:
    note("the password, shown this once:")
    click.echo(password)


def _sessions(number: int) -> str:
    return "1 session has" if number == 1 else f"{number} sessions have"
