"""Commands ``quotas list|set|clear``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from authcore.quotas import MOST, Kind, Period, window
from gateway.assembly.quotas import usual_quotas
from gateway.commands.opening import DATABASE, administer, note, settings_for

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.quotas import Usual
    from authcore.store.quotas import Listed
    from gateway.commands.office import Office

_NONE: Final = "none"


class Amount(click.ParamType["int | str"]):
    """Parameter type of a quota: a number of requests, or ``none``."""

    name = "requests|none"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Parse `value`."""
        text = str(value)
        if text == _NONE:
            return text
        if not (text.isascii() and text.isdigit() and int(text) <= MOST):
            self.fail(f"{text!r} is neither a number of requests up to {MOST} nor {_NONE}", param, ctx)
        return int(text)


def _subject(key: UUID | None, organization: UUID | None) -> tuple[Kind, UUID]:
    """Return what a command is about.

    Raises:
        click.UsageError: neither is given, or both are.
    """
    if key is not None and organization is None:
        return Kind.API_KEY, key
    if organization is not None and key is None:
        return Kind.ORGANIZATION, organization
    raise click.UsageError("name one of --key and --organization")


@click.group("quotas")
def quotas() -> None:
    """Quotas of API keys and organizations: requests a day and a month (docs/quotas.md)."""


@quotas.command("set")
@click.option("--key", type=click.UUID, help="The id of the API key.")
@click.option("--organization", type=click.UUID, help="The id of the organization.")
@click.option(
    "--day", type=Amount(), help="Requests a UTC day; none for no quota, whatever the settings have."
)
@click.option("--month", type=Amount(), help="Requests a UTC month; none for no quota.")
def set_quotas(
    key: UUID | None, organization: UUID | None, day: int | str | None, month: int | str | None
) -> None:
    """Give an API key or an organization quotas of its own."""
    kind, subject = _subject(key, organization)
    wanted = {
        period: amount for period, amount in ((Period.DAY, day), (Period.MONTH, month)) if amount is not None
    }
    if not wanted:
        raise click.UsageError("name --day, --month or both")

    async def work(office: Office) -> None:
        for period, amount in wanted.items():
            await office.set_quota(kind, subject, period, amount if isinstance(amount, int) else None)

    administer(work)
    note(f"set; running gateways count by it from their next request of this {kind.words} on, within seconds")


@quotas.command("clear")
@click.option("--key", type=click.UUID, help="The id of the API key.")
@click.option("--organization", type=click.UUID, help="The id of the organization.")
def clear(key: UUID | None, organization: UUID | None) -> None:
    """Delete the quotas that an API key or an organization has of its own; those of the settings count then."""
    kind, subject = _subject(key, organization)
    cleared = administer(lambda office: office.clear_quotas(kind, subject))
    note(f"cleared: {', '.join(cleared)}" if cleared else "it had no quotas of its own")


@quotas.command("list")
@click.option("--organization", type=click.UUID, help="Only of this organization and its API keys.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_quotas(organization: UUID | None, *, as_json: bool) -> None:
    """List quotas and what is used of them today and in this month: kind, id, period, used, quota, name."""
    usual = usual_quotas(settings_for(DATABASE))
    now = datetime.now(UTC).timestamp()
    rows = [
        _described(row, usual, now)
        for row in administer(lambda office: office.list_quotas(organization, now))
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        limit = _NONE if row["limit"] is None else row["limit"]
        columns = (row["kind"], row["id"], row["period"], row["used"], limit, row["from"], row["name"])
        click.echo("\t".join(map(str, columns)))


def _described(row: Listed, usual: Usual, now: float) -> dict[str, object]:
    limit = row.most if row.is_own else usual.get((row.kind, row.period))
    ends = datetime.fromtimestamp(window(row.period, now).ends, UTC)
    return {
        "kind": row.kind.value,
        "id": str(row.subject),
        "name": row.name,
        "period": row.period.value,
        "used": row.used,
        "limit": limit,
        "remaining": None if limit is None else max(0, limit - row.used),
        "from": "own" if row.is_own else "settings",
        "resets_at": ends.isoformat().replace("+00:00", "Z"),
    }
