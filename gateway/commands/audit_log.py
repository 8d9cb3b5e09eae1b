"""Commands ``audit-log`` and ``audit-log verify``: they list the records of the audit trail, and check its chain.

Law: nothing is written, and no gateway need run.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

import click

from authcore.store.trail import TrailFilter
from authcore.trail import AuditOutcome, ChainPosition, Event
from gateway.commands.failing import FAILED, AskingCommand
from gateway.commands.listing import Field, as_text, json_option, listed
from gateway.commands.opening import id_of, note, run_with
from gateway.commands.parameters import ROW_NUMBER, Moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from authcore.trail import ChainedRow
    from gateway.commands.listing import Row
    from gateway.commands.opening import Opened

_PLACE: Final = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")
MOST: Final = 10_000


class NotedRow(click.ParamType[ChainPosition]):
    """Parameter type of a row that was noted elsewhere: its number, a colon and its hash."""

    name = "seq:hash"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> ChainPosition:
        """Parse `value`."""
        match = _PLACE.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is no number, a colon and 64 hexadecimal digits", param, ctx)
        return ChainPosition(int(match[1]), bytes.fromhex(match[2]))


class ListsByDefault(click.Group):
    """Command group that lists if no command of it is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``list`` before arguments that name no command."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("audit-log", cls=ListsByDefault)
def audit_log() -> None:
    """List who signed in and changed what, or verify that nothing was done to the audit trail."""


@audit_log.command("list")
@click.option(
    "--since", type=Moment(ago=True), help="From then on: 2026-11-28T03:00:00Z, or 90m, 24h, 7d ago."
)
@click.option("--until", type=Moment(ago=True), help="Before then.")
@click.option("--user", help="What this user did, or what was done to them: the e-mail or id.")
@click.option("--email", help="The e-mail that a sign-in named.")
@click.option("--organization", help="Only of this one: its id, slug or name.")
@click.option("--event", type=click.Choice([one.value for one in Event]), help="Only this event.")
@click.option("--outcome", type=click.Choice([one.value for one in AuditOutcome]), help="Only this outcome.")
@click.option("--before", type=ROW_NUMBER, metavar="SEQ", help="Only rows with a lower number.")
@click.option("--limit", type=click.IntRange(1, MOST), default=100, show_default=True, help="Rows at most.")
@listed(
    Field("seq", "its number"),
    Field("at", "when it happened"),
    Field("event", "what happened"),
    Field("outcome", "success, refused or failed"),
    Field("reason", "why it was refused or failed"),
    Field("user_id", "the user who did it, if proved"),
    Field("email", "the e-mail that a sign-in named"),
    Field("operator", "the operating-system user of a command"),
    Field("target", "the id of what was changed"),
    Field("address", "the client's address"),
    Field("organization_id", "the organization acted in", in_table=False),
    Field("api_key_id", "the API key that was used", in_table=False),
    Field("session_id", "the session", in_table=False),
    Field("user_agent", "what the client calls itself", in_table=False),
    Field("request_id", "the id of the request in the access log", in_table=False),
    Field("details", "further facts", in_table=False),
    Field("written_at", "when the row was written", in_table=False),
    Field("hash", "SHA-256 of the row and the hash before it", in_table=False),
)
def list_records(  # noqa: PLR0913 - the options of the command
    *,
    since: datetime | None,
    until: datetime | None,
    user: str | None,
    email: str | None,
    organization: str | None,
    event: str | None,
    outcome: str | None,
    before: int | None,
    limit: int,
) -> Sequence[Row]:
    """List records of the audit trail, the last written first."""
    if since is not None and until is not None and since >= until:
        raise click.UsageError(
            "no moment is from --since on and before --until: --since should be the earlier one"
        )

    async def work(services: Opened, _: float) -> Sequence[ChainedRow]:
        which = TrailFilter(
            since=since,
            until=until,
            user_id=None if user is None else await id_of(user, services.users.user),
            email=email,
            organization_id=(
                None if organization is None else await id_of(organization, services.users.organization)
            ),
            event=event,
            outcome=outcome,
            before=before,
        )
        return await services.store.list_trail(which, limit)

    return [_row(one) for one in run_with(work)]


@audit_log.command("verify", cls=AskingCommand)
@click.option(
    "--expect",
    type=NotedRow(),
    metavar="SEQ:HASH",
    help="A row noted elsewhere, such as of the event audit_head: the trail must still have it.",
)
@json_option
def verify(*, expect: ChainPosition | None, as_json: bool) -> None:
    """Check the whole chain, and name the first row that was changed, moved or taken away.

    Exits with 0 if nothing is wrong, with 1 if something is, and with 3 if that cannot be found out.
    """
    check = run_with(lambda services, _: services.store.check_trail(expect))
    last = f"{check.last.seq}:{check.last.hash.hex()}"
    if as_json:
        click.echo(as_text({"rows": check.rows, "last": last, "broken": check.broken or None}))
    elif not check.broken:
        click.echo(f"{check.rows} rows are as they were written; the last is {last}")
    if check.broken:
        note(f"Error: the audit trail is broken: {check.broken}; {check.rows} rows before it are right")
        sys.exit(FAILED)


def _row(row: ChainedRow) -> Row:
    record = row.record
    return {
        **{name: getattr(record, name) for name in record.__slots__},
        "details": dict(record.facts),
        "seq": row.seq,
        "written_at": row.written_at,
        "hash": row.hash.hex(),
    }
