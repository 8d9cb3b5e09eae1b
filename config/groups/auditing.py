"""Settings of the audit trail: where its records go, how long they stay, and what a process may have waiting."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from config.fields import Group

LEAST_DAYS: Final = 31
"""The database drops no month earlier after its end, whatever it is asked."""


def _days(value: int) -> int:
    if 0 < value < LEAST_DAYS:
        raise ValueError(f"should be 0, or {LEAST_DAYS} and more")
    return value


class Audit(Group):
    """The audit trail (docs/audit-trail.md)."""

    table: bool = Field(
        default=True,
        description="Sign-ins, refusals and changes are written to gateway_audit, for `whatomate-gateway audit-log` "
        "and /api/auth/audit.",
    )
    log: bool = Field(
        default=True, description="The same as events on standard output, at level info: `audit_sign_in`, …"
    )
    retention_days: Annotated[int, AfterValidator(_days)] = Field(
        400,
        ge=0,
        le=36_500,
        description="A month of the trail is dropped so many days after its end. 0: never; else 31 at least.",
    )
    buffer: int = Field(
        10_000,
        ge=100,
        le=1_000_000,
        description="Records that wait in each process while the database does not take them; past that they are "
        "counted as lost, and the trail says how many.",
    )
    refusals: int = Field(
        600,
        ge=1,
        le=1_000_000,
        description="Refusals and failures that each process records in a minute, a quarter of them of one client "
        "network; the others are counted, and the trail says how many.",
    )
