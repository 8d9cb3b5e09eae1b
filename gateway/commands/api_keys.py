"""Commands ``api-keys create|list|revoke``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from gateway.commands.opening import HEARD, administer, note

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.store.rows import ApiKeyListing
    from gateway.commands.office import Office


class Moment(click.ParamType[datetime]):
    """Parameter type of a moment in RFC 3339 with an offset: without one, the time zone would have to be guessed."""

    name = "date-time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse `value`."""
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a moment such as 2030-12-31T23:59:59Z", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no time zone; write 2030-12-31T23:59:59Z", param, ctx)
        return moment


@click.group("api-keys")
def api_keys() -> None:
    """API keys."""


@api_keys.command("create")
@click.option("--user", "email", required=True, help="The e-mail of the user the key acts as.")
@click.option("--organization", type=click.UUID, required=True, help="The id of the organization it acts in.")
@click.option("--name", required=True, help="What it is for.")
@click.option("--expires-at", type=Moment(), help="When it ends; never, when not given.")
def create(email: str, organization: UUID, name: str, expires_at: datetime | None) -> None:
    """Create a key and print it, this once."""
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise click.UsageError("--expires-at is in the past")

    async def work(office: Office) -> tuple[ApiKeyListing, str]:
        user = await office.find_user(email)
        return await office.create_api_key(user, organization, name, expires_at)

    row, key = administer(work)
    note(f"key {row.id}, shown this once:")
    click.echo(key)


@api_keys.command("list")
@click.option("--organization", type=click.UUID, required=True, help="The id of the organization.")
def list_keys(organization: UUID) -> None:
    """List an organization's keys, newest first: id, beginning, state, expiry, last use, name."""
    for row in administer(lambda office: office.list_api_keys(organization)):
        click.echo(
            "\t".join(
                (
                    str(row.id),
                    f"whm_{row.key_prefix}…",
                    _state(row),
                    _moment(row.expires_at),
                    _moment(row.last_used_at),
                    row.name,
                )
            )
        )


@api_keys.command("revoke")
@click.argument("key_id", metavar="ID", type=click.UUID)
def revoke(key_id: UUID) -> None:
    """Switch the key ID off."""
    administer(lambda office: office.revoke_api_key(key_id))
    note(f"key {key_id} is revoked; {HEARD}")


def _state(row: ApiKeyListing) -> str:
    if not row.is_active:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= datetime.now(UTC) else "active"


def _moment(value: datetime | None) -> str:
    return (
        "never"
        if value is None
        else value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    )
