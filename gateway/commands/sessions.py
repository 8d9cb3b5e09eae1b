"""Commands ``sessions list|end``, of all users."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gateway.commands.listing import Field, listed
from gateway.commands.opening import HEARD, administer_users, note

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authcore.accounts.user_administration import UserAdministration
    from authcore.store.directory_rows import SessionEntry
    from gateway.commands.listing import Row


@click.group()
def sessions() -> None:
    """Sessions of users."""


@sessions.command("list")
@click.option("--user", help="Only of this user: the e-mail or id.")
@click.option("--organization", help="Only those that act in it: its id, slug or name.")
@listed(
    Field("id", "the session's id"),
    Field("email", "the user's e-mail"),
    Field("user_id", "the user's id", in_table=False),
    Field("organization", "the name of the organization that it acts in"),
    Field("organization_id", "its id", in_table=False),
    Field("last_used_at", "the last sign-in or refresh in it"),
    Field("created_at", "when it began", in_table=False),
    Field("expires_at", "when its last token expires", in_table=False),
    Field("address", "the client's address at the last use"),
    Field("device", "the client's User-Agent then"),
)
def list_sessions(*, user: str | None, organization: str | None) -> Sequence[Row]:
    """List live sessions, those used last first."""

    async def work(admin: UserAdministration, now: float) -> Sequence[SessionEntry]:
        user_id = None if user is None else await admin.user(user)
        organization_id = None if organization is None else await admin.organization(organization)
        return await admin.sessions(user_id, organization_id, now)

    return [asdict(row) for row in administer_users(work)]


@sessions.command("end")
@click.argument("session_id", metavar="[ID]", type=click.UUID, required=False)
@click.option("--user", help="All sessions of this user: the e-mail or id.")
@click.option(
    "--provider",
    type=click.Choice(["google", "microsoft", "github", "facebook", "custom"]),
    help="All sessions that this kind of identity provider began, of all users.",
)
def end(session_id: UUID | None, user: str | None, provider: str | None) -> None:
    """End the session ID, or all sessions of a user or a provider. Sockets of an ended session are closed."""
    if sum(one is not None for one in (session_id, user, provider)) != 1:
        raise click.UsageError("name one session by its ID, a user by --user, or a provider by --provider")

    async def work(admin: UserAdministration, now: float) -> int:
        if session_id is not None:
            await admin.end_session(session_id, now)
            return 1
        if provider is not None:
            return await admin.end_provider_sessions(provider, now)
        return await admin.end_sessions(await admin.user(user or ""), now)

    ended = administer_users(work)
    note(f"ended {ended} session{'' if ended == 1 else 's'}; {HEARD}")
