"""Commands ``invitations create|list|revoke``, for an operator, who may grant every role."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

from authcore.accounts.invitations import Invitations
from authcore.errors import RoleUnknown
from authcore.trail import Event
from gateway.commands.listing import Field, listed, text_of
from gateway.commands.opening import DATABASE, SECRET, id_of, note, run_with
from gateway.commands.parameters import Moment
from gateway.commands.tokens import tokens_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.store.invitations import InvitationRow
    from gateway.commands.listing import Row
    from gateway.commands.opening import Opened

T = TypeVar("T")


_organization_option = click.option(
    "--organization", required=True, help="The organization: its id, slug or name."
)


@click.group()
def invitations() -> None:
    """Invitations to register."""


@invitations.command("create")
@_organization_option
@click.option("--role", help="A role of that organization's; its default role when not given.")
@click.option("--email", help="The invited person; when not given, anybody who holds the invitation.")
@click.option(
    "--expires-at", type=Moment(), help="When it ends; after GATEWAY_INVITATION_SECONDS, when not given."
)
def create(organization: str, role: str | None, email: str | None, expires_at: datetime | None) -> None:
    """Create an invitation and print it, this once."""

    async def work(inviting: Invitations, services: Opened, now: float) -> tuple[InvitationRow, str]:
        if expires_at is not None and expires_at.timestamp() <= now:
            raise click.UsageError("--expires-at is in the past")
        store, where = services.store, await id_of(organization, services.users.organization)
        role_id = None if role is None else await store.role_id(where, role)
        if role is not None and role_id is None and await store.organization_exists(where):
            raise RoleUnknown
        made = await inviting.create(
            organization_id=where,
            now=now,
            role_id=role_id,
            email=email,
            expires_at=None if expires_at is None else expires_at.timestamp(),
        )
        await services.trail.record(
            Event.CREATE_INVITATION,
            target=made[0].id,
            organization_id=where,
            email=email,
            details={"role_id": role_id},
        )
        return made

    row, token = _invite(work)
    note(f"invitation {row.id}, good until {text_of(row.expires_at)}, shown this once:")
    click.echo(token)


@invitations.command("list")
@_organization_option
@listed(
    Field("id", "the invitation's id"),
    Field("expires_at", "when it ends"),
    Field("role_id", "the id of the role that it gives; null for the default one"),
    Field("email", "whom it is for; null for anybody who holds it", absent="anybody"),
)
def list_open(organization: str) -> Sequence[Row]:
    """List the invitations that may still be used, newest first."""

    async def work(inviting: Invitations, services: Opened, now: float) -> Sequence[InvitationRow]:
        where = await id_of(organization, services.users.organization)
        return await inviting.open_ones(where, now)

    return [
        {"id": row.id, "expires_at": row.expires_at, "role_id": row.role_id, "email": row.email}
        for row in _invite(work)
    ]


@invitations.command("revoke")
@click.argument("invitation_id", metavar="ID", type=click.UUID)
@_organization_option
def revoke(invitation_id: UUID, organization: str) -> None:
    """Take the invitation ID back."""

    async def work(inviting: Invitations, services: Opened, now: float) -> None:
        where = await id_of(organization, services.users.organization)
        await inviting.revoke(where, invitation_id, now)
        await services.trail.record(Event.REVOKE_INVITATION, target=invitation_id, organization_id=where)

    _invite(work)
    note(f"invitation {invitation_id} is revoked")


def _invite(work: Callable[[Invitations, Opened, float], Awaitable[T]]) -> T:
    async def run(services: Opened, now: float) -> T:
        settings = services.settings
        inviting = Invitations(services.store, tokens_of(settings), seconds=settings.invitation.seconds)
        return await work(inviting, services, now)

    return run_with(run, DATABASE | SECRET)
