"""Usage endpoint ``/api/auth/usage``: the quotas of the caller's API key and organization, and what is left of them.

Laws:

- A caller sees what counts for the caller's own requests, and nobody else's. Asking is free.
- The figures are the database's: without it the answer is 503, and never one process's share.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pydantic import Field

from authcore.errors import StoreUnavailable
from authcore.quotas import Period, SubjectKind, window
from gateway.endpoints.bodies import success
from gateway.endpoints.describing import Answer
from gateway.endpoints.endpoint import CREDENTIAL, Endpoint
from gateway.endpoints.moments import SecondsZ

if TYPE_CHECKING:
    from uuid import UUID

    from aiohttp import web

    from config.settings import Settings
    from gateway.endpoints.caller import Caller
    from gateway.endpoints.services import Services


class UsedAnswer(Answer):
    """Requests in one period."""

    used: int = Field(
        description="Requests let through, and those that running gateways hold for the next ones."
    )
    limit: int | None = Field(description="The quota; null for none.")
    remaining: int | None = Field(description="What is left of it; null without a quota.")
    resets_at: SecondsZ = Field(description="When the period ends.")


class PeriodsAnswer(Answer):
    """Requests today and in this month, by UTC."""

    day: UsedAnswer
    month: UsedAnswer


class UsageAnswer(Answer):
    """Quotas that the caller's requests count against."""

    organization: PeriodsAnswer
    api_key: PeriodsAnswer | None = Field(
        description="Of the API key that asks; null for any other credential."
    )


async def own(services: Services, _request: web.Request, caller: Caller) -> web.Response:
    """Answer with the usage of the caller's organization, and of the API key that asks."""
    now = await services.now()
    key = None if caller.key_id is None else await _periods(services, SubjectKind.API_KEY, caller.key_id, now)
    organization = await _periods(services, SubjectKind.ORGANIZATION, caller.organization_id, now)
    return success(UsageAnswer(organization=organization, api_key=key))


async def _periods(services: Services, kind: SubjectKind, subject: UUID, now: float) -> PeriodsAnswer:
    if services.quotas is None:
        raise StoreUnavailable
    standings = await services.quotas.usage(kind, subject, now)
    found = {
        period.value: UsedAnswer(
            used=standing.used,
            limit=standing.most,
            remaining=None if standing.most is None else max(0, standing.most - standing.used),
            resets_at=datetime.fromtimestamp(window(period, now).ends, UTC),
        )
        for period, standing in standings.items()
    }
    return PeriodsAnswer(day=found[Period.DAY], month=found[Period.MONTH])


def _counted(settings: Settings) -> bool:
    return settings.quotas


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/auth/usage",
        tag="Quotas",
        summary="Show what one's own requests have used of their quotas",
        detail="With a credential of any kind. The request itself is not counted.",
        access=CREDENTIAL,
        handler=own,
        organization="any",
        answer=UsageAnswer,
        when=_counted,
    ),
)
