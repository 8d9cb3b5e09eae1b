"""Retry-After as responses have it: seconds, a date, or something else."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.retry_after import seconds_after
from gateway.wire.messages import ResponseHead


def after(*values: bytes) -> float:
    return seconds_after(ResponseHead([(b"Retry-AFTER", value) for value in values], status=503))


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ((), 0),
        ((b"0",), 0),
        ((b"7",), 7),
        ((b"3", b"9", b"1"), 9),
        ((b"soon",), 0),
        ((b"-5",), 0),
        ((b"1.5",), 0),
        ((b"\xff",), 0),
        ((b"99999999999999999999",), 0),
    ],
)
def test_seconds_are_read_and_nonsense_is_none(values: tuple[bytes, ...], seconds: float) -> None:
    assert after(*values) == seconds


def test_a_date_is_so_far_away_and_a_past_one_is_now() -> None:
    assert 90 < after(formatdate(time.time() + 100, usegmt=True).encode()) <= 100
    assert after(formatdate(time.time() - 100, usegmt=True).encode()) == 0


@given(st.binary(max_size=60))
def test_no_value_is_an_error(value: bytes) -> None:
    assert after(value) >= 0
