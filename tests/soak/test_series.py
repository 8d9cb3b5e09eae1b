"""The soak's series finds a leak, and takes neither a burst nor what fills up for one."""

from __future__ import annotations

from random import Random

import pytest

from tests.soak.series import BOUNDS, JUDGED_SECONDS, Point, leaks, slope, table

HOUR = 3600.0


def points(seconds: float = HOUR, **grows: float) -> list[Point]:
    """A soak whose values rise by so much an hour, with noise, and with a burst now and then."""
    random = Random(7)  # noqa: S311 -- noise that is the same each time
    found = []
    for number in range(200):
        at = seconds * number / 199
        values = {name: 80 + grows.get(name, 0.0) * at / HOUR for name in (*BOUNDS, "entries")}
        burst = 40 if number % 20 == 0 else 0
        found.append(
            Point(at, **{name: value + random.gauss(0, 1) + burst for name, value in values.items()})
        )
    return found


def test_a_level_series_leaks_nothing_whatever_its_bursts() -> None:
    assert leaks(points()) == []


@pytest.mark.parametrize("name", BOUNDS)
def test_what_grows_by_more_than_the_bound_in_an_hour_is_named(name: str) -> None:
    (leak,) = leaks(points(**{name: BOUNDS[name] + 2}))
    assert leak.startswith(name)


def test_what_fills_up_at_the_beginning_is_no_leak() -> None:
    filling = points()
    full = [
        Point(one.seconds, min(one.seconds, HOUR / 4) / 30 + one.resident, *tuple(vars(one).values())[2:])
        for one in filling
    ]
    assert leaks(full) == []


def test_a_short_soak_has_no_slope() -> None:
    assert leaks(points(JUDGED_SECONDS - 1, resident=1000)) == []
    assert leaks([]) == []


def test_the_slope_is_that_of_most_pairs() -> None:
    assert slope([(0, 0), (1, 2), (2, 4), (3, 100), (4, 8)]) == 2
    assert slope([(0, 1)]) == 0


def test_each_part_of_a_soak_is_a_line_of_the_table() -> None:
    lines = table(points(), parts=4).splitlines()
    assert len(lines) == 2 + 4 + 2
    assert lines[2].startswith("| 0 to 15 |")
    assert lines[-2].startswith("| slope, an hour |")
