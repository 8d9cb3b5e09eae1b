"""Run of an audit: each check in turn, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.audit.check import BudgetSpent, CheckOutcome, NotApplicable, Result, Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from gateway.audit.check import Check
    from gateway.audit.target import Target


async def run(target: Target, checks: Iterable[Check]) -> AsyncIterator[Result]:
    """Yield the result of each check. One that budget, network or an answer cuts off is not run, and others follow."""
    for check in checks:
        try:
            await target.answers()
            findings = await check.run(target)
        except NotApplicable as why:
            yield Result(check, CheckOutcome.SKIPPED, note=str(why))
        except (BudgetSpent, Unreachable) as why:
            yield Result(check, CheckOutcome.NOT_RUN, note=str(why))
        except Exception as error:  # noqa: BLE001 -- what a hostile server brings about ends one check, not the audit
            yield Result(check, CheckOutcome.NOT_RUN, note=f"{type(error).__name__}: {error}")
        else:
            yield Result(check, CheckOutcome.FAILS if findings else CheckOutcome.HOLDS, tuple(findings))
