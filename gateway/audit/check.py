"""Audit check: its declaration, and the outcomes that it can have.

Law: a check is a declaration and a function. The function returns its findings, each a sentence of what was asked and
what came back; without one, what the check proves holds. It raises NotApplicable if it can conclude nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.audit.target import Target


class NotApplicable(Exception):
    """The check cannot say anything of this target; the message says why."""


class BudgetSpent(Exception):
    """The audit has sent as many requests as it may."""


class Unreachable(Exception):
    """A target does not take connections."""


class CheckOutcome(StrEnum):
    """Outcome of a check."""

    HOLDS = "holds"
    FAILS = "fails"
    SKIPPED = "skipped"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Check:
    """Check of the audit.

    Attributes:
        id: Short and stable: the rule of a report.
        title: What is attacked, in a few words.
        proves: What holds if nothing is found.
        remedy: What to do if something is.
        run: Looks, and returns the findings.
    """

    id: str
    title: str
    proves: str
    remedy: str
    run: Callable[[Target], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Result:
    """Result of one check.

    Attributes:
        check: The check.
        outcome: How it ended.
        findings: What was found; empty unless it fails.
        note: Why the check could conclude nothing; empty otherwise.
    """

    check: Check
    outcome: CheckOutcome
    findings: tuple[str, ...] = ()
    note: str = ""
