"""Commands ``invitations create|list|revoke``, for an operator, who may grant every role."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import click

from authcore.accounts.invitations import Invitations
from authcore.errors import RoleUnknown
from authcore.trail import Event
from gateway.commands.api_keys import Moment
from gateway.commands.opening import DATABASE, SECRET, note, opened, settings_for
from gateway.commands.tokens import tokens_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from authcore.store.invitations import InvitationRow
    from gateway.commands.opening import Opened

T = TypeVar("T")


@click.group()
def invitations() -> None:
    """Invitations to register."""


@invitations.command("create")
@click.option("--organization", type=click.UUID, required=True, help="The id of the organization.")
@click.option("--role", help="A role of that organization's; its default role when not given.")
@click.option("--email", help="The invited person; when not given, anybody who holds the invitation.")
@click.option(
    "--expires-at", type=Moment(), help="When it ends; after GATEWAY_INVITATION_SECONDS, when not given."
)
def create(organization: UUID, role: str | None, email: str | None, expires_at: datetime | None) -> None:
    """Create an invitation and print it, this once."""
    now = time.time()
    if expires_at is not None and expires_at.timestamp() <= now:
        raise click.UsageError("--expires-at is in the past")

    async def work(inviting: Invitations, services: Opened) -> tuple[InvitationRow, str]:
        store = services.store
        role_id = None if role is None else await store.role_id(organization, role)
        if role is not None and role_id is None and await store.organization_exists(organization):
            raise RoleUnknown
        made = await inviting.create(
            organization_id=organization,
            now=now,
            role_id=role_id,
            email=email,
            expires_at=None if expires_at is None else expires_at.timestamp(),
        )
        await services.trail.record(
            Event.CREATE_INVITATION,
            target=made[0].id,
            organization_id=organization,
            email=email,
            details={"role_id": role_id},
        )
        return made

    row, token = _invite(work)
    note(f"invitation {row.id}, good until {_moment(row.expires_at)}, shown this once:")
    click.echo(token)


@invitations.command("list")
@click.option("--organization", type=click.UUID, required=True, help="The id of the organization.")
def list_open(organization: UUID) -> None:
    """List the invitations that may still be used, newest first: id, expiry, role, e-mail."""
    for row in _invite(lambda inviting, _: inviting.open_ones(organization, time.time())):
        click.echo(
            "\t".join((str(row.id), _moment(row.expires_at), str(row.role_id or "-"), row.email or "anybody"))
        )


@invitations.command("revoke")
@click.argument("invitation_id", metavar="ID", type=click.UUID)
@click.option("--organization", type=click.UUID, required=True, help="The id of the organization.")
def revoke(invitation_id: UUID, organization: UUID) -> None:
    """Take the invitation ID back."""

    async def work(inviting: Invitations, services: Opened) -> None:
        await inviting.revoke(organization, invitation_id, time.time())
        await services.trail.record(
            Event.REVOKE_INVITATION, target=invitation_id, organization_id=organization
        )

    _invite(work)
    note(f"invitation {invitation_id} is revoked")


def _invite(work: Callable[[Invitations, Opened], Awaitable[T]]) -> T:
    settings = settings_for(DATABASE | SECRET)

    async def run() -> T:
        async with opened(settings) as services:
            inviting = Invitations(services.store, tokens_of(settings), seconds=settings.invitation.seconds)
            return await work(inviting, services)

    return asyncio.run(run())


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
