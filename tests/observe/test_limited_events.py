"""Events that repeat: the first is logged, the others are counted."""

from __future__ import annotations

from structlog.testing import capture_logs

from gateway.logs.limited import MOST_KINDS, LimitedEvents


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_of_a_kind_is_logged_and_repetitions_are_counted_into_the_next() -> None:
    clock = Clock()
    events = LimitedEvents(60, clock)
    with capture_logs() as lines:
        assert events.warning("disk_full", detail="one")
        for _ in range(5):
            assert not events.warning("disk_full", detail="two")
        clock.now += 59.9
        assert not events.warning("disk_full", detail="three")
        clock.now += 0.1
        assert events.warning("disk_full", detail="four")
        clock.now += 60
        assert events.warning("disk_full", detail="five")
    assert lines == [
        {"event": "disk_full", "log_level": "warning", "detail": "one"},
        {"event": "disk_full", "log_level": "warning", "detail": "four", "repeated": 6},
        {"event": "disk_full", "log_level": "warning", "detail": "five"},
    ]


def test_the_first_is_logged_whatever_the_clock_says() -> None:
    clock = Clock()
    for number in range(500):  # of half of these less 0.1, the difference is less than 0.1
        clock.now = number / 7
        with capture_logs() as lines:
            assert LimitedEvents(0.1, clock).warning("disk_full")
        assert len(lines) == 1


def test_kinds_do_not_silence_each_other() -> None:
    events = LimitedEvents(60, Clock())
    with capture_logs() as lines:
        assert events.warning("refused", key="53300")
        assert events.warning("refused", key="42501")
        assert events.warning("lost")
        assert not events.warning("refused", key="42501")
    assert [line["event"] for line in lines] == ["refused", "refused", "lost"]


def test_invented_kinds_take_bounded_memory() -> None:
    events = LimitedEvents(60, Clock())
    with capture_logs() as lines:
        for number in range(MOST_KINDS * 2):
            events.warning("refused", key=str(number))
        assert not events.warning("refused", key=str(MOST_KINDS * 2 - 1))
        assert events.warning("refused", key="0"), "the oldest was forgotten"
    assert len(lines) == MOST_KINDS * 2 + 1
