"""The record buffer and the allowance of refusals, against models of what must come out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from authcore.trail import AuditRecord, Event
from gateway.trail.allowance import Allowance
from gateway.trail.buffer import BATCH, Batch, RecordBuffer
from gateway.trail.texts import clean, named_email
from tests.laws import ROOT

MOST = 5
AT = datetime(2026, 11, 28, tzinfo=UTC)


def numbered(number: int) -> AuditRecord:
    return AuditRecord(at=AT + timedelta(seconds=number), event=f"event_{number}", outcome="success")


class Buffering(RuleBasedStateMachine):
    """Law: each record comes out once and in order, or is counted, whatever happens in between."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = RecordBuffer(MOST)
        self.added = 0
        self.out: list[AuditRecord] = []
        self.spoiled = 0
        self.under_way: Batch | None = None

    @rule(number=st.integers(1, 4))
    def add(self, number: int) -> None:
        for _ in range(number):
            self.added += 1
            self.buffer.add(numbered(self.added))

    @rule()
    def ask(self) -> None:
        batch = self.buffer.batch()
        if self.under_way is not None:
            assert batch is self.under_way, "a batch is handed out unchanged until its outcome is known"
        self.under_way = batch

    @precondition(lambda self: self.under_way is not None)
    @rule()
    def write(self) -> None:
        assert self.under_way is not None
        self.out += self.under_way.records
        self.buffer.wrote(self.under_way)
        self.under_way = None

    @precondition(lambda self: self.under_way is not None)
    @rule()
    def spoil(self) -> None:
        assert self.under_way is not None
        if any(one.event == Event.RECORDS_LOST for one in self.under_way.records):
            return  # what a marker has counted is then counted by the next one as one record
        self.spoiled += len(self.under_way.records)
        self.buffer.spoil(self.under_way)
        self.under_way = None

    @precondition(lambda self: self.under_way is not None)
    @rule()
    def halve(self) -> None:
        assert self.under_way is not None
        records = self.under_way.records[: max(1, len(self.under_way.records) // 2)]
        self.buffer.instead(self.under_way, records)
        number, self.under_way = self.under_way.number, self.buffer.batch()
        assert self.under_way is not None
        assert (self.under_way.number, self.under_way.records) == (number + 1, records)

    @invariant()
    def it_is_bounded(self) -> None:
        assert len(self.buffer) <= MOST + 1

    @invariant()
    def nothing_came_out_twice_or_out_of_order(self) -> None:
        came = 0
        for record in self.out:
            if record.event == Event.RECORDS_LOST:
                came += record.facts["lost"]  # type: ignore[operator]
            else:
                came += 1
                assert record.event == f"event_{came}"

    def teardown(self) -> None:
        for _ in range(100):
            batch = self.buffer.batch()
            if batch is None:
                break
            self.out += batch.records
            self.buffer.wrote(batch)
        assert len(self.buffer) == 0
        lost: Any = sum(one.facts["lost"] for one in self.out if one.event == Event.RECORDS_LOST)
        here = sum(one.event != Event.RECORDS_LOST for one in self.out)
        assert here + lost == self.added
        assert self.buffer.lost == lost
        self.nothing_came_out_twice_or_out_of_order()


TestBuffering = Buffering.TestCase


def test_a_batch_is_bounded_and_numbered() -> None:
    buffer = RecordBuffer(10_000)
    for number in range(BATCH + 1):
        buffer.add(numbered(number))
    first = buffer.batch()
    assert first is not None
    assert (first.number, len(first.records)) == (1, BATCH)
    buffer.wrote(first)
    second = buffer.batch()
    assert second is not None
    assert (second.number, len(second.records)) == (2, 1)
    with pytest.raises(RuntimeError):
        buffer.wrote(first)


def test_a_marker_that_is_refused_itself_has_an_end() -> None:
    buffer = RecordBuffer(100)
    buffer.add(numbered(1))
    for _ in range(2):
        batch = buffer.batch()
        assert batch is not None
        buffer.spoil(batch)
    assert buffer.batch() is None


def test_a_network_has_a_quarter_of_the_allowance_and_the_rest_is_counted_once() -> None:
    allowance = Allowance(8)
    assert [allowance.allows("a", 0) for _ in range(4)] == [True, True, False, False]
    assert [allowance.allows(f"n{number}", 1) for number in range(8)] == [True] * 6 + [False] * 2
    assert allowance.left_out(59.9) == 0, "the minute is not over"
    assert allowance.left_out(60) == 4
    assert allowance.left_out(61) == 0
    assert allowance.allows("a", 61)
    assert allowance.omitted == 4


def test_what_is_no_e_mail_is_not_stored_as_one_for_it_may_be_a_password() -> None:
    for typed in ("hunter2", "correct horse@battery", "@", "a@b", "p@ss word.x", ""):
        assert named_email(typed) is None
    assert named_email("Ada@Example.com") == "Ada@Example.com"


def test_a_text_of_a_client_is_cleaned() -> None:
    assert clean("a\x00b\r\n\u202ec\ud800\x1b[2J") == "abc[2J"
    assert clean("x" * 5000) == "x" * 256
    assert clean(" \n ") is None
    assert clean("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln") == "Bearer ***"
    assert clean("whm_0123456789abcdef0123456789abcdef") == "***"


def test_the_page_names_every_event_of_the_trail() -> None:
    page = (ROOT / "docs" / "audit-trail.md").read_text(encoding="utf-8")
    assert [one.value for one in Event if f"`{one.value}`" not in page] == []
