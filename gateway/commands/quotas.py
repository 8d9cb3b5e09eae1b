"""Commands ``quotas list|set|clear``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from authcore.moments import moment
from authcore.quotas import MOST, Period, SubjectKind, window
from gateway.assembly.quotas import usual_quotas
from gateway.commands.listing import Field, listed
from gateway.commands.opening import id_of, note, run_with

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authcore.quotas import Usual
    from authcore.store.quotas import Listed
    from gateway.commands.listing import Row
    from gateway.commands.opening import Opened

_NONE: Final = "none"
_DIGITS: Final = 20
"""Most digits of a number that are read: Python refuses to read thousands of them."""


class Amount(click.ParamType["int | str"]):
    """Parameter type of a quota: a number of requests, or ``none``."""

    name = "requests|none"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Parse `value`."""
        text = str(value)
        if text == _NONE:
            return text
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) <= MOST):
            self.fail(f"{text!r} is neither a number of requests up to {MOST} nor {_NONE}", param, ctx)
        return int(text)


def _check_one(key: UUID | None, organization: str | None) -> None:
    """Check that a command is about one thing.

    Raises:
        click.UsageError: neither is given, or both are.
    """
    if (key is None) == (organization is None):
        raise click.UsageError("name one of --key and --organization")


async def _subject(services: Opened, key: UUID | None, organization: str | None) -> tuple[SubjectKind, UUID]:
    """Return the subject of a command: an API key, else an organization."""
    if key is not None:
        return SubjectKind.API_KEY, key
    return SubjectKind.ORGANIZATION, await id_of(organization or "", services.users.organization)


@click.group("quotas")
def quotas() -> None:
    """Quotas of API keys and organizations: requests a day and a month (docs/quotas.md)."""


@quotas.command("set")
@click.option("--key", type=click.UUID, help="The id of the API key.")
@click.option("--organization", help="The organization: its id, slug or name.")
@click.option(
    "--day", type=Amount(), help="Requests a UTC day; none for no quota, whatever the settings have."
)
@click.option("--month", type=Amount(), help="Requests a UTC month; none for no quota.")
def set_quotas(
    key: UUID | None, organization: str | None, day: int | str | None, month: int | str | None
) -> None:
    """Give an API key or an organization quotas of its own."""
    _check_one(key, organization)
    wanted = {
        period: amount for period, amount in ((Period.DAY, day), (Period.MONTH, month)) if amount is not None
    }
    if not wanted:
        raise click.UsageError("name --day, --month or both")

    async def work(services: Opened, _: float) -> SubjectKind:
        kind, subject = await _subject(services, key, organization)
        for period, amount in wanted.items():
            most = amount if isinstance(amount, int) else None
            await services.administration.set_quota(kind, subject, period, most)
        return kind

    kind = run_with(work)
    note(f"set; running gateways count by it from their next request of this {kind.words} on, within seconds")


@quotas.command("clear")
@click.option("--key", type=click.UUID, help="The id of the API key.")
@click.option("--organization", help="The organization: its id, slug or name.")
def clear(key: UUID | None, organization: str | None) -> None:
    """Delete the quotas that an API key or an organization has of its own; those of the settings count then."""
    _check_one(key, organization)

    async def work(services: Opened, _: float) -> Sequence[Period]:
        return await services.administration.clear_quotas(*await _subject(services, key, organization))

    cleared = run_with(work)
    note(f"cleared: {', '.join(cleared)}" if cleared else "it had no quotas of its own")


@quotas.command("list")
@click.option("--organization", help="Only of this organization (its id, slug or name) and its API keys.")
@listed(
    Field("kind", "api_key or organization"),
    Field("id", "its id"),
    Field("period", "day or month, of UTC"),
    Field("used", "requests so far"),
    Field("limit", "the quota; null for none", absent=_NONE),
    Field("from", "own, or settings"),
    Field("name", "the key's or organization's name"),
    Field("remaining", "what is left of it", in_table=False),
    Field("resets_at", "when it begins anew", in_table=False),
)
def list_quotas(organization: str | None) -> Sequence[Row]:
    """List quotas and what is used of them today and in this month."""

    async def work(services: Opened, now: float) -> Sequence[Row]:
        where = None if organization is None else await id_of(organization, services.users.organization)
        usual = usual_quotas(services.settings)
        return [_described(row, usual, now) for row in await services.administration.list_quotas(where, now)]

    return run_with(work)


def _described(row: Listed, usual: Usual, now: float) -> Row:
    limit = row.most if row.is_own else usual.get((row.kind, row.period))
    return {
        "kind": row.kind.value,
        "id": row.subject,
        "name": row.name,
        "period": row.period.value,
        "used": row.used,
        "limit": limit,
        "remaining": None if limit is None else max(0, limit - row.used),
        "from": "own" if row.is_own else "settings",
        "resets_at": moment(window(row.period, now).ends),
    }
