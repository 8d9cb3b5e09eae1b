"""Events of a failing database: its own words, with what to do, once in a while; and the end."""

from __future__ import annotations

import asyncpg
import structlog
from structlog.testing import capture_logs

from authcore.store.failures import classify
from authcore.store.kinds import ADVICE, FailureKind
from gateway.assembly.watches import StoreEvents


def test_a_failure_is_logged_once_in_a_while_and_its_end_once() -> None:
    structlog.reset_defaults()
    refused = classify(asyncpg.InvalidPasswordError('password authentication failed for user "gw"'))
    full = classify(asyncpg.DiskFullError("could not extend file"))
    with capture_logs() as logs:
        events = StoreEvents()
        for _ in range(100):
            events.failed(refused)
        events.failed(full)
        events.recovered(refused)
        events.recovered(refused)
    assert logs == [
        {
            "event": "store_unavailable",
            "log_level": "warning",
            "kind": "password",
            "sqlstate": "28P01",
            "words": 'password authentication failed for user "gw"',
            "advice": ADVICE[FailureKind.PASSWORD],
        },
        {
            "event": "store_unavailable",
            "log_level": "warning",
            "kind": "disk_full",
            "sqlstate": "53100",
            "words": "could not extend file",
            "advice": ADVICE[FailureKind.DISK_FULL],
        },
        {"event": "store_recovered", "log_level": "info", "kind": "password"},
    ]
