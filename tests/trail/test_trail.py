"""Audit recorder at its end: what waits is written, and what comes later is lost and says so."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from authcore.trail import AuditOutcome, Event
from gateway.trail.trail import Trail
from tests.support.trails import records

if TYPE_CHECKING:
    from tests.support.worlds import World


async def test_a_record_after_the_close_of_the_trail_is_reported_as_lost(world: World) -> None:
    trail = Trail(world.store, time.time, to_log=False)
    trail.record(Event.SIGN_IN, AuditOutcome.SUCCESS)
    with capture_logs() as logged:
        await trail.close()
    assert not [one for one in logged if one["event"] == "audit_records_lost"]
    with capture_logs() as logged:
        trail.record(Event.SIGN_IN, AuditOutcome.SUCCESS)
    (lost,) = logged
    assert (lost["event"], lost["log_level"], lost["records"]) == ("audit_records_lost", "error", 1)
    assert len(await records(world.store)) == 1
