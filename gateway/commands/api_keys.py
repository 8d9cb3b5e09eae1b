"""Commands ``api-keys create|list|revoke``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from authcore.identity.api_keys import PREFIX
from authcore.moments import moment
from gateway.commands.listing import Field, listed
from gateway.commands.opening import HEARD, administer, administer_users, id_of, note, run_with
from gateway.commands.parameters import Moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authcore.accounts.user_administration import UserAdministration
    from authcore.store.directory_rows import KeyEntry
    from authcore.store.rows import ApiKeyListing
    from gateway.commands.listing import Row
    from gateway.commands.opening import Opened


@click.group("api-keys")
def api_keys() -> None:
    """API keys."""


@api_keys.command("create")
@click.option("--user", required=True, help="The user the key acts as: the e-mail or id.")
@click.option("--organization", required=True, help="The organization it acts in: its id, slug or name.")
@click.option("--name", required=True, help="What it is for.")
@click.option("--expires-at", type=Moment(), help="When it ends; never, when not given.")
def create(user: str, organization: str, name: str, expires_at: datetime | None) -> None:
    """Create a key and print it, this once."""

    async def work(services: Opened, now: float) -> tuple[ApiKeyListing, str]:
        if expires_at is not None and expires_at.timestamp() <= now:
            raise click.UsageError("--expires-at is in the past")
        admin = services.users
        user_id, where = await admin.user(user), await id_of(organization, admin.organization)
        return await services.administration.create_api_key(user_id, where, name, expires_at)

    row, key = run_with(work)
    note(f"key {row.id}, shown this once:")
    click.echo(key)


_LONGEST: Final = 16
"""Characters of a key, after its tag, that rows have."""


class Beginning(click.ParamType[str]):
    """Parameter type of the beginning of an API key, with or without ``whm_`` and the ellipsis of lists."""

    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse `value`."""
        text = str(value).removeprefix(PREFIX).removesuffix("…")
        if not 0 < len(text) <= _LONGEST:
            known = f"1 to {_LONGEST} characters after {PREFIX}"
            self.fail(f"give {known}: others on this machine can read arguments", param, ctx)
        return text


@api_keys.command("list")
@click.option("--organization", help="Only of this organization: its id, slug or name.")
@click.option("--user", help="Only those that act as this user: the e-mail or id.")
@click.option("--state", type=click.Choice(["active", "expired", "revoked"]), help="Only in this state.")
@click.option("--prefix", type=Beginning(), help="Only those that begin so, as a leaked one or as in a list.")
@click.option(
    "--expiring",
    type=click.IntRange(1, 36_500),
    metavar="DAYS",
    help="Only active ones that expire within so many days.",
)
@listed(
    Field("id", "the key's id"),
    Field("prefix", "how the key begins"),
    Field("state", "active, expired or revoked"),
    Field("expires_at", "when it ends; null for never", absent="never"),
    Field("last_used_at", "its last use, to the minute or so", absent="never"),
    Field("name", "what it is for"),
    Field("email", "the e-mail of the user that it acts as; null where the user is gone"),
    Field("organization", "the name of the organization that it acts in; null where that is gone"),
    Field("user_id", "the user's id", in_table=False),
    Field("organization_id", "the organization's id", in_table=False),
    Field("created_at", "when it was made", in_table=False),
)
def list_keys(
    *,
    organization: str | None,
    user: str | None,
    state: str | None,
    prefix: str | None,
    expiring: int | None,
) -> Sequence[Row]:
    """List keys, newest first."""

    async def work(admin: UserAdministration, now: float) -> Sequence[Row]:
        found = await admin.api_keys(
            user_id=None if user is None else await admin.user(user),
            organization_id=None if organization is None else await admin.organization(organization),
            prefix=prefix,
        )
        return [_described(key, moment(now)) for key in found if _expires(key, expiring, moment(now))]

    return [row for row in administer_users(work) if state in {None, row["state"]}]


@api_keys.command("revoke")
@click.argument("key_id", metavar="ID", type=click.UUID)
def revoke(key_id: UUID) -> None:
    """Switch the key ID off."""
    administer(lambda admin: admin.revoke_api_key(key_id))
    note(f"key {key_id} is revoked; {HEARD}")


def _described(key: KeyEntry, now: datetime) -> Row:
    return {**asdict(key), "prefix": f"{PREFIX}{key.key_prefix}…", "state": _state(key, now)}


def _state(key: KeyEntry, now: datetime) -> str:
    if not key.is_active:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"


def _expires(key: KeyEntry, days: int | None, now: datetime) -> bool:
    """Return whether an active key expires within `days`; any key does within None."""
    if days is None:
        return True
    return (
        _state(key, now) == "active"
        and key.expires_at is not None
        and key.expires_at - now <= timedelta(days=days)
    )
