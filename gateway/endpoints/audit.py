"""Audit trail endpoint ``/api/auth/audit``: records of the trail, the last written first, a page at a time.

Laws:

- A caller with ``audit_logs:read`` sees the records of the organization that they act in; a super admin those of all.
- In the records of one organization, a switch of organizations is shown without the ids of other organizations.
- A page is bounded, and begins after the last row of the one before: rows that are written meanwhile move no page.
- A filter that cannot be read is refused: to ignore it would answer with records that were not asked for.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, StringConstraints

from authcore.accounts.texts import is_searchable
from authcore.errors import PermissionDenied
from authcore.store.trail import TrailFilter
from authcore.trail import Event
from gateway.endpoints.bodies import read_query, success
from gateway.endpoints.describing import Answer
from gateway.endpoints.endpoint import Endpoint, permission

if TYPE_CHECKING:
    from aiohttp import web

    from authcore.trail import ChainedRow
    from config.settings import Settings
    from gateway.endpoints.caller import Caller
    from gateway.endpoints.services import Services

LARGEST_PAGE: Final = 200


def _storable(text: str) -> str:
    if not is_searchable(text):
        raise ValueError("no row holds such a text")
    return text


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("it is before the year 1 or after the year 9999 in UTC") from None


_Text = Annotated[str, StringConstraints(max_length=255), AfterValidator(_storable)]
_Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class AuditQuery(BaseModel):
    """Query of the list of records: a record has to fit every parameter that is given."""

    since: _Moment | None = Field(None, description="What happened from then on; RFC 3339 with an offset.")
    until: _Moment | None = Field(None, description="What happened before then.")
    user: UUID | None = Field(None, description="What this user did, or what was done to them.")
    email: _Text | None = Field(None, description="The e-mail that a sign-in named, in any case.")
    organization: UUID | None = Field(
        None, description="For a super admin's token: of this organization alone."
    )
    event: _Text | None = Field(None, description="One event, such as `sign_in`.")
    outcome: Literal["success", "refused", "failed"] | None = Field(None, description="One outcome.")
    before: Annotated[int, Field(ge=1, lt=2**63)] | None = Field(
        None, description="Only rows with a lower `seq`: `next` of the page before."
    )
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = Field(
        50, description=f"Records on a page; {LARGEST_PAGE} at most."
    )


class AuditRecordAnswer(Answer):
    """Record of the trail; null for what does not apply."""

    seq: int = Field(description="Its number.")
    at: datetime = Field(description="When it happened.")
    written_at: datetime
    event: str
    outcome: str
    reason: str | None
    user_id: UUID | None
    email: str | None
    organization_id: UUID | None
    api_key_id: UUID | None
    session_id: UUID | None
    operator: str | None = Field(description="The operating-system user of a command.")
    target: str | None = Field(description="The id of what was changed.")
    address: str | None
    user_agent: str | None
    request_id: str | None
    details: dict[str, Any]
    hash: str = Field(description="SHA-256 of the row and the hash before it, hexadecimal.")


class AuditPageAnswer(Answer):
    """Page of records, the last written first."""

    records: list[AuditRecordAnswer]
    next: int | None = Field(description="`before` of the next page; null if this is the last one.")


async def list_records(services: Services, request: web.Request, caller: Caller) -> web.Response:
    """Answer with a page of records."""
    asked = read_query(request, AuditQuery)
    organization = asked.organization
    is_of_all = caller.key_id is None and caller.identity.get("user_super_admin") == "true"
    if not is_of_all:
        if organization not in {None, caller.organization_id}:
            raise PermissionDenied("Only a super admin reads another organization's records")
        organization = caller.organization_id
    which = TrailFilter(
        since=asked.since,
        until=asked.until,
        user_id=asked.user,
        email=asked.email,
        organization_id=organization,
        event=asked.event,
        outcome=asked.outcome,
        before=asked.before,
    )
    rows = await services.trail.find(which, asked.limit + 1)
    page = rows[: asked.limit]
    return success(
        AuditPageAnswer(
            records=[_answer(row, None if is_of_all else organization) for row in page],
            next=page[-1].seq if len(rows) > len(page) else None,
        )
    )


def _answer(row: ChainedRow, organization: UUID | None) -> AuditRecordAnswer:
    """Return the answer for a record. `organization` is the one whose records the caller reads; None for all."""
    record, details = row.record, dict(row.record.facts)
    fields = {name: getattr(record, name) for name in AuditRecordAnswer.model_fields if hasattr(record, name)}
    if organization is not None and record.event == Event.SWITCH_ORGANIZATION:
        own = str(organization)
        fields["target"] = own if record.target == own else None
        details = {name: one for name, one in details.items() if name != "from" or one == own}
    more = {"seq": row.seq, "written_at": row.written_at, "hash": row.hash.hex(), "details": details}
    return AuditRecordAnswer(**{**fields, **more})


def _is_written(settings: Settings) -> bool:
    return settings.audit.table


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/auth/audit",
        tag="Audit trail",
        summary="List who signed in and changed what, the last first",
        detail="Of the organization acted in; for a super admin's token, of all. docs/audit-trail.md has the events.",
        access=permission("audit_logs:read"),
        handler=list_records,
        organization="any",
        query=AuditQuery,
        answer=AuditPageAnswer,
        complaints=("limit is not valid",),
        when=_is_written,
    ),
)
