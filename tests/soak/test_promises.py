"""The soak's ledger finds what it is there for: a law that does not hold is noted, and one that holds is not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.soak.measures import Measure
from tests.soak.promises import NOTICE_SECONDS, Ledger, Promise
from tests.soak.report import MORE_DESCRIPTORS, MORE_MEBIBYTES, verdict, written

CACHE, STALE = 3.0, 60.0
HEALTHY = Measure(mebibytes=80, descriptors=50, connections=9, threads=8)


def told(changes: str, database: str = "ok") -> Any:
    seconds = 0.0 if changes == "pushed" else CACHE
    return {
        "revocation": {"changes": changes, "at_most_seconds": seconds},
        "checks": {"database": database},
    }


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(Promise(cache_seconds=CACHE, stale_seconds=STALE))


def promised(ledger: Ledger, answer: Any, until: float = 100) -> None:
    for tenth in range(int(until * 10)):
        ledger.promise.note(tenth / 10, answer)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (told("pushed"), 0),
        (told("unproven"), CACHE),
        (told("away"), CACHE + STALE),
        (told("pushed", "unreachable (timeout)"), CACHE + STALE),
        (told("pushed", "refuses (read_only)"), 0),
    ],
)
def test_the_revoked_are_served_for_as_long_as_was_promised_and_no_longer(
    ledger: Ledger, answer: Any, seconds: float
) -> None:
    promised(ledger, answer)
    bound = seconds + NOTICE_SECONDS
    ledger.revoked("x", 200, revoked=99 - bound + 0.1, asked=99)
    assert ledger.broken == []
    ledger.revoked("x", 200, revoked=99 - bound - 0.1, asked=99)
    assert len(ledger.broken) == 1


def test_a_promise_of_before_the_database_was_back_holds_no_more(ledger: Ledger) -> None:
    promised(ledger, told("away"), until=90)
    for tenth in range(900, 1000):
        ledger.promise.note(tenth / 10, told("pushed"))
    assert ledger.promise.bound(91) == NOTICE_SECONDS + CACHE + STALE
    assert ledger.promise.bound(99) == NOTICE_SECONDS


def test_before_a_slow_database_the_revoked_may_be_served_a_little_longer(ledger: Ledger) -> None:
    ledger.promise.round_trip = 0.4
    promised(ledger, told("pushed"))
    assert ledger.promise.bound(99) == NOTICE_SECONDS + 4


def test_a_machine_that_is_busy_has_that_long(ledger: Ledger) -> None:
    promised(ledger, told("pushed"))
    ledger.promise.note(98.5, told("pushed"), 1.5)
    assert ledger.promise.bound(99) == NOTICE_SECONDS + 1.5


@pytest.mark.parametrize("status", [0, 401, 403, 500, 502, 503])
def test_of_the_known_nobody_may_be_refused(ledger: Ledger, status: int) -> None:
    ledger.known("x", 200, 0.1)
    assert ledger.broken == []
    ledger.known("x", status, 0.1)
    assert len(ledger.broken) == 1


@pytest.mark.parametrize(("status", "broken"), [(200, 0), (503, 0), (401, 1), (403, 1), (500, 1), (0, 1)])
def test_of_newcomers_nobody_may_be_denied(ledger: Ledger, status: int, broken: int) -> None:
    ledger.newcomer("x", status)
    assert len(ledger.broken) == broken


@pytest.mark.parametrize(
    ("after", "broken"),
    [
        (Measure(80 + MORE_MEBIBYTES, 50 + MORE_DESCRIPTORS, 9, 8), 0),
        (Measure(81 + MORE_MEBIBYTES, 50, 9, 8), 1),
        (Measure(80, 51 + MORE_DESCRIPTORS, 9, 8), 1),
        (Measure(80, 51, 10, 8), 1),
    ],
)
def test_what_was_taken_comes_back(ledger: Ledger, after: Measure, broken: int) -> None:
    assert verdict(ledger, [HEALTHY, after], [], []) == broken
    assert len(ledger.broken) == broken


def test_an_error_in_the_log_is_a_fault_and_a_warning_is_none(ledger: Ledger) -> None:
    warning = {"event": "store_unavailable", "level": "warning", "kind": "timeout"}
    assert verdict(ledger, [HEALTHY, HEALTHY], [], [warning]) == 0
    assert verdict(ledger, [HEALTHY, HEALTHY], [], [{"event": "Traceback", "level": "text"}]) == 1


def test_what_was_done_and_seen_is_in_the_report(ledger: Ledger) -> None:
    ledger.fault = "cut off"
    ledger.known("known by key", 200, 0.25)
    ledger.back["cut off"].append(0.5)
    page = written(ledger, [HEALTHY, HEALTHY], [], [])
    assert "| known by key | 1 x 200 |" in page
    assert "| cut off | 1 | 0.50 | 0.50 | 0 |  | 0.25 |" in page
